"""What an action means: axes, order of rotations, reference, rate, and speed limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safety_cell import MILLISECOND, Cell

from octo_ros.safety import inverse_kinematics
from octo_ros.safety.compose import Pose, moved, rotation_vector, slowed, tool_velocity
from octo_ros.safety.decision import Status, ToolDelta
from octo_ros.safety.options import FilterOptions

FIXED = settings(derandomize=True, deadline=None, max_examples=60)
angles = st.lists(st.floats(-0.5, 0.5), min_size=3, max_size=3).map(np.array)


def turn(axis: int, angle: float) -> np.ndarray:
    """Rotation matrix about a coordinate axis."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    matrix[[first, second], [first, second]] = np.cos(angle)
    matrix[second, first], matrix[first, second] = np.sin(angle), -np.sin(angle)
    return matrix


def matrix_of(vector: np.ndarray) -> np.ndarray:
    """Rotation matrix of a rotation vector, by Rodrigues."""
    angle = np.linalg.norm(vector)
    if angle == 0.0:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def action(translation=(0, 0, 0), rotation=(0, 0, 0)) -> ToolDelta:
    return ToolDelta(0, np.array(translation, float), np.array(rotation, float), 0.5)


@FIXED
@given(angles=angles)
def test_rpy_turns_roll_first_about_fixed_axes_and_ypr_yaw_first(angles):
    roll, pitch, yaw = (turn(axis, angle) for axis, angle in enumerate(angles))
    assert matrix_of(rotation_vector(angles, "rpy")) == pytest.approx(yaw @ pitch @ roll, abs=1e-12)
    assert matrix_of(rotation_vector(angles, "ypr")) == pytest.approx(roll @ pitch @ yaw, abs=1e-12)


def test_the_two_orders_differ_where_it_matters():
    angles = np.array([0.3, 0.0, 0.4])
    assert np.max(np.abs(rotation_vector(angles, "rpy") - rotation_vector(angles, "ypr"))) > 0.05


def test_huge_rotation_is_fast_and_not_wrapped_around():
    for size in (2.0, 7.0, 1e30):
        vector = rotation_vector(np.array([0.0, 0.0, size]), "rpy")
        assert vector == pytest.approx([0.0, 0.0, size])


def test_delta_is_one_step_at_the_rate_of_the_data_set():
    velocity = tool_velocity(action((0.01, 0, 0), (0, 0, 0.02)), FilterOptions(data_rate_hz=3.0))
    assert velocity == pytest.approx([0.03, 0, 0, 0, 0, 0.06])


def test_speed_limit_slows_the_whole_motion_and_keeps_its_direction():
    options = FilterOptions()
    velocity = np.array([0.5, 0.0, 0.0, 0.0, 0.1, 0.0])
    slow, refusals = slowed(velocity, options)
    assert slow == pytest.approx(velocity * 0.5 * 0.999)
    assert [(refusal.limit, refusal.value, refusal.bound) for refusal in refusals] == [
        ("tool speed", 0.5, 0.25)
    ]
    unchanged, none = slowed(slow, options)
    assert np.array_equal(unchanged, slow)
    assert none == []


@pytest.mark.parametrize("values", [(1e308, -1e308, 1e308), (1e30, 0, 0), (5e-324, 0, 0)])
def test_extreme_finite_actions_stay_finite(values):
    velocity, refusals = slowed(tool_velocity(action(values, values), FilterOptions()), FilterOptions())
    assert np.isfinite(velocity).all()
    assert np.linalg.norm(velocity[:3]) <= 0.25
    assert np.linalg.norm(velocity[3:]) <= 0.5
    assert all(np.isfinite([refusal.value, refusal.bound]).all() for refusal in refusals)


def test_base_and_tool_axes():
    pose = Pose(np.array([1.0, 2.0, 3.0]), turn(2, np.pi / 2))  # the tool's x is the base's y
    displacement = np.array([0.1, 0.0, 0.0, 0.2, 0.0, 0.0])
    in_base, in_tool = moved(pose, displacement, "base"), moved(pose, displacement, "tool")
    assert in_base.position == pytest.approx([1.1, 2.0, 3.0])
    assert in_tool.position == pytest.approx([1.0, 2.1, 3.0])
    assert in_base.rotation == pytest.approx(turn(0, 0.2) @ pose.rotation, abs=1e-12)
    assert in_tool.rotation == pytest.approx(turn(1, 0.2) @ pose.rotation, abs=1e-12)


