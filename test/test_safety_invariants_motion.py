"""Invariants 1 and 3 to 6: how every command moves, wherever the actions push and however time passes.

Every decision of a `Cell` is checked against all of them by a model of its own; each property
here attacks from another side.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safety_cell import MILLISECOND, ROBOTS, Cell, starts
from safety_inputs import (
    MOTION,
    directions,
    examples,
    malformed,
    malformed_actions,
    misshapen,
    numbers,
    paces,
    push,
    pushes,
    sizes,
    vectors,
    waits,
)

from octo_ros.safety.decision import FilterState
from octo_ros.safety.options import FilterOptions

on_each_arm = pytest.mark.parametrize("name", ROBOTS)
start_indices = st.integers(0, 39)
frames = st.sampled_from(["base", "tool"])
ADVANCE = 100 * MILLISECOND

operations = st.one_of(
    st.tuples(st.just("act"), vectors, vectors, numbers),
    st.tuples(st.just("malformed"), malformed_actions()),
    st.tuples(st.just("object"), st.sampled_from([None, 3, "action", [1, 2, 3], float("nan")])),
    st.tuples(st.just("joints"), st.one_of(misshapen, st.lists(numbers, min_size=8, max_size=9))),
    st.tuples(st.just("wait"), st.integers(0, 400 * MILLISECOND)),
    st.tuples(st.just("blind"), st.integers(0, 400 * MILLISECOND)),
    st.tuples(st.just("go on"), st.integers(0, 200 * MILLISECOND)),
    st.tuples(st.just("time"), st.sampled_from([None, -5, 1.5, float("nan"), 2**70, "noon"])),
    st.tuples(st.just("jump"), st.integers(1, 100_000 * MILLISECOND)),
    st.sampled_from([("tick",), ("e_stop",), ("release",), ("fault",), ("reset",)]),
)


def operate(cell: Cell, kind: str, *values: object) -> None:
    """One operation of a plan."""
    if kind == "act":
        cell.act(*values)
    elif kind == "malformed":
        cell.step(malformed(cell, values[0]))
    elif kind == "object":
        cell.step(values[0])
    elif kind == "joints":
        cell.filter.observe_joints(cell.robot.joint_names, values[0], cell.now_ns, cell.now_ns)
    elif kind == "wait":
        cell.wait(values[0])
    elif kind == "blind":
        cell.now_ns += values[0]
    elif kind == "go on":
        cell.go_on(values[0])
    elif kind == "time":
        cell.check(cell.filter.step(cell.delta(MOTION), values[0]))
        decision = cell.filter.tick(values[0])
        if decision is not None:
            cell.check(decision)
        cell.filter.observe_joints(cell.robot.joint_names, cell.measured, cell.now_ns, values[0])
    elif kind == "jump":
        cell.wait(-values[0])
        cell.tick()
    elif kind == "release":
        cell.filter.release_e_stop()
    else:
        {"tick": cell.tick, "e_stop": cell.e_stop, "fault": cell.fault, "reset": cell.reset}[kind]()


@on_each_arm
@examples(40)
@given(plan=st.lists(operations, min_size=1, max_size=40))
def test_invariant_01_any_input_gives_finite_commands_inside_the_limits(name, plan):
    cell = Cell(name, thorough=False)
    cell.begin()
    for kind, *values in plan:
        operate(cell, kind, *values)


@on_each_arm
@examples(6)
@given(direction=directions, index=start_indices, pace=paces())
def test_invariant_01_joints_stay_inside_their_margins_when_turned_as_far_as_they_go(
    name, direction, index, pace
):
    cell = Cell(name, starts(name)[index], thorough=False)
    cell.begin()
    push(cell, [(direction * [0.01, 0.01, 0.01, 10, 10, 10], 1.0, 20)], pace)
    assert cell.worst.get("1 joint position", 0.0) >= 0.0


@on_each_arm
@examples(8)
@given(index=start_indices, direction=directions, wait_ns=waits, ticks=st.booleans())
def test_invariant_03_joint_speed_and_braking_distance_in_and_near_singular_postures(
    name, index, direction, wait_ns, ticks
):
    cell = Cell(name, starts(name)[index // 4 * 4 + 2], thorough=False)  # one joint at or near zero
    cell.begin()
    pace = (10 * MILLISECOND if ticks else None, [wait_ns])
    push(cell, [(direction, 0.1, 12), (-direction, 0.1, 8)], pace)
    assert cell.worst.get("3 joint velocity", 0.0) >= 0.0


@on_each_arm
@examples(8)
@given(index=start_indices, plan=pushes, pace=paces(), frame=frames, jerk=st.sampled_from([5.0, 500.0, 1e5]))
def test_invariant_04_acceleration_of_every_joint_is_bounded_whatever_is_asked(
    name, index, plan, pace, frame, jerk
):
    options = FilterOptions(action_frame=frame, max_joint_jerk=jerk, max_joint_acceleration=6.0)
    cell = Cell(name, starts(name)[index], options, thorough=False)
    cell.begin()
    push(cell, plan, pace)
    assert cell.filter.state.moves


@on_each_arm
@examples(10)
@given(
    index=start_indices,
    plan=pushes,
    way=st.sampled_from(["e_stop", "fault", "silence", "blind", "back"]),
    later=st.lists(st.integers(1, 60), min_size=1, max_size=20),
)
def test_invariant_04_and_05_every_stop_brakes_to_rest_with_bounded_acceleration(
    name, index, plan, way, later
):
    cell = Cell(name, starts(name)[index], thorough=False)
    cell.begin()
    push(cell, plan, (10 * MILLISECOND, [100 * MILLISECOND]))
    cell.go_on(30 * MILLISECOND)
    if way == "e_stop":
        cell.e_stop()
    elif way == "fault":
        cell.fault()
    elif way == "silence":
        cell.go_on(320 * MILLISECOND)
    elif way == "blind":
        for _ in range(12):
            cell.now_ns += 10 * MILLISECOND
            cell.tick()
        assert cell.filter.state is FilterState.HOLD
    else:
        cell.wait(-500 * MILLISECOND)
        cell.tick()
    moving_s = 0.0
    for wait_ms in later:
        fastest = np.max(np.abs(cell.oracle.velocity))
        cell.wait(wait_ms * MILLISECOND)
        decision = cell.tick()
        moving_s += decision.dt
        assert not decision.state.moves
        assert np.max(np.abs(cell.oracle.velocity)) <= max(fastest - 0.0099 * wait_ms, 0.0) + 1e-6
    assert moving_s <= 0.9 * np.max(cell.model.velocity) / cell.options.max_joint_acceleration + 0.06


@on_each_arm
@examples(8)
@given(index=start_indices, plan=pushes, pace=paces(), acceleration=st.sampled_from([0.7, 3.0, 10.0, 60.0]))
def test_invariant_05_from_every_command_braking_ends_inside_joints_and_box(
    name, index, plan, pace, acceleration
):
    """Slow brakes need much room; every command is checked for both ways to brake, then one is tried."""
    options = FilterOptions(
        max_joint_acceleration=acceleration, max_tool_speed=1.0, max_tool_rotation_speed=2.0
    )
    cell = Cell(name, starts(name)[index], options, thorough=False)
    cell.begin()
    push(cell, plan, pace)
    cell.e_stop()
    for _ in range(40):
        cell.now_ns += 20 * MILLISECOND
        cell.tick()
    inside = cell.oracle.beyond(cell.last) <= 0.0
    assert inside.all()


@on_each_arm
@examples(8)
@given(direction=directions, size=sizes, pace=paces(), index=start_indices, frame=frames)
def test_invariant_06_tool_speed_on_every_piece_of_every_segment(name, direction, size, pace, index, frame):
    cell = Cell(name, starts(name)[index], FilterOptions(action_frame=frame))
    cell.begin()
    push(cell, [(direction, size, 12)], pace)
    assert min(cell.worst.get("6 tool speed", 0.0), cell.worst.get("6 tool rotation", 0.0)) >= 0.0
