"""Recordings to episodes: markers, alignment, clocks, actions of poses; what does not fit is told."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rosbags", reason="the rosbags library is not installed")

from bag_maker import (
    FRAMES,
    INSTRUCTIONS,
    START_NS,
    compressed_picture,
    episodes,
    header,
    joint_state,
    new,
    numbers,
    picture,
    words,
    write_bag,
)
from tool_paths import composed

from octo_ros.errors import BagError, ParameterError
from octo_ros.resources import robot_urdf
from octo_ros.rlds.from_bag import BagEpisodes
from octo_ros.rlds.options import BagOptions
from octo_ros.safety.robot import Robot
from octo_ros.types import ACTION_AXES, NANOSECONDS

ROBOT = Robot.from_file(robot_urdf("fr3"), collision=False)
MARKERS, GRIPPER, STATE = "/octo/episode", "/octo/gripper_command", "/gripper_state"
JOINT_STATES, WRIST = "/joint_states", "/camera/wrist/image_raw"


def ns(seconds: float) -> int:
    """A time of the tests' bags [ns]."""
    return START_NS + round(seconds * NANOSECONDS)


def joints_at(seconds: float) -> np.ndarray:
    """(7,) where the arm of the tests is at a time: a slow wave of each joint [rad]."""
    return ROBOT.starting_joints() + 0.1 * np.sin(0.5 * seconds + np.arange(7))


def number(value: float):
    return new("std_msgs/msg/Float64", float(value))


def recording(
    seconds: float,
    drift_ppm: float = 0.0,
    lost: tuple[float, float] | None = None,
    camera_hz: float = 30.0,
    wrist: bool = False,
) -> list:
    """Frames, joint states and a gripper that closes half-way, without markers.

    `drift_ppm` of the camera's clock; frames within `lost` [s] are missing.
    """
    entries = [(GRIPPER, ns(-0.5), number(1.0)), (GRIPPER, ns(seconds / 2), number(0.0))]
    for i in range(round(seconds * camera_hz) + 1):
        time_s = i / camera_hz
        if lost is None or not lost[0] < time_s < lost[1]:
            stamp_ns = ns(time_s * (1.0 + drift_ppm * 1e-6))
            entries.append((FRAMES, ns(time_s) + 2_000_000, picture(stamp_ns, i)))
            if wrist:
                entries.append((WRIST, ns(time_s) + 2_000_000, picture(stamp_ns, i + 99)))
    for i in range(round(seconds * 100) + 1):
        stamp_ns = ns(i / 100)
        message = joint_state(stamp_ns, ROBOT.joint_names, joints_at(i / 100))
        entries.append((JOINT_STATES, stamp_ns + 1_000_000, message))
    return entries


def marked(*windows: tuple[float, float, str]) -> list:
    """Markers that begin "lift" and end as said, at times [s]."""
    entries = []
    for start, end, outcome in windows:
        entries.append((MARKERS, ns(start), words("begin lift the cube")))
        if outcome:
            entries.append((MARKERS, ns(end), words(f"end {outcome}")))
    return entries


def convert(path, entries, robot=ROBOT, **options):
    """The episodes of entries as a bag, and their source."""
    source = BagEpisodes(write_bag(path, entries), robot, BagOptions(**options))
    return list(source), source


def reasons(source) -> list[str]:
    return [rejected.reason for rejected in source.rejected]


def test_actions_of_poses_take_the_arm_along_its_path(tmp_path):
    (episode,), source = convert(
        tmp_path / "bag", recording(4.0, wrist=True) + marked((0.5, 3.5, "success")), rate_hz=10.0
    )
    assert len(episode) == 30 and episode.rate_hz == 10.0
    assert (episode.instruction, episode.success, episode.index) == ("lift the cube", True, 0)
    assert set(episode.images) == {"primary", "wrist"} and not source.rejected
    times = 0.5 + np.arange(31) / 10
    positions, rotations = ROBOT.tool_poses(np.stack([joints_at(time) for time in times]))
    back = composed(positions[0], rotations[0], episode.action[:, :6])
    np.testing.assert_allclose(back[0], positions, atol=1e-6)
    np.testing.assert_allclose(back[1], rotations, atol=1e-6)
    np.testing.assert_allclose(episode.state[:, :3], positions[:-1], atol=1e-7)
    opening_after = np.where(times[1:] >= 2.0 - 1e-9, 0.0, 1.0)
    np.testing.assert_array_equal(episode.action[:, 6], opening_after)
    for step in (0, 7, 29):
        shown = picture(0, round((0.5 + step / 10) * 30)).data.reshape(24, 32, 3)
        np.testing.assert_array_equal(episode.images["primary"][step], shown)
    (kept,) = source.kept
    assert kept.steps == 30 and kept.alignment_s["camera primary"] < 0.02
    assert kept.alignment_s["joint states"] < 0.006


