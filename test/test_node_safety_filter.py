"""The safety filter's real process over real DDS, with the simulated arm as its robot."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped, TwistStamped
from node_cell import (
    ACTIVATE,
    ACTIVE,
    CLEANUP,
    CONFIGURE,
    DEACTIVATE,
    INACTIVE,
    STEP,
    UNCONFIGURED,
    URDF,
    open_cell,
    processes,
)
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import JointState
from small_bundle import write_bundle
from std_msgs.msg import Bool, Float64, Float64MultiArray, String
from trajectory_msgs.msg import JointTrajectory

from octo_ros.nodes.safety_parameters import PARAMETERS
from octo_ros.safety.robot import Robot

FILTER = "safety_filter_node"
TIMEOUT_S, PERIOD_S = 0.3, 0.1
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
ROBOT = Robot.from_file(URDF)
DEFAULTS = {parameter.name: parameter.default for parameter in PARAMETERS}


def urdf_without(what: str, instead: str = "") -> str:
    text = URDF.read_text(encoding="utf-8")
    assert what in text
    return text.replace(what, instead, 1)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    directory = tmp_path_factory.mktemp("bundle") / "small"
    write_bundle(directory)
    return directory


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def cell():
    with open_cell() as cell:
        yield cell


@pytest.fixture(scope="module")
def decisions(cell):
    return cell.record(DiagnosticStatus, "octo/safety_decision")


@pytest.fixture(scope="module")
def joints(cell):
    return cell.record(JointState, "joint_states")


@pytest.fixture(scope="module")
def commands(cell):
    return cell.record(JointTrajectory, "octo/joint_trajectory")


@pytest.fixture(scope="module")
def running(cell, bundle, logs, decisions, joints, commands):
    """The filter, active, and a simulated arm; shared, so a test begins with `ready`."""
    parameters = {"bundle": bundle, "urdf_file": URDF}
    with processes(logs, safety_filter_node=parameters, joint_state_simulator={"urdf_file": URDF}) as started:
        assert cell.change(FILTER, CONFIGURE)
        assert cell.change(FILTER, ACTIVATE)
        yield started


@pytest.fixture
def ready(cell, running, decisions, joints, commands):
    """The filter in READY with fresh joint states, whatever the test before left."""
    cell.press_e_stop(False)
    joints.clear()
    assert cell.wait(lambda: len(joints) > 5), running["joint_state_simulator"].output()
    if decisions:
        cell.wait(lambda: values(decisions[-1])["state"] in ("stopped", "estop"), 2.0)
    assert cell.wait(lambda: cell.trigger(f"{FILTER}/reset")[0]), running[FILTER].output()
    cell.spin(0.1)
    decisions.clear()
    commands.clear()
    return running


def values(decision: DiagnosticStatus) -> dict[str, str]:
    return {pair.key: pair.value for pair in decision.values}


def refusals(decision: DiagnosticStatus) -> list[str]:
    return [key for key in values(decision) if key.startswith("refusal ")]


def statuses(decisions) -> list[str]:
    return [values(decision)["status"] for decision in decisions]


def stop_delay_s(decisions) -> float:
    """Time from the last accepted action to the first stop, by the filter's own clock [s]."""
    accepted = [d for d in decisions if values(d)["status"] in ("ok", "limited")]
    stopped = [d for d in decisions if values(d)["status"] in ("stopped", "estop")]
    return (int(values(stopped[0])["stamp_ns"]) - int(values(accepted[-1])["stamp_ns"])) * 1e-9


def positions(command: JointTrajectory) -> np.ndarray:
    return np.array(command.points[0].positions)


def test_nothing_is_commanded_before_the_first_action(cell, ready, commands, decisions):
    cell.spin(0.5)
    assert commands == []
    assert decisions == []


def test_the_first_command_is_the_measured_joints_and_the_next_ones_move(cell, ready, commands, joints):
    measured = np.array(joints[-1].position)
    cell.stream(1.0)
    assert len(commands) >= 5
    assert tuple(commands[0].joint_names) == ROBOT.joint_names
    np.testing.assert_allclose(positions(commands[0]), measured, atol=1e-3)
    assert np.abs(positions(commands[-1]) - measured).max() > 0.01
    steps = np.diff([positions(command) for command in commands], axis=0)
    assert (np.abs(steps) <= 0.9 * ROBOT.velocity * 0.5).all()


def test_the_arm_follows_and_the_gripper_is_commanded(cell, ready, commands, joints):
    gripper = cell.record(Float64, "octo/gripper_command")
    cell.spin(0.3)
    cell.stream(0.8, (*STEP[:6], 1.0))
    assert cell.wait(
        lambda: np.abs(np.array(joints[-1].position) - positions(commands[-1])).max() < 1e-2, 2.0
    )
    assert gripper
    assert {message.data for message in gripper} == {1.0}


