"""Actions, decisions and commands as messages; parameters as tables. Needs rclpy's messages, no graph."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from diagnostic_msgs.msg import DiagnosticStatus
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import JointState

from octo_ros.nodes.commands import MODES, CommandContext
from octo_ros.nodes.decisions import decision_message
from octo_ros.nodes.messages import (
    NORMALIZED_AXES,
    action_message,
    action_values,
    chunk_message,
    time_message,
    time_ns,
)
from octo_ros.nodes.policy_parameters import PARAMETERS as POLICY_PARAMETERS
from octo_ros.nodes.policy_parameters import act_options
from octo_ros.nodes.safety_parameters import FILTER_PARAMETERS
from octo_ros.nodes.safety_parameters import PARAMETERS as SAFETY_PARAMETERS
from octo_ros.policy.options import ActOptions
from octo_ros.safety.decision import Decision, FilterState, Refusal, Status
from octo_ros.safety.options import FilterOptions
from octo_ros.types import ACTION_AXES, Action

JOINTS = ("j1", "j2")
CONTEXT = CommandContext(JOINTS, "base_link", period_s=0.01)
MOVE = Decision(
    stamp_ns=1_500_000_000,
    status=Status.LIMITED,
    state=FilterState.ACTIVE,
    joint_positions=np.array([0.1, -0.2]),
    joint_velocities=np.array([1.0, -2.0]),
    dt=0.1,
    tool_position=np.array([1.0, 2.0, 3.0]),
    tool_quaternion=np.array([0.0, 0.0, 0.6, 0.8]),
    tool_twist=np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]),
    gripper=1.0,
    refusals=(Refusal("tool speed", 0.4, 0.25, "m/s"), Refusal("action numbers", 6.0, 7.0, "")),
)
HOLD = dataclasses.replace(MOVE, dt=0.0, joint_velocities=np.zeros(2), tool_twist=np.zeros(6))


def built(mode, decision):
    """A decision as the message of a command mode."""
    return MODES[mode].builder(CONTEXT)(decision)


@given(st.integers(0, 2**31 * 10**9))
@settings(max_examples=50, deadline=None)
def test_a_stamp_survives_its_message(stamp_ns):
    assert time_ns(time_message(stamp_ns)) == stamp_ns


@given(st.lists(st.floats(-5, 5, width=32), min_size=7, max_size=7), st.booleans())
@settings(max_examples=50, deadline=None)
def test_an_action_survives_its_message(values, physical):
    normalized = np.array(values, dtype=np.float32)
    action = Action(123, normalized, normalized.astype(np.float64) * 0.5, np.zeros((4, 7), np.float32))
    message = action_message(action, "base", physical)
    got, is_normalized = action_values(message)
    assert is_normalized is not physical
    np.testing.assert_array_equal(got, action.physical if physical else action.normalized)
    assert (time_ns(message.header.stamp), message.header.frame_id) == (123, "base")


def test_a_chunk_has_one_point_for_each_step_at_the_data_rate():
    chunk = np.arange(28, dtype=np.float32).reshape(4, 7)
    message = chunk_message(5, chunk, NORMALIZED_AXES, "base", rate_hz=5.0)
    assert tuple(message.joint_names) == NORMALIZED_AXES
    np.testing.assert_array_equal([point.positions for point in message.points], chunk)
    times = [point.time_from_start.sec + point.time_from_start.nanosec * 1e-9 for point in message.points]
    np.testing.assert_allclose(times, [0.0, 0.2, 0.4, 0.6])


@pytest.mark.parametrize(
    ("names", "positions", "expected"),
    [
        (ACTION_AXES[:6], [0.0] * 6, "names"),
        (tuple(reversed(ACTION_AXES)), [0.0] * 7, "names"),
        ((), [], "names"),
        (NORMALIZED_AXES, [0.0] * 6, "position: expected 7 values, got 6"),
    ],
)
def test_a_malformed_action_message_says_what_is_wrong(names, positions, expected):
    got = action_values(JointState(name=list(names), position=positions))
    assert isinstance(got, str)
    assert expected in got


def test_a_trajectory_has_one_point_reached_in_the_step_and_no_velocity():
    message = built("joint_trajectory", MOVE)
    (point,) = message.points
    assert list(message.joint_names) == list(JOINTS)
    assert list(point.positions) == [0.1, -0.2]
    assert list(point.velocities) == []
    assert point.time_from_start.nanosec == 100_000_000
    hold = built("joint_trajectory", HOLD)
    assert hold.points[0].time_from_start.nanosec == 10_000_000


def test_joint_positions_are_in_the_robots_order():
    assert list(built("joint_position", MOVE).data) == [0.1, -0.2]


def test_a_pose_is_the_tips_in_the_workspace_frame():
    message = built("pose", MOVE)
    position, orientation = message.pose.position, message.pose.orientation
    assert (message.header.frame_id, time_ns(message.header.stamp)) == ("base_link", MOVE.stamp_ns)
    assert (position.x, position.y, position.z) == (1.0, 2.0, 3.0)
    assert (orientation.x, orientation.y, orientation.z, orientation.w) == (0.0, 0.0, 0.6, 0.8)


def test_a_twist_is_the_tips_and_zero_in_a_hold():
    linear, angular = (
        built("twist", MOVE).twist.linear,
        built("twist", MOVE).twist.angular,
    )
    assert (linear.x, linear.y, linear.z, angular.x, angular.y, angular.z) == (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
    still = built("twist", HOLD).twist
    assert (still.linear.x, still.linear.y, still.linear.z) == (0.0, 0.0, 0.0)
    assert (still.angular.x, still.angular.y, still.angular.z) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("mode", list(MODES))
def test_a_builder_leaves_nothing_of_the_decision_before(mode):
    """It fills the same message each time."""
    build = MODES[mode].builder(CONTEXT)
    first = copy.deepcopy(build(MOVE))
    other = dataclasses.replace(HOLD, joint_positions=np.zeros(2), tool_position=np.zeros(3))
    assert build(other) == built(mode, other) != first
    assert build(MOVE) == first


def test_a_decision_message_names_every_refusal_with_value_and_bound():
    message = decision_message(MOVE, "robot.urdf")
    values = {pair.key: pair.value for pair in message.values}
    assert message.level == DiagnosticStatus.WARN
    assert values["status"] == "limited"
    assert values["state"] == "active"
    assert values["refusal tool speed"] == "0.4 m/s, bound 0.25 m/s"
    assert values["refusal action numbers"] == "6, bound 7"
    assert "tool speed" in message.message
    assert message.hardware_id == "robot.urdf"


@pytest.mark.parametrize("status", list(Status))
def test_every_status_has_a_level(status):
    level = decision_message(dataclasses.replace(MOVE, status=status), "r").level
    expected = {
        Status.OK: DiagnosticStatus.OK,
        Status.LIMITED: DiagnosticStatus.WARN,
        Status.HOLD: DiagnosticStatus.WARN,
    }
    assert level == expected.get(status, DiagnosticStatus.ERROR)


def test_every_option_is_a_parameter_with_the_same_default():
    filter_options = {field.name: field.default for field in dataclasses.fields(FilterOptions)}
    parameters = {parameter.name: parameter.default for parameter in FILTER_PARAMETERS}
    corners = {"workspace_min": [-np.inf] * 3, "workspace_max": [np.inf] * 3}
    assert parameters == {**filter_options, **corners}

    values = {parameter.name: parameter.default for parameter in POLICY_PARAMETERS}
    assert act_options(values) == ActOptions()
    assert {field.name for field in dataclasses.fields(ActOptions)} <= set(values)


@pytest.mark.parametrize("parameter", [*POLICY_PARAMETERS, *SAFETY_PARAMETERS], ids=lambda p: p.name)
def test_every_parameter_is_described_and_its_default_allowed(parameter):
    assert parameter.description
    if parameter.choices:
        assert parameter.default in parameter.choices
    if parameter.minimum is not None:
        assert parameter.minimum <= parameter.default <= parameter.maximum
