"""The filter's process at its own rate: smooth commands, its state, its gripper, its markers."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from diagnostic_msgs.msg import DiagnosticStatus
from node_cell import ACTIVATE, DEACTIVATE, statuses, values
from safety_node_cell import ACCELERATION, FILTER, ROBOT, seconds
from std_msgs.msg import Float64
from visualization_msgs.msg import MarkerArray

from octo_ros.types import ACTION_AXES


def test_commands_come_at_a_hundred_hertz_with_bounded_acceleration_and_end_at_rest(cell, safety):
    """Ten actions a second, back and forth; between them and after the last the joints go on smoothly."""
    for translation in ((0.02, 0.01, 0.0), (-0.02, -0.01, 0.0), (0.0, 0.02, -0.01)):
        safety.move(0.7, translation)
    moving = len(safety.commands)
    assert safety.reaches("stopped")
    durations = [seconds(command) for _, command in safety.commands]
    assert np.median(durations) == pytest.approx(0.01, rel=0.3)
    assert sum(durations[1:moving]) == pytest.approx(2.1, abs=0.5)
    velocity, duration = safety.steps()
    assert np.nanmax(np.abs(velocity)) > 0.02
    assert (np.nan_to_num(np.abs(velocity)) <= 0.9 * ROBOT.velocity).all()
    change = np.abs(np.diff(velocity, axis=0))
    assert np.isfinite(change).all(axis=1).sum() > 50
    assert (np.nan_to_num(change) <= ACCELERATION * duration[1:, None] * (1.0 + 1e-6) + 1e-6).all()
    np.testing.assert_array_equal(np.diff(safety.positions()[-20:], axis=0), 0.0)


def test_a_decision_is_told_once_for_each_action_and_ten_times_a_second_while_it_holds(cell, safety):
    safety.move(1.0, (0.005, 0.0, 0.0))
    accepted = statuses(safety.decisions)
    assert 5 <= len(accepted) <= 14
    assert safety.reaches("stopped")
    safety.clear()
    cell.spin(2.0)
    assert 10 <= len(safety.decisions) <= 22
    assert len(safety.commands) > 100
    assert len({tuple(position) for position in safety.positions()[-50:]}) == 1


def test_a_wall_is_limited_and_said_to_be(cell, safety):
    def at_wall():
        return bool(safety.states) and "workspace z in fr3_link0" in safety.states[-1].message

    safety.move(8.0, (0.0, 0.0, 0.03), until=at_wall)
    assert at_wall(), safety.filter.output()
    assert safety.states[-1].level == DiagnosticStatus.WARN
    heard = cell.hear_latched(DiagnosticStatus, "octo/safety_state")
    assert heard is not None and values(heard)["state"] == "limited"
    heights = [ROBOT.tool_pose(position)[0][2] for position in safety.positions()]
    assert max(heights) <= ROBOT.workspace.maximum[2] - 0.005 + 1e-6
    safety.move(4.0, (0.0, 0.0, -0.02), until=lambda: safety.state() == "active")
    assert safety.state() == "active", safety.filter.output()
    assert "workspace z in fr3_link0" in safety.filter.output()
    assert cell.wait(lambda: "limited -> active" in safety.filter.output(), 5.0)  # logged once it is told


def test_deactivating_brakes_within_the_acceleration_and_says_inactive(cell, safety):
    safety.move(0.8, (0.02, 0.0, 0.0))
    assert cell.change(FILTER, DEACTIVATE)
    assert safety.reaches("inactive")
    heard = cell.hear_latched(DiagnosticStatus, "octo/safety_state")
    assert heard is not None and values(heard)["state"] == "inactive"
    velocity, duration = safety.steps()
    change = np.abs(np.diff(velocity, axis=0))
    assert (np.nan_to_num(change) <= ACCELERATION * duration[1:, None] * (1.0 + 1e-6) + 1e-6).all()
    assert np.nanmax(np.abs(velocity[-1:])) == 0.0
    assert cell.change(FILTER, ACTIVATE)
    assert safety.reaches("ready")


def test_a_thousand_equal_actions_give_the_gripper_one_goal_that_a_late_controller_hears(cell, safety):
    goals = cell.record(Float64, "octo/gripper_command")
    cell.spin(0.5)
    goals.clear()
    for _ in range(1000):
        cell.act((0.0,) * 6 + (0.0,), ACTION_AXES)
        cell.spin(0.001)
    cell.spin(0.5)
    assert [goal.data for goal in goals] == [0.0]
    safety.move(0.3, gripper=0.25)
    assert cell.wait(lambda: len(goals) == 2, 2.0)
    assert goals[1].data == 0.25
    heard = cell.hear_latched(Float64, "octo/gripper_command")
    assert heard is not None and heard.data == 0.25
    assert safety.reaches("stopped")
    cell.press_e_stop(True)
    cell.spin(0.5)
    assert [goal.data for goal in goals] == [0.0, 0.25]


def test_markers_show_the_workspace_and_where_the_tool_goes(cell, safety):
    arrays = cell.record(MarkerArray, "octo/safety_markers")
    safety.move(1.0, (0.0, 0.0, 0.02))
    assert cell.wait(lambda: bool(arrays), 3.0)
    shown = {marker.ns for marker in arrays[-1].markers}
    assert {"workspace", "kept", "asked", "target", "state"} <= shown
