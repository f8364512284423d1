"""What a replay takes from a bag: topics, stamps on the log's clock, joints, recorded actions, thumbnails."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rosbags", reason="the rosbags library is not installed")

from bag_maker import (
    FRAMES,
    INSTRUCTIONS,
    JOINTS,
    RECORDED,
    START_NS,
    compressed_picture,
    episodes,
    joint_state,
    picture,
    words,
    write_bag,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from octo_ros.bags.arm import FollowingArm, RecordedArm, choose_arm
from octo_ros.bags.loop import Ticks
from octo_ros.bags.reader import Bag
from octo_ros.bags.recorded import RecordedActions
from octo_ros.bags.stamps import HeaderClock
from octo_ros.bags.thumbnails import HEIGHT, KEPT, Thumbnails
from octo_ros.bags.topics import resolve_topics
from octo_ros.errors import BagError, ParameterError
from octo_ros.resources import robot_urdf
from octo_ros.safety.robot import Robot
from octo_ros.types import NANOSECONDS

MANIFEST = SimpleNamespace(cameras={"primary": None, "wrist": None})
COMPRESSED = "/camera/wrist/image_raw/compressed"


def jpeg(stamp_ns):
    return compressed_picture(stamp_ns, np.zeros(4, np.uint8))


@pytest.fixture(scope="module")
def robot():
    return Robot.from_file(robot_urdf("fr3"))


# Topics.


def test_default_topics_and_a_masked_camera(tmp_path):
    with Bag(write_bag(tmp_path / "bag", episodes())) as bag:
        topics = resolve_topics(bag, MANIFEST, {})
    assert topics.cameras == {"primary": FRAMES}
    assert topics.masked == ("wrist",)
    assert topics.inputs == {"instruction": INSTRUCTIONS, "recorded_action": RECORDED}
    assert topics.all() == tuple(sorted([FRAMES, INSTRUCTIONS, RECORDED]))


def test_a_compressed_topic_serves_where_there_is_no_raw_one(tmp_path):
    with Bag(write_bag(tmp_path / "bag", [*episodes(), (COMPRESSED, START_NS, jpeg(START_NS))])) as bag:
        assert resolve_topics(bag, MANIFEST, {}).cameras == {"primary": FRAMES, "wrist": COMPRESSED}
        mapped = resolve_topics(bag, MANIFEST, {"primary": COMPRESSED, "wrist": FRAMES})
        assert mapped.cameras == {"primary": COMPRESSED, "wrist": FRAMES}


def test_a_topic_without_messages_is_as_good_as_none(tmp_path):
    declared = {COMPRESSED: "sensor_msgs/msg/CompressedImage"}
    with Bag(write_bag(tmp_path / "bag", episodes(), topics=declared)) as bag:
        assert resolve_topics(bag, MANIFEST, {}).masked == ("wrist",)
        with pytest.raises(BagError, match=f"wrist: topic {COMPRESSED}: expected messages, got none"):
            resolve_topics(bag, MANIFEST, {"wrist": COMPRESSED})


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (
            {"wrist": "/absent"},
            BagError,
            rf"wrist: no topic /absent; .*fitting type: {FRAMES} \(10 messages\)",
        ),
        (
            {"wrist": RECORDED},
            BagError,
            r"wrist: topic .*: expected type .*Image.*, got std_msgs/msg/Float64",
        ),
        ({"instruction": FRAMES}, BagError, r"instruction: .*expected type std_msgs/msg/String"),
        (
            {"overhead": FRAMES},
            ParameterError,
            r"overhead: expected a camera .*primary, wrist.* or one of inst",
        ),
    ],
)
def test_a_map_that_does_not_fit(tmp_path, given, error, message):
    with Bag(write_bag(tmp_path / "bag", episodes())) as bag, pytest.raises(error, match=message):
        resolve_topics(bag, MANIFEST, given)


def test_no_camera_at_all_lists_the_image_topics(tmp_path):
    entries = [("/cam/color", START_NS, picture(START_NS, 0)), (INSTRUCTIONS, START_NS, words("go"))]
    with (
        Bag(write_bag(tmp_path / "bag", entries)) as bag,
        pytest.raises(
            BagError, match=r"looked for /camera/primary/image_raw.*in the bag: /cam/color.*primary=/topic"
        ),
    ):
        resolve_topics(bag, MANIFEST, {})


# Stamps.


@pytest.mark.parametrize(
    ("offset_s", "delays_ms"), [(0.0, (3, 9, 5)), (1234.5, (9, 3, 5)), (-77.25, (4, 4, 4))]
)
def test_headers_of_another_clock_are_moved_to_the_logs(tmp_path, offset_s, delays_ms):
    """On the log's clock a frame keeps its delay; on another, the least delayed frame gets none."""
    sent = [START_NS + i * 100_000_000 for i in range(3)]
    headers = [stamp + round(offset_s * NANOSECONDS) for stamp in sent]
    logged = [stamp + delay * 1_000_000 for stamp, delay in zip(sent, delays_ms, strict=True)]
    entries = [(FRAMES, log, picture(stamp, 0)) for log, stamp in zip(logged, headers, strict=True)]
    with Bag(write_bag(tmp_path / "bag", entries)) as bag:
        clock = HeaderClock(bag, FRAMES)
        stamps = [clock.stamp_ns(bag.decode(record), record.log_ns) for record in bag.records()]
    removed_ms = min(delays_ms) if offset_s else 0
    assert [log - stamp for log, stamp in zip(logged, stamps, strict=True)] == [
        (delay - removed_ms) * 1_000_000 for delay in delays_ms
    ]
    assert ("another clock" in clock.warning) == bool(offset_s)


