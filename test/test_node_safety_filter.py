"""The safety filter's real process over real DDS, with the simulated arm as its robot."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
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
    processes,
    statuses,
    values,
)
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64
from trajectory_msgs.msg import JointTrajectory

from octo_ros.safety.robot import Robot

FILTER = "safety_filter_node"
TIMEOUT_S = 0.3
PERIOD_S = 0.1
ROBOT = Robot.from_file(URDF)


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


def refusals(decision: DiagnosticStatus) -> list[str]:
    return [key for key in values(decision) if key.startswith("refusal ")]


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