def test_silence_stops_within_one_period_and_stays_stopped_until_a_reset(cell, ready, commands, decisions):
    cell.stream(0.6)
    cell.wait(lambda: "stopped" in statuses(decisions), 3.0)
    assert TIMEOUT_S <= stop_delay_s(decisions) <= TIMEOUT_S + PERIOD_S
    hold = positions(commands[-1])
    decisions.clear()
    cell.stream(0.6)
    assert set(statuses(decisions)) == {"stopped"}
    np.testing.assert_array_equal(positions(commands[-1]), hold)
    assert any("last accepted action" in refusal for refusal in refusals(decisions[-1]))
    assert cell.wait(lambda: cell.trigger(f"{FILTER}/reset")[0])
    decisions.clear()
    cell.stream(0.4)
    assert "ok" in statuses(decisions) or "limited" in statuses(decisions)


def test_a_hold_is_repeated(cell, ready, commands, decisions):
    cell.stream(0.4)
    cell.wait(lambda: "stopped" in statuses(decisions), 3.0)
    commands.clear()
    cell.spin(1.0)
    assert len(commands) >= 5
    assert len({tuple(positions(command)) for command in commands}) == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_action_that_is_not_finite_is_invalid_and_moves_nothing(cell, ready, commands, decisions, bad):
    cell.stream(0.3)
    cell.spin(0.05)
    before = positions(commands[-1])
    decisions.clear()
    cell.act((bad, *STEP[1:]))
    assert cell.wait(lambda: len(decisions) > 0, 0.25)
    assert values(decisions[0])["status"] == "invalid"
    np.testing.assert_allclose(positions(commands[-1]), before, atol=1e-9)


def test_unknown_names_are_invalid_and_the_reason_is_given(cell, ready, decisions):
    cell.act(STEP, [f"joint{i}" for i in range(7)])
    assert cell.wait(lambda: len(decisions) > 0, 3.0)
    assert values(decisions[0])["status"] == "invalid"
    assert "names: expected normalized_dx" in decisions[0].message


def test_malformed_actions_do_not_feed_the_watchdog(cell, ready, decisions):
    cell.stream(0.4)
    for _ in range(8):
        cell.act((np.nan, *STEP[1:]))
        cell.spin(0.1)
    assert "stopped" in statuses(decisions)
    assert stop_delay_s(decisions) <= TIMEOUT_S + PERIOD_S


def test_an_e_stop_holds_until_it_is_released_and_reset(cell, ready, commands, decisions):
    cell.stream(0.4)
    cell.press_e_stop(True)
    assert cell.wait(lambda: "estop" in statuses(decisions), 2.0)
    assert stop_delay_s(decisions) <= 2 * PERIOD_S
    hold = positions(commands[-1])
    assert not cell.trigger(f"{FILTER}/reset")[0]
    cell.press_e_stop(False)
    decisions.clear()
    cell.stream(0.5)
    assert set(statuses(decisions)) == {"estop"}
    np.testing.assert_array_equal(positions(commands[-1]), hold)
    assert cell.wait(lambda: cell.trigger(f"{FILTER}/reset")[0])


def test_the_e_stop_service_holds_until_a_reset(cell, ready, decisions):
    cell.stream(0.3)
    assert cell.trigger(f"{FILTER}/e_stop")[0]
    decisions.clear()
    cell.stream(0.3)
    assert set(statuses(decisions)) == {"estop"}
    assert cell.wait(lambda: cell.trigger(f"{FILTER}/reset")[0])


def test_parameters_cannot_be_changed_while_active(cell, ready):
    assert "clean it up first" in cell.set(FILTER, max_tool_speed=5.0)


def test_diagnostics_tell_state_and_counts(cell, ready):
    diagnostics = cell.record(DiagnosticArray, "/diagnostics")
    cell.stream(0.4)
    assert cell.wait(lambda: diagnostics and values(diagnostics[-1].status[0])["state"] == "stopped", 4.0)
    told = values(diagnostics[-1].status[0])
    assert int(told["stopped"]) > 0
    assert int(told["joint_states"]) > 0
    assert diagnostics[-1].status[0].level == DiagnosticStatus.ERROR
    assert diagnostics[-1].status[0].name == "octo safety filter"


def test_an_impossible_transition_is_refused_and_does_not_end_the_node(cell, ready):
    assert not cell.change(FILTER, ACTIVATE)
    assert not cell.change(FILTER, CONFIGURE)
    assert cell.state(FILTER) == ACTIVE


