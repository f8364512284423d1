"""Cameras, tasks and joint states of a bag, good and bad: what is used, what is refused, what is said."""

from __future__ import annotations

import json
import logging

import cv2
import numpy as np
import pytest

pytest.importorskip("rosbags", reason="the rosbags library is not installed")
pytest.importorskip("matplotlib", reason="matplotlib is not installed")

from bag_maker import (
    FRAMES,
    INSTRUCTIONS,
    JOINTS,
    RECORDED,
    START_NS,
    compressed_picture,
    episodes,
    joint_state,
    numbers,
    picture,
    words,
    write_bag,
)
from replay_cell import make_bundle, table, values
from small_bundle import write_bundle

from octo_ros.bags.replay import replay
from octo_ros.errors import BagError
from octo_ros.resources import robot_urdf
from octo_ros.safety.options import FilterOptions
from octo_ros.safety.robot import Robot


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    return write_bag(tmp_path_factory.mktemp("bag") / "bag", episodes())


@pytest.fixture(scope="module")
def robot():
    return Robot.from_file(robot_urdf("fr3"))


def test_two_cameras_one_of_them_compressed(tmp_path, bundle):
    """Wrist frames come 20 ms after the primary's, as JPEG; each pair is stamped as the newer one."""
    entries, wrist = episodes(count=1), "/camera/wrist/image_raw/compressed"
    for _, log_ns, message in [entry for entry in entries if entry[0] == FRAMES]:
        stamp_ns = log_ns - 3_000_000 + 20_000_000
        data = cv2.imencode(".jpg", message.data.reshape(24, 32, 3))[1].ravel()
        entries.append((wrist, stamp_ns, compressed_picture(stamp_ns, data)))
    summary = replay(write_bag(tmp_path / "bag", entries), bundle, "fr3", tmp_path / "out")
    assert summary.frames == {"primary": 5, "wrist": 5}
    assert summary.setting.masked == ()
    stamps = [int(row["stamp_ns"]) - START_NS for row in table(tmp_path / "out", "actions.csv")]
    assert stamps == [i * 200_000_000 + 20_000_000 for i in range(5)]


# Tasks.


def test_an_instruction_replaces_the_bags_words(tmp_path, bag, bundle):
    replay(bag, bundle, "fr3", tmp_path / "out", instruction="pick up the red block")
    rows = table(tmp_path / "out", "actions.csv")
    assert {row["instruction"] for row in rows} == {"pick up the red block"}
    assert [int(row["episode"]) for row in rows] == [0] * 5 + [1] * 5


def test_frames_before_the_instruction_lead_to_nothing(tmp_path, bundle):
    late = [(topic, log_ns, message) for topic, log_ns, message in episodes(count=1) if topic != INSTRUCTIONS]
    late.append((INSTRUCTIONS, START_NS + 500_000_000, words("put it away")))
    summary = replay(write_bag(tmp_path / "bag", late), bundle, "fr3", tmp_path / "out")
    stamps = [int(row["stamp_ns"]) - START_NS for row in table(tmp_path / "out", "actions.csv")]
    assert stamps == [400_000_000, 600_000_000, 800_000_000]
    assert summary.frames["primary"] == 5


def test_a_blank_instruction_withdraws_the_task(tmp_path, bundle):
    entries = [*episodes(count=1, frames=10), (INSTRUCTIONS, START_NS + 500_000_000, words("  "))]
    summary = replay(write_bag(tmp_path / "bag", entries), bundle, "fr3", tmp_path / "out")
    assert (summary.actions, summary.episodes, summary.stops) == (3, 1, 1)


def test_without_resets_a_stop_lasts(tmp_path, bag, bundle):
    summary = replay(bag, bundle, "fr3", tmp_path / "out", reset_on_instruction=False)
    assert (summary.actions, summary.commands, summary.stops) == (10, 5, 1)
    assert table(tmp_path / "out", "decisions.csv")[-1]["state"] == "stopped"


def test_a_goal_image_alone_is_a_task(tmp_path, bundle):
    entries = [entry for entry in episodes(count=1) if entry[0] != INSTRUCTIONS]
    entries.append(("/octo/goal_image", START_NS, picture(START_NS, 99)))
    summary = replay(write_bag(tmp_path / "bag", entries), bundle, "fr3", tmp_path / "out")
    assert (summary.actions, summary.episodes) == (5, 1)
    assert table(tmp_path / "out", "actions.csv")[0]["instruction"] == ""


