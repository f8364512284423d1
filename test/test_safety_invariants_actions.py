"""Invariants 17 to 22: what an action that may pass does, and what one that may not still does."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from safety_cell import MILLISECOND, ROBOTS, SECOND, Cell, model, starts
from safety_inputs import directions, examples, push, unit
from safety_oracle import Oracle

from octo_ros.errors import ParameterError
from octo_ros.safety.decision import Status
from octo_ros.safety.options import FilterOptions

on_each_arm = pytest.mark.parametrize("name", ROBOTS)
PATIENT = {"action_timeout_s": 2.0}


def turn_of(vector: np.ndarray) -> np.ndarray:
    """Rotation matrix of a rotation vector, by Rodrigues."""
    angle = np.linalg.norm(vector)
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def angles_of(matrix: np.ndarray) -> np.ndarray:
    """Roll, pitch, yaw (3,) [rad] of Rz Ry Rx."""
    return np.array(
        [
            np.arctan2(matrix[2, 1], matrix[2, 2]),
            np.arcsin(np.clip(-matrix[2, 0], -1.0, 1.0)),
            np.arctan2(matrix[1, 0], matrix[0, 0]),
        ]
    )


def vector_of(matrix: np.ndarray) -> np.ndarray:
    """Rotation vector (3,) of a small rotation."""
    sine = 0.5 * np.array(
        [matrix[2, 1] - matrix[1, 2], matrix[0, 2] - matrix[2, 0], matrix[1, 0] - matrix[0, 1]]
    )
    size = np.linalg.norm(sine)
    return sine * (np.arcsin(min(size, 1.0)) / size) if size > 1e-12 else sine


@on_each_arm
@examples(15)
@given(direction=directions)
def test_invariant_17_feasible_action_passes_unchanged(name, direction):
    cell = Cell(name)
    cell.begin()
    translation, rotation = direction[:3] * 0.02, direction[3:] * 0.03
    before = cell.model.tool(cell.measured)
    decision = cell.act(translation, rotation, wait_ns=200 * MILLISECOND)  # one period of the data set
    assert decision.status is Status.OK
    assert decision.tool_position == pytest.approx(before[0] + translation, abs=1e-6)
    turned = cell.model.tool(decision.joint_positions)[1] @ before[1].T
    assert angles_of(turned) == pytest.approx(rotation, abs=1e-6)


@on_each_arm
@examples(8)
@given(direction=directions, tick_ns=st.sampled_from([10 * MILLISECOND, 20 * MILLISECOND, 37 * MILLISECOND]))
def test_invariant_17_feasible_action_passes_unchanged_in_ticks(name, direction, tick_ns):
    cell = Cell(name, options=FilterOptions(**PATIENT))
    cell.begin()
    cell.wait(100 * MILLISECOND)
    translation, rotation = direction[:3] * 0.02, direction[3:] * 0.03
    before = cell.model.tool(cell.measured)
    decision = cell.drive(translation, rotation, period_ns=SECOND, tick_ns=tick_ns)
    assert decision.status is Status.OK
    assert not cell.oracle.velocity.any()
    after = cell.model.tool(cell.last)
    assert after[0] == pytest.approx(before[0] + translation, abs=1e-6)
    assert vector_of(after[1] @ before[1].T) == pytest.approx(vector_of(turn_of_angles(rotation)), abs=1e-6)
    assert cell.filter.asked.position == pytest.approx(after[0], abs=1e-6)


def turn_of_angles(angles: np.ndarray) -> np.ndarray:
    """Rz Ry Rx of roll, pitch, yaw (3,) [rad]."""
    roll, pitch, yaw = (turn_of(axis * angle) for axis, angle in zip(np.eye(3), angles, strict=True))
    return yaw @ pitch @ roll


@on_each_arm
@examples(12)
@given(direction=directions, size=st.sampled_from([0.01, 0.1, 3.0, 1e30]), index=st.integers(0, 39))
def test_invariant_17_filtering_twice_is_filtering_once(name, direction, size, index):
    """What a first filter makes of an action, given as an action to a second filter, comes out the same."""
    start = starts(name)[index]
    first, second = Cell(name, start), Cell(name, start)
    for cell in (first, second):
        cell.begin()
    before = first.model.tool(start)
    once = first.act(direction[:3] * size, direction[3:] * size)
    assume({refusal.limit for refusal in once.refusals} <= {"tool speed", "tool rotation speed"})
    assume(np.linalg.svd(first.model.jacobian(start))[1].min() > 0.1)
    assume(np.abs(once.joint_velocities).max() < 0.99)  # from rest acceleration allows 1 rad/s in 0.1 s
    after = first.model.tool(once.joint_positions)
    way, turn = after[0] - before[0], vector_of(after[1] @ before[1].T)
    twice = second.act(way * 2.0, angles_of(turn_of(turn * 2.0)))  # 0.1 s of a step of 0.2 s
    again = second.model.tool(twice.joint_positions)
    assert again[0] == pytest.approx(after[0], abs=1e-6)
    assert again[1] == pytest.approx(after[1], abs=1e-6)


@on_each_arm
@examples(15)
@given(direction=directions, size=st.sampled_from([0.06, 3.0, 1e30]), ticks=st.booleans())
def test_invariant_18_where_only_speed_binds_the_direction_is_kept(name, direction, size, ticks):
    direction = direction[:3] + (0.0 if np.linalg.norm(direction[:3]) > 0.05 else 0.2)
    direction = direction / np.linalg.norm(direction)
    cell = Cell(name)
    cell.begin()
    cell.wait(100 * MILLISECOND)
    before = cell.model.tool(cell.measured)[0]
    if ticks:
        decision = cell.drive(direction * size)
        cell.tick()
    else:
        decision = cell.step(cell.delta(direction * size))
    assert {refusal.limit for refusal in decision.refusals} == {"tool speed"}
    moved = cell.last_position(before)
    cosine = moved @ direction / np.linalg.norm(moved)
    assert cosine >= 0.999
    if not ticks:
        assert np.linalg.norm(moved) == pytest.approx(0.025, rel=0.03)  # and no slower than needed
    else:
        assert 0.03 < np.linalg.norm(moved) <= 0.05  # in 0.19 s


@on_each_arm
@examples(6)
@given(direction=directions, scale=st.sampled_from([0.0025, 0.01, 0.05]))
def test_invariant_18_where_joint_speed_binds_the_direction_is_kept(name, direction, scale):
    """Slow joints and no other limit: the whole motion is slowed."""
    options = FilterOptions(velocity_scale=scale, max_tool_speed=5.0, max_tool_rotation_speed=9.0)
    cell = Cell(name, options=options)
    cell.begin()
    direction = direction[:3] + np.where(np.linalg.norm(direction[:3]) > 0.05, 0.0, 0.2)
    direction = direction / np.linalg.norm(direction)
    before = cell.model.tool(cell.measured)[0]
    for _ in range(3):
        decision = cell.act(direction * 0.05)
        assert decision.status is Status.LIMITED
    moved = cell.last_position(before)
    assert moved @ direction / np.linalg.norm(moved) >= 0.999


@pytest.mark.parametrize("ticks", [False, True])
@on_each_arm
def test_invariant_19_singular_postures_can_be_left(name, ticks):
    left = 0
    for start in starts(name)[2::4]:  # one joint at or near zero
        before, _ = model(name).tool(start)
        centre, best = 0.5 * (model(name).minimum + model(name).maximum), 0.0
        for axis in np.vstack((np.eye(3), -np.eye(3))):
            if (centre - before) @ axis < 0.05 or best > 0.03:
                continue  # towards the middle of the box only
            cell = Cell(name, start, thorough=False)
            cell.begin()
            push(
                cell,
                [(np.concatenate((axis, np.zeros(3))), 0.02, 10)],
                (10 * MILLISECOND if ticks else None, [100 * MILLISECOND]),
            )
            best = max(best, float(cell.last_position(before) @ axis))
        assert best > 0.03  # of 0.1 m that were asked for
        left += 1
    assert left == 10


@cache
def singular(name: str) -> tuple[np.ndarray, ...]:
    """Postures away from every limit in which the tool can hardly move one way."""
    random, reference = np.random.default_rng(3), model(name)
    oracle, found = Oracle(reference, FilterOptions(joint_margin=0.1, box_inset=0.05)), []
    low, high = np.maximum(reference.lower + 0.1, -np.pi), np.minimum(reference.upper - 0.1, np.pi)
    for _ in range(20_000):
        joints = random.uniform(low, high)
        zero = random.integers(len(joints))
        joints[zero] = np.clip(random.choice([0.0, 1e-9, -1e-5, 1e-3]), low[zero], high[zero])
        if oracle.is_inside(joints) and np.linalg.svd(reference.jacobian(joints))[1].min() < 0.03:
            found.append(joints)
            if len(found) == 8:
                break
    return tuple(found)


@on_each_arm
@examples(8)
@given(index=st.integers(0, 7), ticks=st.booleans())
def test_invariant_19_some_motion_out_of_a_singularity_with_bounded_joints(name, index, ticks):
    """The smallest singular direction is asked for, both ways; one of them moves, and no joint races."""
    start = singular(name)[index % len(singular(name))]
    direction, ways = np.linalg.svd(model(name).jacobian(start))[0][:, -1], []
    for sign in (1.0, -1.0):
        cell = Cell(name, start, thorough=False)
        cell.begin()
        before = cell.model.tool(start)
        pace = (10 * MILLISECOND if ticks else None, [100 * MILLISECOND])
        push(cell, [(sign * direction, 0.02, 10)], pace)
        after = cell.model.tool(cell.last)
        moved = np.concatenate((after[0] - before[0], vector_of(after[1] @ before[1].T)))
        ways.append(sign * moved @ direction)
    assert max(ways) > 1e-3  # of 0.1 that were asked for


@on_each_arm
@examples(12)
@given(
    direction=directions, size=st.sampled_from([0.01, 0.1, 2.0]), index=st.integers(0, 39), kind=st.booleans()
)
def test_invariant_21_the_same_motion_in_axes_of_the_tool_gives_the_same_joints(
    name, direction, size, index, kind
):
    """A straight way, or a turn: those are the same motion whichever axes state them."""
    direction = direction * ([1, 1, 1, 0, 0, 0] if kind else [0, 0, 0, 1, 1, 1])
    start, joints = starts(name)[index], []
    turned = model(name).tool(start)[1]
    vector = direction[3:] * size
    vector = vector / max(1.0, np.linalg.norm(vector) / 0.5)
    for frame, axes in (("base", np.eye(3)), ("tool", turned.T)):
        cell = Cell(name, start, FilterOptions(action_frame=frame))
        cell.begin()
        cell.wait(100 * MILLISECOND)
        cell.step(cell.delta(axes @ direction[:3] * size, angles_of(turn_of(axes @ vector))))
        joints.append(cell.last)
    assert joints[0] == pytest.approx(joints[1], abs=1e-9)


@pytest.mark.parametrize("frame", ["camera", "", None, "Base", "fr3_link0", 3])
def test_invariant_21_an_unknown_frame_is_refused(frame):
    with pytest.raises(ParameterError, match="action_frame"):
        FilterOptions(action_frame=frame)


@on_each_arm
@examples(1)
@given(plan=st.lists(st.tuples(directions, st.just(0.02), st.integers(1, 3)), min_size=1, max_size=3))
def test_invariant_22_no_drift_under_10000_zero_actions(name, plan):
    cell = Cell(name)
    cell.begin()
    push(cell, plan)
    push(cell, [(np.zeros(6), 1.0, 5)])
    start = cell.measured.copy()
    for _ in range(10_000):
        cell.wait(10 * MILLISECOND)
        decision = cell.filter.step(cell.delta(), cell.now_ns)
    assert np.max(np.abs(decision.joint_positions - start)) <= 1e-6


@on_each_arm
@examples(2)
@given(direction=directions, gripper=unit)
def test_invariant_22_no_drift_in_ticks_under_zero_actions(name, direction, gripper):
    cell = Cell(name, thorough=False)
    cell.begin()
    push(cell, [(direction, 0.02, 4), (np.zeros(6), 1.0, 4)], (10 * MILLISECOND, [100 * MILLISECOND]))
    start = cell.measured.copy()
    for _ in range(100):
        cell.go_on(100 * MILLISECOND)
        cell.step(cell.delta(gripper=abs(gripper)))
    assert np.max(np.abs(cell.last - start)) <= 1e-6