def test_a_measured_gripper_is_the_state_and_without_commands_the_action(tmp_path):
    entries = recording(2.0) + marked((0.0, 2.0, "success"))
    entries += [(STATE, ns(i / 50), number(0.5 + 0.4 * np.sin(i / 50))) for i in range(101)]
    (both,), _ = convert(tmp_path / "both", entries)
    (measured,), _ = convert(tmp_path / "measured", [e for e in entries if e[0] != GRIPPER])
    opening = (0.5 + 0.4 * np.sin(np.arange(21) / 10)).astype(np.float32)
    np.testing.assert_allclose(both.state[:, 6], opening[:-1], atol=1e-6)
    np.testing.assert_allclose(measured.action[:, 6], opening[1:], atol=1e-6)
    assert set(both.action[:, 6].tolist()) == {0.0, 1.0}


def test_an_opening_before_the_first_command_is_the_users_to_say(tmp_path):
    entries = [entry for entry in recording(2.0) if entry[:2] != (GRIPPER, ns(-0.5))]
    entries += marked((0.0, 2.0, "success"))
    none, source = convert(tmp_path / "bag", entries)
    assert none == [] and "gripper command: none before step" in reasons(source)[0]
    (episode,), _ = convert(tmp_path / "again", entries, gripper_start=0.25)
    assert episode.action[0, 6] == 0.25 and episode.action[-1, 6] == 0.0
    without = [entry for entry in entries if entry[0] != GRIPPER]
    with pytest.raises(BagError, match="nothing says how far the gripper is open"):
        convert(tmp_path / "without", without)


def test_openings_in_other_units_are_refused(tmp_path):
    entries = [*recording(2.0), *marked((0.0, 2.0, "success")), (GRIPPER, ns(1.0), number(85.0))]
    _, source = convert(tmp_path / "bag", entries)
    assert reasons(source) == ["gripper command: expected openings from 0 (closed) to 1 (open), got 1 to 85"]


def test_markers_say_where_episodes_are_and_which_to_leave_out(tmp_path):
    entries = recording(12.0)
    entries += marked((0.5, 2.0, "success"), (2.5, 4.0, "failure"), (4.5, 6.0, "abort"), (6.5, 0.0, ""))
    entries += marked((8.0, 9.0, "unknown"), (11.0, 0.0, ""))
    entries += [(MARKERS, ns(9.5), words("end success")), (MARKERS, ns(9.6), words("pause"))]
    kept, source = convert(tmp_path / "bag", entries)
    assert [(episode.index, episode.success) for episode in kept] == [(0, True), (4, None)]
    assert {rejected.index: rejected.reason for rejected in source.rejected} == {
        1: "it ended in failure (--keep-failures keeps such episodes)",
        2: "the operator aborted it",
        3: "the next episode begins before this one's end marker",
        5: "the recording ends before its end marker",
    }
    assert sum("passed over" in warning for warning in source.warnings) == 2
    kept, source = convert(tmp_path / "again", entries, keep_failures=True)
    assert [(episode.index, episode.success) for episode in kept] == [(0, True), (1, False), (4, None)]


def test_instructions_bound_episodes_where_there_are_no_markers(tmp_path):
    """The ends are cut to where all streams have data, since cameras stop between tasks."""
    entries = [*recording(5.0, lost=(2.05, 3.0)), (INSTRUCTIONS, ns(-0.2), words("one"))]
    entries += [(INSTRUCTIONS, ns(2.5), words("two")), (INSTRUCTIONS, ns(4.0), words("  "))]
    (first, second), source = convert(tmp_path / "bag", entries)
    assert (first.instruction, len(first)) == ("one", 20)
    assert (second.instruction, len(second)) == ("two", 9)
    assert first.success is None and not source.rejected


def test_a_gap_in_a_stream_is_told_with_its_step_and_size(tmp_path):
    entries = recording(4.0, lost=(1.5, 2.0)) + marked((0.0, 1.4, "success"), (1.4, 4.0, "success"))
    kept, source = convert(tmp_path / "bag", entries)
    assert [episode.index for episode in kept] == [0]
    (rejected,) = source.rejected
    assert rejected.index == 1 and rejected.instruction == "lift the cube"
    assert rejected.reason.startswith("camera primary: at step 3 the nearest message is 0.2")
    assert rejected.reason.endswith("s away, bound 0.1 s")
    kept, _ = convert(tmp_path / "looser", entries, max_alignment_s=0.3)
    assert len(kept) == 2


def test_joint_states_that_stop_are_told(tmp_path):
    entries = [entry for entry in recording(3.0) if entry[0] != JOINT_STATES or entry[1] < ns(1.0)]
    _, source = convert(tmp_path / "bag", entries + marked((0.0, 2.0, "success"), (2.2, 3.0, "success")))
    assert "joint states: at step 20 the nearest message is" in reasons(source)[0]
    assert reasons(source)[1] == "joint states: no message in its 0.80 s"