def test_no_task_at_all_says_what_to_pass(tmp_path, bundle):
    entries = [entry for entry in episodes() if entry[0] != INSTRUCTIONS]
    path = write_bag(tmp_path / "bag", entries)
    with pytest.raises(BagError, match=r"nothing says what to do.*--instruction TEXT"):
        replay(path, bundle, "fr3", tmp_path / "out")
    assert replay(path, bundle, "fr3", tmp_path / "out", instruction="go there").episodes == 1


def test_a_bundle_without_a_tokenizer_runs_masked_with_one_loud_warning(tmp_path, bag, caplog):
    write_bundle(tmp_path / "mute")
    with caplog.at_level(logging.WARNING):
        summary = replay(bag, tmp_path / "mute", "fr3", tmp_path / "out")
    loud = [warning for warning in summary.warnings if "mask" in warning and "word" in warning]
    assert len(loud) == 1 and loud[0].startswith("THE BUNDLE CANNOT READ INSTRUCTIONS")
    page = (tmp_path / "out" / "report.html").read_text()
    assert 'class="banner alarm" role="alert">THE BUNDLE CANNOT READ INSTRUCTIONS' in page
    assert loud[0] in json.loads((tmp_path / "out" / "summary.json").read_text())["warnings"]
    assert summary.actions == 10


def test_what_the_policy_warns_of_is_in_the_summary(tmp_path, bundle):
    long = "pick up the red block and put it beside the blue block on the table"
    entries = [*episodes(count=1), (INSTRUCTIONS, START_NS + 500_000_000, words(long))]
    summary = replay(write_bag(tmp_path / "bag", entries), bundle, "fr3", tmp_path / "out")
    assert any("its end is cut off" in warning and long in warning for warning in summary.warnings)


# Input that is bad here and there.


def test_a_broken_image_is_counted_and_nothing_else_is_lost(tmp_path, bundle):
    entries = episodes(count=1)
    frames = [i for i, entry in enumerate(entries) if entry[0] == FRAMES]
    short = picture(entries[frames[1]][1], 0)
    short.data = short.data[:100]
    entries[frames[1]] = (FRAMES, entries[frames[1]][1], short)
    entries[frames[2]] = (FRAMES, entries[frames[2]][1], picture(0, 0, encoding="32FC1"))
    entries[frames[3]] = (FRAMES, entries[frames[3]][1], ("sensor_msgs/msg/Image", b"\x00\x01\x00\x00"))
    summary = replay(write_bag(tmp_path / "bag", entries), bundle, "fr3", tmp_path / "out")
    assert summary.unreadable == 3
    reasons = [one["reason"] for one in summary.unreadable_examples]
    assert "needs 2304 bytes, got 100" in reasons[0]
    assert "32FC1" in reasons[1]
    assert "are not a sensor_msgs/msg/Image" in reasons[2]
    assert summary.actions == 2
    assert any("3 messages could not be used" in warning for warning in summary.warnings)
    assert "could not be used: 3" in (tmp_path / "out" / "report.html").read_text()


