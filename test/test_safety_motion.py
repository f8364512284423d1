"""Invariants of the motion: what the commands keep, wherever the actions push.

Every command of a `Cell` is checked against all limits by a model of its own; each property
here attacks from another side. The examples are the same on every run.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safety_cell import MILLISECOND, ROBOTS, SECOND, Cell, model, starts
from safety_inputs import examples

from octo_ros.safety.decision import FilterState, Status
from octo_ros.safety.options import FilterOptions

pytestmark = pytest.mark.parametrize("name", ROBOTS)


unit = st.floats(-1.0, 1.0)
directions = st.tuples(*[unit] * 6).map(np.array)
sizes = st.sampled_from([1e-4, 0.01, 0.05, 0.3, 1e30, 1e308])
waits = st.sampled_from([1, 1000, MILLISECOND, 50 * MILLISECOND, 100 * MILLISECOND, 290 * MILLISECOND])
pushes = st.lists(st.tuples(directions, sizes, st.integers(1, 20), waits), min_size=1, max_size=4)
start_indices = st.integers(0, 39)


def push(cell: Cell, plan: list) -> None:
    """Acts along each direction in turn."""
    for direction, size, repeats, wait_ns in plan:
        for _ in range(repeats):
            cell.act(direction[:3] * size, direction[3:] * size, wait_ns=wait_ns)


@examples(12)
@given(index=start_indices, plan=pushes, frame=st.sampled_from(["base", "tool"]))
def test_invariants_1_3_6_7_hold_wherever_actions_push(name, index, plan, frame):
    cell = Cell(name, starts(name)[index], FilterOptions(action_frame=frame))
    cell.begin()
    push(cell, plan)
    assert cell.filter.state is FilterState.ACTIVE


@examples(10)
@given(direction=directions, index=start_indices)
def test_invariant_1_joints_stay_inside_their_margins_when_turned_as_far_as_they_go(name, direction, index):
    cell = Cell(name, starts(name)[index])
    cell.begin()
    for _ in range(60):
        cell.act(direction[:3] * 0.01, direction[3:] * 10.0, wait_ns=200 * MILLISECOND)
    assert cell.worst.joint >= 0.0


@examples(10)
@given(index=start_indices, direction=directions, wait_ns=waits)
def test_invariant_3_joint_speed_and_braking_distance_in_and_near_singular_postures(
    name, index, direction, wait_ns
):
    cell = Cell(name, starts(name)[index // 4 * 4 + 2])  # one joint at or near zero
    cell.begin()
    for turn in range(30):
        sign = 1.0 if turn < 20 else -1.0
        cell.act(sign * direction[:3] * 0.05, sign * direction[3:] * 0.1, wait_ns=wait_ns)
    assert min(cell.worst.velocity, cell.worst.braking + 1e-9) >= 0.0


@examples(10)
@given(direction=directions, size=sizes, wait_ns=waits)
def test_invariant_6_tool_speed(name, direction, size, wait_ns):
    cell = Cell(name)
    cell.begin()
    for _ in range(10):
        decision = cell.act(direction[:3] * size, direction[3:] * size, wait_ns=wait_ns)
        assert np.linalg.norm(decision.tool_twist[:3]) <= 0.25
        assert np.linalg.norm(decision.tool_twist[3:]) <= 0.5
    assert min(cell.worst.tool_speed, cell.worst.rotation_speed) >= 0.0


@pytest.mark.parametrize("corner", range(8))
def test_invariant_7_the_box_is_kept_in_every_corner_and_every_corner_can_be_left(name, corner):
    cell = Cell(name)
    cell.begin()
    signs = np.array([1.0 if corner >> axis & 1 else -1.0 for axis in range(3)])
    for _ in range(60):
        cell.act(signs * 0.05)
    cell.act(signs * 1e30)
    assert cell.worst.box >= 0.0
    before = cell.measured.copy()
    for _ in range(10):
        cell.act(-signs * 0.02)
    back = (cell.model.tool(cell.measured)[0] - cell.model.tool(before)[0]) * -signs
    assert np.all(back > 0.03)  # of 0.1 m that were asked for


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("side", [-1, 1])
def test_invariant_7_each_wall_is_reached_and_kept(name, axis, side):
    cell = Cell(name)
    cell.begin()
    action = np.zeros(3)
    action[axis] = side * 0.05
    for _ in range(40):
        decision = cell.act(action)
    wall = (cell.model.minimum if side < 0 else cell.model.maximum)[axis]
    inset, clearance = 0.005, 0.001
    assert side * (wall - decision.tool_position[axis]) == pytest.approx(inset + clearance, abs=1e-4)
    assert f"workspace {'xyz'[axis]}" in decision.refusals[0].limit
    assert decision.refusals[0].bound == pytest.approx(wall - side * (inset + clearance), abs=1e-4)


@examples(10)
@given(
    index=start_indices, offset=st.tuples(*[unit] * 7), size=st.sampled_from([0.05, 0.3, 1.0]), plan=pushes
)
def test_invariant_9_from_outside_no_violation_grows(name, index, offset, size, plan):
    reference = model(name)
    start = starts(name)[index] + size * np.array(offset)[: len(reference.lower)]
    start = np.clip(start, reference.lower - 0.3, reference.upper + 0.3)
    cell = Cell(name, start)
    first = cell.begin()
    outside = not reference.is_inside(start, cell.options)
    assert (first.status is Status.LIMITED) == bool(first.refusals) == outside
    push(cell, plan)


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("side", [-1, 1])
def test_invariant_10_from_outside_the_box_inward_motion_passes(name, axis, side):
    tight = {-1: "workspace_min", 1: "workspace_max"}[side]
    cell = Cell(name)
    position = cell.model.tool(cell.measured)[0]
    corner = (cell.model.minimum if side < 0 else cell.model.maximum).copy()
    corner[axis] = position[axis] - side * 0.05
    cell.options = FilterOptions(**{tight: tuple(corner)})
    cell.model = _with_box(name, tight, corner)
    cell.filter = type(cell.filter)(cell.robot, cell.options)
    cell.observe()
    assert [refusal.limit for refusal in cell.begin().refusals] == [
        f"workspace {'xyz'[axis]} in {cell.robot.workspace.frame}"
    ]
    inwards = np.zeros(3)
    inwards[axis] = -side * 0.01
    held = cell.act(-inwards)
    assert abs(held.tool_position[axis] - position[axis]) < 1e-9  # no further out
    moved = cell.act(inwards)
    assert (moved.tool_position - held.tool_position) @ inwards == pytest.approx(0.005 * 0.01, rel=0.02)


def _with_box(name: str, corner_name: str, corner: np.ndarray):
    """A model of the same robot whose box has another corner."""
    changed = type(model(name))(name)
    setattr(
        changed, corner_name.replace("workspace_min", "minimum").replace("workspace_max", "maximum"), corner
    )
    return changed


@examples(20)
@given(direction=directions)
def test_invariant_17_feasible_action_passes_unchanged(name, direction):
    cell = Cell(name)
    cell.begin()
    translation, rotation = direction[:3] * 0.02, np.array([direction[3] * 0.05, 0.0, 0.0])
    before = cell.model.tool(cell.measured)
    decision = cell.act(translation, rotation, wait_ns=200 * MILLISECOND)  # one period of the data set
    assert decision.status is Status.OK
    assert decision.tool_position == pytest.approx(before[0] + translation, abs=1e-6)
    angle = rotation[0]
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    assert cell.model.tool(decision.joint_positions)[1] == pytest.approx(turn @ before[1], abs=1e-6)


@examples(20)
@given(direction=directions, size=st.sampled_from([0.06, 3.0, 1e30]))
def test_invariant_18_where_only_speed_binds_the_direction_is_kept(name, direction, size):
    direction = direction[:3] + (0.0 if np.linalg.norm(direction[:3]) > 0.05 else 0.2)
    direction = direction / np.linalg.norm(direction)
    cell = Cell(name)
    cell.begin()
    before = cell.model.tool(cell.measured)[0]
    decision = cell.act(direction * size, wait_ns=100 * MILLISECOND)
    assert {refusal.limit for refusal in decision.refusals} == {"tool speed"}
    moved = decision.tool_position - before
    cosine = moved @ direction / np.linalg.norm(moved)
    assert cosine >= 0.999
    assert np.linalg.norm(moved) == pytest.approx(0.025, rel=0.03)  # and no slower than needed


def test_invariant_19_singular_postures_can_be_left(name):
    left = 0
    for start in starts(name)[2::4]:  # one joint at or near zero
        before, rotation = model(name).tool(start)
        centre = 0.5 * (model(name).minimum + model(name).maximum)
        best = 0.0
        for axis in np.vstack((np.eye(3), -np.eye(3))):
            if (centre - before) @ axis < 0.05:
                continue  # towards the middle of the box only
            cell = Cell(name, start)
            cell.begin()
            for _ in range(10):
                cell.act(axis * 0.02)
            best = max(best, float((cell.model.tool(cell.measured)[0] - before) @ axis))
        assert best > 0.03  # of 0.1 m that were asked for
        left += 1
    assert left == 10


def test_invariant_22_no_drift_under_zero_actions(name):
    cell = Cell(name)
    cell.begin()
    for _ in range(3):
        cell.act((0.013, -0.007, 0.011), (0.02, 0.03, -0.05))
    start = cell.measured.copy()
    for _ in range(10_000):
        cell.wait(10 * MILLISECOND)
        decision = cell.filter.step(cell.delta(), cell.now_ns)
    assert np.max(np.abs(decision.joint_positions - start)) <= 1e-6


def test_same_inputs_give_the_same_bits(name):
    def run() -> np.ndarray:
        random, cell = np.random.default_rng(11), Cell(name)
        return np.array(
            [cell.act(*random.normal(scale=0.05, size=(2, 3))).joint_positions for _ in range(30)]
        )

    assert run().tobytes() == run().tobytes()


def test_target_reference_does_not_wind_up_behind_a_wall(name):
    cell = Cell(name)
    cell.begin()
    for _ in range(50):
        cell.act((0.0, 0.0, -0.05))
    height = cell.model.tool(cell.measured)[0][2]
    cell.act((0.0, 0.0, 0.02))
    assert cell.model.tool(cell.measured)[0][2] - height == pytest.approx(0.01, rel=0.05)


def test_speed_does_not_depend_on_how_often_actions_come(name):
    ends = []
    for wait_ns in (50 * MILLISECOND, 100 * MILLISECOND, 200 * MILLISECOND):
        cell = Cell(name)
        cell.begin()
        for _ in range(SECOND // wait_ns):
            cell.act((0.01, 0.0, 0.01), (0.0, 0.0, 0.02), wait_ns=wait_ns)
        ends.append(cell.model.tool(cell.measured)[0] - cell.model.tool(cell.robot.home)[0])
    for end in ends:
        assert end == pytest.approx([0.05, 0.0, 0.05], abs=1e-5)  # 5 deltas in a second, as recorded
