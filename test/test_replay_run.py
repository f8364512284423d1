"""A bag through policy and filter: what comes out, that it repeats byte for byte, and what is refused."""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path

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
    contents,
    episodes,
    joint_state,
    numbers,
    picture,
    words,
    write_bag,
)
from rosbags.rosbag2 import CompressionMode, StoragePlugin
from small_bundle import write_bundle

from octo_ros.bags.reader import Bag
from octo_ros.bags.replay import replay
from octo_ros.errors import BagError, BundleError, ParameterError, RobotModelError, StatisticsError
from octo_ros.resources import robot_urdf
from octo_ros.safety.options import FilterOptions
from octo_ros.safety.robot import Robot
from octo_ros.types import ACTION_AXES, NANOSECONDS

TOKENIZER = Path(__file__).parent / "data" / "tokenizer" / "tokenizer.json"
REPEATED = ("actions.csv", "decisions.csv")
"""Files that a second replay writes the same, byte for byte."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "small"
    write_bundle(path, tokenizer=TOKENIZER)
    return path


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    return write_bag(tmp_path_factory.mktemp("bag") / "bag", episodes())


@pytest.fixture(scope="module")
def done(tmp_path_factory, bag, bundle):
    """One replay that several tests look at: summary and directory."""
    out = tmp_path_factory.mktemp("replay") / "out"
    return replay(bag, bundle, "fr3", out), out


@pytest.fixture(scope="module")
def robot():
    return Robot.from_file(robot_urdf("fr3"))


def table(out: Path, name: str) -> list[dict[str, str]]:
    with (out / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def values(row: dict[str, str], names) -> np.ndarray:
    return np.array([float(row[name]) for name in names])


def outputs(out: Path) -> tuple:
    return *((out / name).read_bytes() for name in REPEATED), contents(out / "bag")


# What comes out.


def test_every_frame_becomes_an_action_beside_its_recorded_one(done):
    summary, out = done
    rows = table(out, "actions.csv")
    assert summary.actions == summary.commands == len(rows) == 10
    assert [row["instruction"] for row in rows] == ["put block 0 away"] * 5 + ["put block 1 away"] * 5
    assert [int(row["episode"]) for row in rows] == [0] * 5 + [1] * 5
    assert [int(row["stamp_ns"]) - START_NS for row in rows[:5]] == [i * 200_000_000 for i in range(5)]
    expected = [0.03, -0.01, 0.002, 0.0, 0.1, -0.1, 1.0]
    np.testing.assert_array_equal(values(rows[8], [f"recorded_{axis}" for axis in ACTION_AXES]), expected)
    error = np.mean(
        [
            abs(values(row, ACTION_AXES) - values(row, [f"recorded_{axis}" for axis in ACTION_AXES]))
            for row in rows
        ],
        axis=0,
    )
    np.testing.assert_allclose(list(summary.error.values()), error, rtol=1e-12)


def test_the_actions_are_the_policys(done, bag, bundle):
    """The replay adds nothing: the same frames through the policy alone give the same actions."""
    import octo_ros
    from octo_ros.image_messages import stamp_ns, to_rgb
    from octo_ros.policy.options import ActOptions
    from octo_ros.types import Observation, Task

    rows = table(done[1], "actions.csv")
    expected = []
    with octo_ros.load_policy(bundle, options=ActOptions(seed=0)) as policy, Bag(bag) as opened:
        for record in opened.records([FRAMES, INSTRUCTIONS]):
            message = opened.decode(record)
            if record.topic == INSTRUCTIONS:
                policy.set_task(Task(message.data))
                policy.reset()
            else:
                expected.append(
                    policy.act(Observation(stamp_ns(message.header), {"primary": to_rgb(message)}))
                )
    for row, action in zip(rows, expected, strict=True):
        normalized = np.float32([row[f"normalized_{axis}"] for axis in ACTION_AXES])
        np.testing.assert_array_equal(normalized, action.normalized)
        np.testing.assert_array_equal(values(row, ACTION_AXES), action.physical)


def test_the_arm_starts_where_it_is_and_stops_when_the_frames_do(done, robot):
    summary, out = done
    rows = table(out, "decisions.csv")
    first_of_second = next(row for row in rows if row["episode"] == "1")
    for row in (rows[0], first_of_second):
        assert (row["status"], row["state"], row["is_command"]) == ("ok", "active", "1")
        np.testing.assert_allclose(values(row, robot.joint_names), robot.home, atol=1e-12)
    stopped = [row for row in rows if row["status"] == "stopped"]
    last_frame_ns = START_NS + 800_000_000
    delay_s = (int(stopped[0]["stamp_ns"]) - last_frame_ns) / NANOSECONDS
    assert 0.3 < delay_s <= 0.3 + 0.1 + 0.02  # timeout, then the tick that acted on the frame, then one watch
    assert summary.stops == 1
    assert "time since the last accepted action" in stopped[0]["refusals"]
    held = values(stopped[0], robot.joint_names)
    moved = [row for row in rows if row["status"] in ("ok", "limited") and row["episode"] == "0"]
    np.testing.assert_array_equal(held, values(moved[-1], robot.joint_names))
    assert np.all(
        values(stopped[0], [f"twist_{axis}" for axis in ("vx", "vy", "vz", "wx", "wy", "wz")]) == 0.0
    )


def test_the_tables_hold_the_bags_numbers(done, robot):
    """Every decision in the table is in the bag, with its command where it is one; floats are exact."""
    summary, out = done
    rows = table(out, "decisions.csv")
    with Bag(out / "bag") as opened:
        messages = {topic: [] for topic in opened.topics}
        for record in opened.records():
            messages[record.topic].append((record.log_ns, opened.decode(record)))
    decisions, commands = messages["/octo/safety_decision"], messages["/octo/joint_trajectory"]
    assert [log_ns for log_ns, _ in decisions] == [int(row["stamp_ns"]) for row in rows]
    sent = [row for row in rows if row["is_command"] == "1"]
    for row, (log_ns, message) in zip(sent, commands, strict=True):
        assert log_ns == int(row["stamp_ns"])
        assert message.joint_names == list(robot.joint_names)
        assert [repr(float(q)) for q in message.points[0].positions] == [
            row[name] for name in robot.joint_names
        ]
    assert len(messages["/octo/action"]) == len(messages["/octo/action_chunk"]) == summary.actions
    assert messages["/octo/action"][0][1].header.frame_id == robot.workspace.frame
    assert len(messages["/octo/action_chunk"][0][1].points) == 4


def test_the_summary_is_written_and_printed(done):
    summary, out = done
    written = json.loads((out / "summary.json").read_text())
    assert written["format"] == "octo_ros replay"
    assert written["actions"] == 10
    assert written["setting"]["notice"] == "test"
    text = str(summary)
    for part in (
        "NOTICE     test",
        "primary 10; episodes: 2",
        "actions    10",
        "report.html",
        "camera wrist: not in",
    ):
        assert part in text


def test_progress_reaches_the_end(tmp_path, bag, bundle):
    calls = []
    replay(bag, bundle, "fr3", tmp_path / "out", progress=lambda done, total: calls.append((done, total)))
    assert calls == [(i, 22) for i in range(1, 23)]


# The same again.


def test_the_same_replay_gives_the_same_bytes(tmp_path, done, bag, bundle):
    replay(bag, bundle, "fr3", tmp_path / "again")
    assert outputs(tmp_path / "again") == outputs(done[1])
    files = [sorted(path.name for path in out.rglob("*")) for out in (tmp_path / "again", done[1])]
    assert files[0] == files[1]
    for name in ("bag.mcap", "metadata.yaml"):
        assert (tmp_path / "again" / "bag" / name).read_bytes() == (done[1] / "bag" / name).read_bytes()


def test_another_seed_gives_other_actions(tmp_path, done, bag, bundle):
    replay(bag, bundle, "fr3", tmp_path / "other", seed=1)
    assert (tmp_path / "other" / "actions.csv").read_bytes() != (done[1] / "actions.csv").read_bytes()


@pytest.mark.parametrize(
    ("storage", "compression"),
    [
        (StoragePlugin.SQLITE3, CompressionMode.NONE),
        (StoragePlugin.SQLITE3, CompressionMode.FILE),
        (StoragePlugin.MCAP, CompressionMode.STORAGE),
        (StoragePlugin.MCAP, CompressionMode.MESSAGE),
    ],
)
def test_the_storage_changes_nothing(tmp_path, done, bundle, storage, compression):
    other = write_bag(tmp_path / "bag", episodes(), storage, compression)
    replay(other, bundle, "fr3", tmp_path / "out")
    assert outputs(tmp_path / "out") == outputs(done[1])


def test_real_episodes_repeat(shared, tmp_path, bundle):
    """BridgeData episodes: every one of 250 frames is acted on, twice the same."""
    bag = shared / "bags" / "bridge_train"
    summaries = [replay(bag, bundle, "ur5e", tmp_path / name) for name in ("one", "two")]
    assert outputs(tmp_path / "one") == outputs(tmp_path / "two")
    for summary in summaries:
        assert (summary.actions, summary.episodes, summary.compared) == (250, 25, 250)
        assert summary.frames == {"primary": 250}
        assert summary.stops == 24


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
    assert (summary.actions, summary.episodes, summary.stops) == (2, 1, 1)


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


def test_headers_of_another_clock_are_used_with_a_warning(tmp_path, done, bundle):
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


# Refusals to begin.


def test_wrong_arguments_are_named(tmp_path, bag, bundle):
    def refused(error, match, **change):
        given = {"bag": bag, "bundle": bundle, "robot": "fr3", "out": tmp_path / "out", **change}
        with pytest.raises(error, match=match):
            replay(given.pop("bag"), given.pop("bundle"), given.pop("robot"), given.pop("out"), **given)
        assert list(tmp_path.iterdir()) == kept

    (tmp_path / "bad.urdf").write_text("<robot name='none'/>")
    kept = list(tmp_path.iterdir())
    refused(BagError, "no such bag", bag=tmp_path / "absent")
    refused(BundleError, "not an octo_ros bundle", bundle=tmp_path)
    refused(ParameterError, "robot: expected one of fr3", robot="r2d2")
    refused(RobotModelError, "octo_safety", robot=tmp_path / "bad.urdf")
    refused(StatisticsError, "it has small", dataset="large")
    refused(ParameterError, "rate_hz: expected a rate", rate_hz=0.0)
    refused(ParameterError, "rate_hz: expected a rate", rate_hz=float("nan"))
    refused(ParameterError, "seed: expected at least 0", seed=-1)
    refused(ParameterError, "instruction: expected words", instruction=" ")
    refused(ParameterError, "joints: expected one of", joints="none")
    refused(ParameterError, "overhead: expected a camera", topics={"overhead": "/x"})
    refused(ParameterError, "out: expected the path", out="/")


def test_an_output_that_exists_is_replaced_only_if_it_is_a_replay(tmp_path, bag, bundle):
    out = tmp_path / "out"
    out.mkdir()
    replay(bag, bundle, "fr3", out)  # empty: written
    before = outputs(out)
    with pytest.raises(ParameterError, match="is not empty"):
        replay(bag, bundle, "fr3", out, seed=1)
    assert outputs(out) == before
    replay(bag, bundle, "fr3", out, seed=1, overwrite=True)
    assert outputs(out) != before
    foreign = tmp_path / "thesis"
    foreign.mkdir()
    (foreign / "summary.json").write_text("[]")
    (foreign / "chapter.tex").write_text("ten years of work")
    with pytest.raises(ParameterError, match="is not an earlier replay"):
        replay(bag, bundle, "fr3", foreign, overwrite=True)
    assert (foreign / "chapter.tex").read_text() == "ten years of work"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "thesis"]


def test_a_replay_that_fails_leaves_nothing_and_keeps_the_old(tmp_path, bag, bundle):
    out = tmp_path / "out"
    replay(bag, bundle, "fr3", out)
    before = outputs(out)

    def stop(done, total):
        if done == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replay(bag, bundle, "fr3", out, overwrite=True, seed=2, progress=stop)
    assert outputs(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