@pytest.mark.parametrize("frame", ["base", "tool"])
def test_rotation_is_about_the_tool_not_the_base(frame):
    cell = Cell("fr3", options=FilterOptions(action_frame=frame))
    cell.begin()
    before = cell.model.tool(cell.measured)[0]
    for _ in range(5):
        decision = cell.act(rotation=(0.03, 0.02, 0.05))
    assert decision.status is Status.OK
    assert decision.tool_position == pytest.approx(before, abs=1e-7)


@pytest.mark.parametrize("order", ["rpy", "ypr"])
def test_one_step_at_the_data_rate_is_exactly_the_recorded_rotation(order):
    cell = Cell("fr3", options=FilterOptions(rotation_order=order, max_tool_rotation_speed=2.0))
    cell.begin()
    before = cell.model.tool(cell.measured)[1]
    roll, pitch, yaw = 0.12, -0.08, 0.15
    decision = cell.act(rotation=(roll, pitch, yaw), wait_ns=200 * MILLISECOND)
    assert decision.status is Status.OK
    turns = [turn(0, roll), turn(1, pitch), turn(2, yaw)]
    expected = turns[2] @ turns[1] @ turns[0] if order == "rpy" else turns[0] @ turns[1] @ turns[2]
    assert cell.model.tool(decision.joint_positions)[1] == pytest.approx(expected @ before, abs=1e-7)


def test_target_reference_adds_to_the_last_target_and_measured_reference_to_where_the_robot_is():
    ends = {}
    for reference in ("target", "measured"):
        cell = Cell("fr3", options=FilterOptions(reference=reference))
        cell.begin()
        start = cell.model.tool(cell.measured)[0]
        for _ in range(10):
            home = np.array(cell.robot.home)
            cell.act((0.01, 0.0, 0.0))
            cell.measured = home + 0.5 * (cell.measured - home)  # a robot that does half of what it is told
        ends[reference] = cell.last_position(start)
    assert ends["target"] == pytest.approx([0.05, 0.0, 0.0], abs=1e-6)
    assert ends["measured"][0] < 0.02  # throttled by the lag, as documented


def test_twist_pose_and_velocities_of_a_decision_agree():
    cell = Cell("ur5e")
    cell.begin()
    before = cell.model.tool(cell.measured)
    joints = cell.measured.copy()
    decision = cell.act((0.02, 0.01, -0.01), (0.02, 0.0, 0.03))
    after = cell.model.tool(decision.joint_positions)
    assert decision.dt == pytest.approx(0.1)
    assert decision.joint_velocities * decision.dt == pytest.approx(
        decision.joint_positions - joints, abs=1e-12
    )
    assert decision.tool_position == pytest.approx(after[0], abs=1e-12)
    assert before[0] + decision.tool_twist[:3] * decision.dt == pytest.approx(after[0], abs=1e-12)
    turned = matrix_of(decision.tool_twist[3:] * decision.dt) @ before[1]
    assert turned == pytest.approx(after[1], abs=1e-9)
    x, y, z, w = decision.tool_quaternion
    assert matrix_of(
        2 * np.arctan2(np.linalg.norm([x, y, z]), w) * np.array([x, y, z]) / np.linalg.norm([x, y, z])
    ) == (pytest.approx(after[1], abs=1e-9))


def test_errors_of_the_kinematics_do_not_add_up(monkeypatch):
    monkeypatch.setattr(inverse_kinematics, "ITERATIONS", 1)  # leaves an error at every step
    cell = Cell("fr3")
    cell.begin()
    before = cell.model.tool(cell.measured)
    for step in range(100):  # once around a circle, ten times to and fro about the vertical
        angle = 2 * np.pi * step / 100
        yaw = 0.04 * np.sign(np.sin(10 * angle + 0.1))
        decision = cell.act((0.01 * np.cos(angle), 0.01 * np.sin(angle), 0.0), (0.0, 0.0, yaw))
        assert decision.status is Status.OK
    for _ in range(3):
        decision = cell.act()
    drift = np.max(np.abs(decision.tool_position - before[0]))
    assert drift < 1e-6