def test_only_broken_images_are_an_error(tmp_path, bundle):
    entries = [
        (INSTRUCTIONS, START_NS, words("go")),
        (FRAMES, START_NS, picture(START_NS, 0, encoding="32FC1")),
    ]
    with pytest.raises(BagError, match="expected frames, got none that can be read: .*32FC1"):
        replay(write_bag(tmp_path / "bag", entries), bundle, "fr3", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_recorded_actions_that_are_not_finite_are_shown(tmp_path, bundle):
    entries = episodes(count=1)
    at = [i for i, entry in enumerate(entries) if entry[0] == RECORDED]
    entries[at[1]] = (RECORDED, entries[at[1]][1], numbers([np.nan, np.inf, 0.0, 0.0, 0.0, 0.0, 1.0]))
    entries[at[2]] = (RECORDED, entries[at[2]][1], numbers([1.0, 2.0]))
    summary = replay(write_bag(tmp_path / "bag", entries), bundle, "fr3", tmp_path / "out")
    rows = table(tmp_path / "out", "actions.csv")
    assert (rows[1]["recorded_dx"], rows[1]["recorded_dy"]) == ("nan", "inf")
    assert rows[2]["recorded_dx"] == ""
    assert (summary.compared, summary.recorded_not_finite, summary.unreadable) == (4, 1, 1)
    assert all(np.isfinite(error) for error in summary.error.values())


def test_a_bag_without_recorded_actions(tmp_path, bundle):
    entries = [entry for entry in episodes() if entry[0] != RECORDED]
    summary = replay(write_bag(tmp_path / "bag", entries), bundle, "fr3", tmp_path / "out")
    assert summary.error is None and summary.compared is None
    assert "recorded_dx" not in table(tmp_path / "out", "actions.csv")[0]
    assert "no recorded actions to compare with" in (tmp_path / "out" / "report.html").read_text()


def test_stale_frames_are_refused_and_said_to_be(tmp_path, bundle):
    """Frames that were logged 0.3 s late are too old when they come: no action, and the summary says why."""
    path = write_bag(tmp_path / "bag", episodes(count=1, lag_ns=300_000_000))
    summary = replay(path, bundle, "fr3", tmp_path / "out")
    assert summary.actions == 0
    assert summary.frame_refusals["primary: stale"] > 5
    assert any(
        warning.startswith("NO ACTION WAS MADE") and "stale" in warning for warning in summary.warnings
    )


def test_headers_of_another_clock_are_used_with_a_warning(tmp_path, bundle):
    entries = [
        (topic, log_ns, picture(log_ns - START_NS, i) if topic == FRAMES else message)
        for i, (topic, log_ns, message) in enumerate(episodes())
    ]
    summary = replay(write_bag(tmp_path / "bag", entries), bundle, "fr3", tmp_path / "out")
    assert summary.actions == 10
    assert any("another clock" in warning for warning in summary.warnings)


# Joint states of the bag.


def joints_of(robot, positions, count=100, names=None):
    stamps = [START_NS + i * 20_000_000 for i in range(count)]
    return [(JOINTS, stamp, joint_state(stamp, names or robot.joint_names, positions)) for stamp in stamps]


def test_the_bags_joint_states_are_where_the_arm_is(tmp_path, bundle, robot):
    measured = robot.home + 0.05
    path = write_bag(tmp_path / "bag", [*episodes(count=1), *joints_of(robot, measured)])
    summary = replay(
        path, bundle, "fr3", tmp_path / "out", filter_options=FilterOptions(max_tracking_error=3.0)
    )
    first = table(tmp_path / "out", "decisions.csv")[0]
    np.testing.assert_allclose(values(first, robot.joint_names), measured, atol=1e-12)
    assert summary.setting.joints == "bag"
    assert summary.joint_states > 40
    followed = replay(path, bundle, "fr3", tmp_path / "followed", joints="follower")
    first = table(tmp_path / "followed", "decisions.csv")[0]
    np.testing.assert_allclose(values(first, robot.joint_names), robot.home, atol=1e-12)
    assert followed.setting.joints == "follower"


def test_an_arm_that_goes_its_own_way_is_explained(tmp_path, bundle, robot):
    path = write_bag(
        tmp_path / "bag", [*episodes(count=1, frames=15), *joints_of(robot, robot.home, count=160)]
    )
    summary = replay(path, bundle, "fr3", tmp_path / "out")
    assert summary.refusals["tracking error"] >= 1 and summary.stops == 1
    assert any("--joints follower" in warning for warning in summary.warnings)
    followed = replay(path, bundle, "fr3", tmp_path / "followed", joints="follower")
    assert "tracking error" not in followed.refusals
    assert not any("--joints follower" in warning for warning in followed.warnings)


def test_joint_states_that_end_stop_the_arm(tmp_path, bundle, robot):
    path = write_bag(
        tmp_path / "bag", [*episodes(count=1, frames=10), *joints_of(robot, robot.home, count=20)]
    )
    summary = replay(
        path, bundle, "fr3", tmp_path / "out", filter_options=FilterOptions(max_tracking_error=3.0)
    )
    assert summary.stops == 1
    assert summary.refusals["joint state age"] >= 1


def test_another_robots_joint_states_give_way_to_the_follower(tmp_path, bundle, robot):
    others = joints_of(robot, robot.home, names=[f"other{i}" for i in range(7)])
    path = write_bag(tmp_path / "bag", [*episodes(count=1), *others])
    summary = replay(path, bundle, "fr3", tmp_path / "out")
    assert summary.setting.joints == "follower" and summary.commands == 5
    assert any("another robot's" in warning for warning in summary.warnings)
    with pytest.raises(BagError, match="expected joints fr3_joint1"):
        replay(path, bundle, "fr3", tmp_path / "mapped", topics={"joint_states": JOINTS})