def test_drift_is_measured_and_refused_where_it_amounts_to_too_much(tmp_path):
    entries = recording(10.0, drift_ppm=15_000) + marked((0.0, 3.0, "success"), (7.0, 9.5, "success"))
    kept, source = convert(tmp_path / "bag", entries)
    drift = next(drift for drift in source.drifts if drift.stream == "camera primary")
    assert drift.ppm == pytest.approx(15_000, rel=1e-3) and drift.span_s == pytest.approx(10.0)
    others = [drift.ppm for drift in source.drifts if drift.stream != "camera primary"]
    assert others == pytest.approx([0.0], abs=1.0)
    assert [episode.index for episode in kept] == [0]
    assert "its clock drifts by +15000 ppm against the recorder's, 0.14" in reasons(source)[0]


def test_a_camera_on_another_clock_is_moved_to_the_recorders(tmp_path):
    entries = recording(3.0) + marked((0.5, 2.5, "success"))
    away_ns = 86_400 * NANOSECONDS
    moved = []
    for topic, log_ns, message in entries:
        if topic == FRAMES:
            message.header = header(log_ns - 2_000_000 - away_ns)
        moved.append((topic, log_ns, message))
    (episode,), source = convert(tmp_path / "bag", moved)
    assert len(episode) == 20
    assert any("another clock" in warning for warning in source.warnings)