def test_dead_joint_states_stop_the_arm_until_a_reset(cell, ready, logs, decisions, joints):
    cell.stream(0.5)
    ready["joint_state_simulator"].kill()
    cell.stream(0.6)
    stopped = [decision for decision in decisions if values(decision)["status"] == "stopped"]
    assert stopped
    assert any("joint state age" in refusal for refusal in refusals(stopped[0]))
    last_ns = joints[-1].header.stamp.sec * 10**9 + joints[-1].header.stamp.nanosec
    assert int(values(stopped[0])["stamp_ns"]) - last_ns <= (0.1 + PERIOD_S) * 1e9
    done, why = cell.trigger(f"{FILTER}/reset")
    assert not done
    assert "joint state" in why
    with processes(logs, joint_state_simulator={"urdf_file": URDF}) as started:
        joints.clear()
        assert cell.wait(lambda: len(joints) > 3), started["joint_state_simulator"].output()
        decisions.clear()
        cell.stream(0.3)
        assert set(statuses(decisions)) == {"stopped"}
        assert cell.wait(lambda: cell.trigger(f"{FILTER}/reset")[0])


def test_deactivating_cleaning_up_and_sigint_end_in_order(cell, running):
    """Last of those that share the filter: it ends it."""
    assert cell.change(FILTER, DEACTIVATE)
    assert cell.state(FILTER) == INACTIVE
    assert cell.change(FILTER, CLEANUP)
    assert cell.state(FILTER) == UNCONFIGURED
    assert cell.change(FILTER, CONFIGURE)
    assert cell.change(FILTER, ACTIVATE)
    assert running[FILTER].stop() == 0
    assert "Traceback" not in running[FILTER].output()


@pytest.mark.parametrize(
    ("mode", "kind", "topic"),
    [
        ("pose", PoseStamped, "octo/pose_command"),
        ("twist", TwistStamped, "octo/twist_command"),
        ("joint_position", Float64MultiArray, "octo/joint_position_command"),
    ],
)
def test_the_other_command_modes_publish_and_end_in_a_hold(cell, bundle, logs, decisions, mode, kind, topic):
    parameters = {"bundle": bundle, "urdf_file": URDF, "command_mode": mode}
    arm = {"urdf_file": URDF, "command_mode": "joint_position"}
    received = cell.record(kind, topic)
    decisions.clear()
    with processes(logs, joint_state_simulator=arm, safety_filter_node=parameters) as started:
        assert cell.change(FILTER, CONFIGURE), started[FILTER].output()
        assert cell.change(FILTER, ACTIVATE)
        assert cell.wait(lambda: cell.trigger(f"{FILTER}/reset")[0])
        # In the pose and twist modes the simulated arm does not follow: short enough to stay in tracking.
        cell.stream(0.5, (0.1, *STEP[1:]))
        assert "ok" in statuses(decisions) or "limited" in statuses(decisions), started[FILTER].output()
        assert len(received) >= 3
        assert cell.wait(lambda: "stopped" in statuses(decisions), 3.0)
        count = len(received)
        cell.spin(0.5)
        assert len(received) - count >= (10 if mode == "twist" else 2)
        assert started[FILTER].stop() == 0
        cell.spin(0.2)
    check = {"pose": check_poses, "twist": check_twists, "joint_position": check_positions}[mode]
    check(received)


def test_a_filter_ended_while_the_arm_moves_leaves_a_zero_twist(cell, bundle, logs):
    twists = cell.record(TwistStamped, "octo/twist_command")
    parameters = {"bundle": bundle, "urdf_file": URDF, "command_mode": "twist", "max_tracking_error": 1.0}
    with processes(logs, joint_state_simulator={"urdf_file": URDF}, safety_filter_node=parameters) as started:
        assert cell.change(FILTER, CONFIGURE), started[FILTER].output()
        assert cell.change(FILTER, ACTIVATE)
        assert cell.wait(lambda: cell.trigger(f"{FILTER}/reset")[0])
        cell.stream(0.5)
        assert abs(twists[-1].twist.linear.x) > 0.001
        started[FILTER].interrupt()
        assert cell.wait(lambda: twists[-1].twist.linear.x == 0.0, 3.0)
        assert started[FILTER].wait(5.0) == 0
    assert twists[-1].twist == type(twists[-1].twist)()


def check_poses(received):
    assert {message.header.frame_id for message in received} == {ROBOT.workspace.frame}
    points = np.array([[m.pose.position.x, m.pose.position.y, m.pose.position.z] for m in received])
    assert (points >= ROBOT.workspace.minimum).all()
    assert (points <= ROBOT.workspace.maximum).all()
    np.testing.assert_array_equal(points[-1], points[-3])


def check_twists(received):
    speeds = np.array([[m.twist.linear.x, m.twist.linear.y, m.twist.linear.z] for m in received])
    assert np.linalg.norm(speeds, axis=1).max() > 0.01
    assert np.linalg.norm(speeds, axis=1).max() <= 0.25 + 1e-9
    np.testing.assert_array_equal(speeds[-5:], np.zeros((5, 3)))