def test_headers_without_stamps_take_the_log_time(tmp_path):
    entries = [(FRAMES, START_NS + i, picture(0, 0)) for i in range(3)]
    with Bag(write_bag(tmp_path / "bag", entries)) as bag:
        clock = HeaderClock(bag, FRAMES)
        assert clock.stamp_ns(picture(0, 0), START_NS + 7) == START_NS + 7
        assert "header stamps are zero" in clock.warning


# Joints.


def test_auto_takes_the_bags_joints_only_if_they_are_this_robots(tmp_path, robot):
    own = [(JOINTS, START_NS, joint_state(START_NS, [*robot.joint_names, "finger"], [*robot.home, 0.01]))]
    with Bag(write_bag(tmp_path / "own", own)) as bag:
        assert isinstance(choose_arm(bag, JOINTS, robot, "auto", False).arm, RecordedArm)
        assert isinstance(choose_arm(bag, JOINTS, robot, "follower", False).arm, FollowingArm)
        assert isinstance(choose_arm(bag, None, robot, "auto", False).arm, FollowingArm)
        with pytest.raises(BagError, match="no joint states"):
            choose_arm(bag, None, robot, "bag", False)
        with pytest.raises(ParameterError, match="expected one of auto, bag, follower, got 'mine'"):
            choose_arm(bag, JOINTS, robot, "mine", False)
    others = [(JOINTS, START_NS, joint_state(START_NS, ["waist", "shoulder"], [0.0, 0.1]))]
    with Bag(write_bag(tmp_path / "other", others)) as bag:
        choice = choose_arm(bag, JOINTS, robot, "auto", False)
        assert choice.name == "follower"
        assert "expected joints fr3_joint1" in choice.warning and "got waist, shoulder" in choice.warning
        for joints, mapped in (("auto", True), ("bag", False)):
            with pytest.raises(BagError, match="got waist, shoulder"):
                choose_arm(bag, JOINTS, robot, joints, mapped)


# Recorded actions.


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    stamps=st.lists(st.integers(0, 10**9), min_size=1, max_size=20, unique=True).map(sorted),
    asked=st.lists(st.integers(-(10**8), 11 * 10**8), min_size=1, max_size=20),
    tolerance_ms=st.integers(1, 200),
)
def test_a_step_is_matched_with_the_nearest_recorded_action(stamps, asked, tolerance_ms):
    recorded = RecordedActions()
    for stamp in stamps:
        recorded.add(stamp, [float(stamp)] * 7)
    comparison = recorded.compare(asked, np.zeros((len(asked), 7)), tolerance_ms / 1e3)
    for step, stamp in enumerate(asked):
        apart = min(abs(other - stamp) for other in stamps)
        assert comparison.matched[step] == (apart <= tolerance_ms * 1_000_000)
        if comparison.matched[step]:
            assert abs(comparison.recorded[step, 0] - stamp) == apart


def test_the_error_leaves_out_what_is_not_finite():
    recorded = RecordedActions()
    recorded.add(0, [1.0] * 7)
    recorded.add(100, [np.nan, np.inf, 3.0, 3.0, 3.0, 3.0, 3.0])
    comparison = recorded.compare([0, 100], np.full((2, 7), 0.5), 1e-9)
    np.testing.assert_allclose(comparison.error, [0.5, 0.5, 1.5, 1.5, 1.5, 1.5, 1.5])
    assert comparison.not_finite == 1
    assert np.isnan(recorded.compare([10**9], np.zeros((1, 7)), 1e-9).error).all()
    with pytest.raises(BagError, match="expected 7 values, got 3"):
        recorded.add(200, [1.0, 2.0, 3.0])


# Ticks and thumbnails.


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    policy_hz=st.floats(0.5, 100.0),
    ends=st.lists(st.integers(0, 3 * NANOSECONDS), min_size=1, max_size=8).map(sorted),
)
def test_ticks_come_once_in_order_at_both_rates(policy_hz, ends):
    ticks = Ticks(START_NS, policy_hz, 50.0)
    given_ticks = [tick for end in ends for tick in ticks.before(START_NS + end)]
    times = [tick.now_ns for tick in given_ticks]
    assert times == sorted(set(times))
    for name, rate in (("policy", policy_hz), ("command", 50.0)):
        due = [tick.now_ns - START_NS for tick in given_ticks if getattr(tick, name)]
        assert due == [round(i * NANOSECONDS / rate) for i in range(len(due))]
        assert all(time < ends[-1] for time in due)
        assert round(len(due) * NANOSECONDS / rate) >= ends[-1]


@pytest.mark.parametrize("count", [1, KEPT, KEPT + 1, 100, 1000])
def test_thumbnails_are_few_and_evenly_spread(count):
    thumbnails = Thumbnails()
    for i in range(count):
        thumbnails.add(0, i, i, np.zeros((8, 16, 3), np.uint8))
    steps = [thumbnail.step for thumbnail in thumbnails.episodes[0]]
    assert min(count, KEPT // 2) <= len(steps) <= KEPT
    assert steps[0] == 0 and len(set(np.diff(steps))) <= 1
    assert thumbnails.episodes[0][0].image.shape == (HEIGHT, 2 * HEIGHT, 3)