def test_steps_too_fast_for_an_action_are_refused(tmp_path):
    entries = [entry for entry in recording(2.0) if entry[0] != JOINT_STATES]
    for i in range(201):
        joints = joints_at(0.0)
        joints[6] += 1.5 * (i >= 100)
        entries.append((JOINT_STATES, ns(i / 100), joint_state(ns(i / 100), ROBOT.joint_names, joints)))
    _, source = convert(tmp_path / "bag", entries + marked((0.0, 2.0, "success")))
    assert reasons(source) == ["step 9: roll, pitch and yaw have a norm of 1.49 rad, bound 1 rad"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(tmp_path, value):
    entries = recording(2.0) + marked((0.0, 0.9, "success"), (1.0, 2.0, "success"))
    for topic, log_ns, message in entries:
        if topic == JOINT_STATES and log_ns < ns(0.9):
            message.position[3] = value
    (episode,), source = convert(tmp_path / "bag", entries)
    assert episode.index == 1 and "joint states: not finite at step 0" in reasons(source)[0]


def test_a_frame_that_cannot_be_read_or_has_another_size_costs_its_episode_only(tmp_path):
    entries = recording(6.0, camera_hz=10.0)
    entries += marked((0.0, 1.0, "success"), (2.0, 3.0, "success"), (4.0, 5.0, "success"))
    for topic, log_ns, message in entries:
        if topic == FRAMES and ns(0.4) < log_ns < ns(0.6):
            message.encoding = "16UC1"
        if topic == FRAMES and ns(2.4) < log_ns < ns(2.6):
            message.height, message.data = 12, message.data[: 12 * 96]
    (episode,), source = convert(tmp_path / "bag", entries)
    assert episode.index == 2
    assert "camera primary: image: encoding '16UC1'" in reasons(source)[0]
    assert "expected frames of (24, 32, 3) as its first, got (12, 32, 3)" in reasons(source)[1]


def test_two_publishers_of_joint_states_are_told_apart_by_their_joints(tmp_path):
    entries = recording(2.0) + marked((0.0, 2.0, "success"))
    entries += [
        (JOINT_STATES, ns(i / 100) + 3, joint_state(ns(i / 100), ["finger"], [0.01])) for i in range(201)
    ]
    (episode,), source = convert(tmp_path / "bag", entries)
    assert len(episode) == 20
    assert any("joint states: 201 messages were not used" in warning for warning in source.warnings)


def test_compressed_frames_and_mapped_topics(tmp_path):
    import cv2

    entries = []
    for topic, log_ns, message in recording(1.0) + marked((0.0, 1.0, "success")):
        if topic == FRAMES:
            bgr = message.data.reshape(24, 32, 3)[:, :, ::-1]
            data = cv2.imencode(".png", np.ascontiguousarray(bgr))[1].reshape(-1)
            compressed = compressed_picture(ns((log_ns - START_NS - 2_000_000) / NANOSECONDS), data)
            compressed.format = "png"
            entries.append(("/head/color/compressed", log_ns, compressed))
        else:
            entries.append((f"/arm{topic}", log_ns, message))
    topics = {"head": "/head/color/compressed", "episode": "/arm/octo/episode"}
    topics |= {"joint_states": "/arm/joint_states", "gripper_command": "/arm/octo/gripper_command"}
    (episode,), _ = convert(tmp_path / "bag", entries, topics=topics)
    assert list(episode.images) == ["head"] and len(episode) == 10
    np.testing.assert_array_equal(episode.images["head"][3], picture(0, 9).data.reshape(24, 32, 3))
    topics["head"] = "/arm/joint_states"
    with pytest.raises(BagError, match="head: topic /arm/joint_states: expected messages of type"):
        convert(tmp_path / "again", entries, topics=topics)


def test_recorded_actions_are_taken_as_they_are(tmp_path):
    (first, second), source = convert(tmp_path / "bag", episodes(count=2, frames=5), robot=None)
    assert (first.instruction, second.instruction) == ("put block 0 away", "put block 1 away")
    expected = [[0.01 * i, -0.01, 0.002, 0.0, 0.1, -0.1, float(i % 2)] for i in range(5)]
    np.testing.assert_array_equal(second.action, np.array(expected, np.float32))
    assert second.state is None and second.rate_hz == pytest.approx(5.0)
    assert not source.rejected


def test_recorded_actions_have_a_rate_of_their_own(tmp_path):
    bag = write_bag(tmp_path / "bag", episodes())
    with pytest.raises(ParameterError, match=r"5\.00 Hz in .*; got 10 Hz"):
        BagEpisodes(bag, None, BagOptions(rate_hz=10.0))
    assert BagEpisodes(bag, None, BagOptions(rate_hz=5.0)).planned == 2


def test_a_lost_recorded_action_is_told(tmp_path):
    entries = episodes(count=1, frames=8)
    lost = [entry for entry in entries if entry[0] == "/recorded/action"][3]
    entries.remove(lost)
    _, source = convert(tmp_path / "bag", entries, robot=None)
    assert reasons(source) == [
        "recorded action: 0.400 s from step 2 to the next, expected 0.200 s, bound 0.1 s off"
    ]


def test_commanded_actions_with_the_tools_state(tmp_path):
    entries = [*recording(2.0), *marked((0.0, 1.95, "success"))]
    entries += [(STATE, ns(i / 50), number(0.5)) for i in range(101)]
    values = np.random.default_rng(1).normal(0.0, 0.01, (20, 7))
    for i, action in enumerate(values):
        entries.append(("/octo/action", ns(i / 10) + 4_000_000, joint_state(ns(i / 10), ACTION_AXES, action)))
    (episode,), _ = convert(tmp_path / "bag", entries, actions="commanded")
    np.testing.assert_array_equal(episode.action, values.astype(np.float32))
    position, _ = ROBOT.tool_pose(joints_at(0.7))
    np.testing.assert_allclose(episode.state[7, :3], position, atol=1e-6)
    assert episode.state.shape == (20, 7) and episode.state[0, 6] == 0.5
    for topic, _, message in entries:
        if topic == "/octo/action":
            message.name = [f"normalized_{axis}" for axis in ACTION_AXES]
    with pytest.raises(BagError, match="no commanded actions.*it has normalized_dx"):
        convert(tmp_path / "again", entries, actions="commanded")


@pytest.mark.parametrize(
    ("drop", "robot", "said"),
    [
        (FRAMES, ROBOT, "no camera: no images on /camera/NAME/image_raw"),
        (MARKERS, ROBOT, "nothing says where episodes begin"),
        (JOINT_STATES, ROBOT, "no joint states of fr3_joint1"),
        (None, None, "name the robot"),
    ],
)
def test_what_a_bag_lacks_as_a_whole_is_one_error(tmp_path, drop, robot, said):
    entries = [entry for entry in recording(1.0) + marked((0.0, 1.0, "success")) if entry[0] != drop]
    with pytest.raises((BagError, ParameterError), match=said):
        convert(tmp_path / "bag", entries, robot=robot)


def test_another_robots_joints_are_named(tmp_path):
    other = Robot.from_file(robot_urdf("ur5e"), collision=False)
    with pytest.raises(BagError, match="no joint states of shoulder_pan_joint.*it has fr3_joint1"):
        convert(tmp_path / "bag", recording(1.0) + marked((0.0, 1.0, "success")), robot=other)


@pytest.mark.parametrize(
    "options",
    [{"rate_hz": 0.0}, {"max_alignment_s": -1.0}, {"actions": "guess"}, {"gripper_start": 2.0}],
)
def test_options_out_of_range(options):
    with pytest.raises(ParameterError, match=next(iter(options))):
        BagOptions(**options)


def test_actions_of_seven_values_only(tmp_path):
    entries = episodes(count=1)
    entries = [(t, ns_, numbers([1.0, 2.0]) if t == "/recorded/action" else m) for t, ns_, m in entries]
    with pytest.raises(BagError, match="recorded action: expected 7 values, got 2"):
        convert(tmp_path / "bag", entries, robot=None)