def check_positions(received):
    joints = np.array([list(message.data) for message in received])
    assert ((joints >= ROBOT.lower) & (joints <= ROBOT.upper)).all()
    np.testing.assert_array_equal(joints[-1], joints[-2])


@pytest.fixture(scope="module")
def unconfigured(cell, bundle, logs):
    """A filter that a test tries to configure with a mistake; started when the shared one has ended."""
    given = {"bundle": bundle, "urdf_file": URDF, "robot_description_timeout_s": 0.1}
    with processes(logs, safety_filter_node=given) as started:
        yield started[FILTER]


@pytest.mark.parametrize(
    ("mistake", "expected"),
    [
        ({"bundle": "/nowhere"}, "not an octo_ros bundle"),
        ({"bundle": ""}, "bundle: expected"),
        ({"dataset": "fractal"}, "it has small"),
        ({"urdf_file": "/nowhere.urdf"}, "urdf_file: cannot be read"),
        ({"urdf_file": ""}, "robot_description"),
        ({"robot_description": "<robot"}, "parameter robot_description"),
        ({"robot_description": urdf_without('velocity="2.62"')}, "velocity"),
        ({"robot_description": urdf_without('lower="-2.7437"', 'lower="9"')}, "fr3_joint1"),
        ({"robot_description": urdf_without('safety version="1"', 'safety version="9"')}, "octo_safety"),
        ({"command_mode": "torque"}, "command_mode"),
        ({"workspace_max": [9.0, 0.4, 0.7]}, "workspace_max"),
        ({"workspace_min": [0.3, 0.0]}, "workspace_min"),
    ],
)
def test_a_mistake_refuses_to_configure_and_can_be_corrected(cell, bundle, unconfigured, mistake, expected):
    right = {**DEFAULTS, "bundle": str(bundle), "urdf_file": str(URDF)}
    printed = len(unconfigured.output())
    assert cell.set(FILTER, **{**right, **mistake}) == ""
    assert not cell.change(FILTER, CONFIGURE)
    assert cell.state(FILTER) == UNCONFIGURED
    assert expected in unconfigured.output()[printed:].split("cannot configure:")[1]
    assert cell.set(FILTER, **right) == ""
    assert cell.change(FILTER, CONFIGURE)
    assert cell.change(FILTER, CLEANUP)
    assert "Traceback" not in unconfigured.output()


def test_the_unconfigured_filter_ends_in_order(unconfigured):
    assert unconfigured.stop() == 0


def test_a_misspelt_parameter_ends_the_process_with_one_line(logs, bundle):
    with processes(logs, safety_filter_node={"bundle": bundle, "max_tool_sped": 0.1}) as started:
        assert started[FILTER].wait(10.0) == 1
        assert "did you mean max_tool_speed?" in started[FILTER].output()
        assert "Traceback" not in started[FILTER].output()


def test_a_robot_description_topic_is_used_and_a_change_of_it_stops(cell, bundle, logs, decisions):
    publisher = cell.create_publisher(String, "robot_description", LATCHED)
    publisher.publish(String(data=URDF.read_text(encoding="utf-8")))
    arm = {"urdf_file": URDF}
    with processes(logs, joint_state_simulator=arm, safety_filter_node={"bundle": bundle}) as started:
        assert cell.change(FILTER, CONFIGURE), started[FILTER].output()
        assert cell.change(FILTER, ACTIVATE)
        assert cell.wait(lambda: cell.trigger(f"{FILTER}/reset")[0])
        cell.stream(0.3)
        publisher.publish(String(data=urdf_without('max="0.75', 'max="0.74')))
        decisions.clear()
        cell.stream(0.5)
        assert statuses(decisions)[-1] == "estop"
        done, why = cell.trigger(f"{FILTER}/reset")
        assert not done
        assert "robot_description has changed" in why
        assert cell.change(FILTER, DEACTIVATE)
        assert not cell.change(FILTER, ACTIVATE)
        assert cell.state(FILTER) == INACTIVE
    cell.destroy_publisher(publisher)


def test_an_e_stop_latched_before_the_start_is_heard(cell, bundle, logs, decisions):
    publisher = cell.create_publisher(Bool, "octo/e_stop", LATCHED)
    publisher.publish(Bool(data=True))
    arm = {"urdf_file": URDF}
    with processes(logs, joint_state_simulator=arm, safety_filter_node={"bundle": bundle, "urdf_file": URDF}):
        assert cell.change(FILTER, CONFIGURE)
        assert cell.change(FILTER, ACTIVATE)
        decisions.clear()
        cell.stream(0.6)
        assert set(statuses(decisions)) == {"estop"}
        assert not cell.trigger(f"{FILTER}/reset")[0]
    cell.destroy_publisher(publisher)
