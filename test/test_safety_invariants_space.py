"""Invariants 7 to 10 and 20: where tool, links and bodies stay, wherever the actions push.

Every decision of a `Cell` is checked against all invariants of motion by a model of its own.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from safety_arms import SHAPES, Arm, arm
from safety_cell import MILLISECOND, ROBOTS, Cell, model, starts
from safety_inputs import examples, paces, push, pushes, unit
from safety_oracle import Oracle

from octo_ros.safety.decision import Status
from octo_ros.safety.options import FilterOptions

on_each_arm = pytest.mark.parametrize("name", ROBOTS)
start_indices = st.integers(0, 39)
frames = st.sampled_from(["base", "tool"])
ADVANCE = 100 * MILLISECOND


@on_each_arm
@examples(6)
@given(
    corner=st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3).map(np.array),
    spin=st.one_of(st.just(np.zeros(3)), st.tuples(unit, unit, unit).map(np.array)),
    pace=paces(),
    slide=st.booleans(),
)
def test_invariant_07_the_box_is_kept_in_every_corner_and_every_corner_can_be_left(
    name, corner, spin, pace, slide
):
    cell = Cell(name, options=FilterOptions(slide_along_walls=slide))
    cell.begin()
    steady = (None if pace[0] is None or pace[0] < MILLISECOND else pace[0], [ADVANCE])
    into, out = np.concatenate((corner, spin)), np.concatenate((-corner, np.zeros(3)))
    push(cell, [(into * [1, 1, 1, 0.3, 0.3, 0.3], 0.05, 20), (into, 1e30, 3)], steady)
    push(cell, [(into, 0.05, 6)], pace)
    push(cell, [(np.zeros(6), 1.0, 3)], steady)
    before = cell.measured.copy()
    push(cell, [(out, 0.02, 10)], steady)
    if not spin.any():  # joints that were turned to their limits may be in the way
        back = (cell.model.tool(cell.measured)[0] - cell.model.tool(before)[0]) * -corner
        assert np.all(back > 0.03)  # of 0.1 m that were asked for


@on_each_arm
@examples(6)
@given(axis=st.integers(0, 2), side=st.sampled_from([-1, 1]), ticks=st.booleans())
def test_invariant_07_each_wall_is_reached_and_kept(name, axis, side, ticks):
    cell = Cell(name)
    cell.begin()
    action = np.zeros(6)
    action[axis] = side * 0.05
    push(cell, [(action, 1.0, 30)], (10 * MILLISECOND if ticks else None, [ADVANCE]))
    decision = cell.act(action[:3])
    wall = (cell.model.minimum if side < 0 else cell.model.maximum)[axis]
    inset, clearance = 0.005, 0.001
    assert side * (wall - decision.tool_position[axis]) == pytest.approx(inset + clearance, abs=1e-4)
    assert f"workspace {'xyz'[axis]}" in decision.refusals[0].limit
    assert decision.refusals[0].bound == pytest.approx(wall - side * (inset + clearance), abs=1e-4)


@pytest.mark.parametrize("name", ["scara", "random 10", "random 11", "random 26"])
@examples(5)
@given(plan=pushes, pace=paces(), index=st.integers(0, 11))
def test_invariant_08_links_stay_in_their_zones(name, plan, pace, index):
    assert model(name).zones
    found = starts(name, 12)
    cell = Cell(name, found[index % len(found)], thorough=False)
    cell.begin()
    push(cell, plan, pace)
    assert cell.worst.get("8 zones", 0.0) >= 0.0


@pytest.mark.parametrize("name", [*ROBOTS, "scara", "random 10"])
@examples(7)
@given(
    index=start_indices,
    offset=st.tuples(*[unit] * 7),
    size=st.sampled_from([0.05, 0.3, 1.0]),
    plan=pushes,
    pace=paces(),
    stop=st.booleans(),
)
def test_invariant_09_from_outside_no_violation_grows(name, index, offset, size, plan, pace, stop):
    reference, found = model(name), starts(name, 40 if name in ROBOTS else 12)
    start = found[index % len(found)] + size * np.array(offset)[: len(reference.lower)]
    start = np.clip(start, reference.lower - 0.3, reference.upper + 0.3)
    cell = Cell(name, start, thorough=False)
    first = cell.begin()
    outside = not cell.oracle.is_inside(start)
    assert (first.status is Status.LIMITED) == bool(first.refusals)
    assert bool(first.refusals) == outside or np.min(np.abs(cell.model.distances(start) - 0.02)) < 1e-3
    push(cell, plan, pace)
    if stop:
        cell.e_stop()
        cell.go_on(200 * MILLISECOND)


@on_each_arm
@examples(8)
@given(axis=st.integers(0, 2), side=st.sampled_from([-1, 1]), depth=st.floats(1e-4, 0.1), ticks=st.booleans())
def test_invariant_10_from_outside_the_box_inward_motion_passes(name, axis, side, depth, ticks):
    position = model(name).tool(starts(name)[0])[0]
    corner = (model(name).minimum if side < 0 else model(name).maximum).copy()
    corner[axis] = position[axis] - side * depth
    assume(model(name).minimum[axis] + 0.02 < corner[axis] < model(name).maximum[axis] - 0.02)
    options = FilterOptions(**{"workspace_min" if side < 0 else "workspace_max": tuple(corner)})
    cell = Cell(name, options=options)
    assert [refusal.limit for refusal in cell.begin().refusals] == [
        f"workspace {'xyz'[axis]} in {cell.robot.workspace.frame}"
    ]
    inwards = np.zeros(6)
    inwards[axis] = -side * 0.01
    pace = (10 * MILLISECOND if ticks else None, [ADVANCE])
    push(cell, [(-inwards, 1.0, 2)], pace)
    assert side * cell.last_position(position)[axis] < 1e-9  # no further out
    before = cell.last.copy()
    push(cell, [(inwards, 1.0, 3)], pace)
    way = cell.last_position(position) @ inwards[:3] / 0.01
    turned = np.max(np.abs(cell.last - before))
    assert way >= 0.5 * 0.3 * 0.05 or turned >= np.radians(1.0) * 0.3


@cache
def joints_to_bend(name: str) -> tuple[tuple[np.ndarray, int, float], ...]:
    """Starts, and a joint of each that alone violates a limit when 0.2 rad beyond a margin."""
    oracle, found = Oracle(model(name), FilterOptions()), []
    for start in starts(name):
        for joint in range(len(start)):
            for side in (-1.0, 1.0):
                bound = (oracle.model.lower + 0.05, oracle.model.upper - 0.05)[side > 0][joint]
                lone = all(
                    np.sum(oracle.beyond(bent) > 0.0) == 1 and oracle.model.distances(bent).min() > 0.03
                    for bent in (
                        np.where(np.arange(len(start)) == joint, bound + side * depth, start)
                        for depth in (0.001, 0.1, 0.2)
                    )
                )
                found += [(start, joint, side)] if lone else []
    return tuple(found)


@on_each_arm
@examples(8)
@given(data=st.data(), depth=st.floats(1e-4, 0.2), ticks=st.booleans())
def test_invariant_10_from_beyond_a_joint_margin_inward_motion_passes(name, data, depth, ticks):
    start, joint, side = data.draw(st.sampled_from(joints_to_bend(name)))
    start = start.copy()
    start[joint] = (model(name).lower + 0.05 if side < 0 else model(name).upper - 0.05)[joint] + side * depth
    cell = Cell(name, start, thorough=False)
    cell.begin()
    wanted = -side * cell.model.jacobian(start)[:, joint]
    wanted *= 0.01 / max(np.linalg.norm(wanted[:3]), 0.5 * np.linalg.norm(wanted[3:]), 0.1)
    before = cell.model.tool(start)[0]
    push(cell, [(wanted, 1.0, 3)], (10 * MILLISECOND if ticks else None, [ADVANCE]))
    moved, asked = cell.last_position(before), wanted[:3] * 5.0 * 0.3
    inward = -side * (cell.last[joint] - start[joint])
    assert inward >= np.radians(1.0) * 0.3 or moved @ asked >= 0.5 * asked @ asked > 0.0, (
        inward,
        moved,
        asked,
    )


@pytest.mark.parametrize("name", ["scara", "gantry", "random 10", "random 15", "random 21", "fr3", "ur5e"])
@examples(5)
@given(plan=pushes, pace=paces(), index=st.integers(0, 11))
def test_invariant_20_bodies_keep_their_distance(name, plan, pace, index):
    found = starts(name, 40 if name in ROBOTS else 12)
    cell = Cell(name, found[index % len(found)], thorough=False)
    cell.begin()
    push(cell, plan, pace)
    cell.e_stop()
    cell.go_on(100 * MILLISECOND)
    assert cell.worst.get("20 distance", 0.0) >= 0.0


@pytest.mark.parametrize("name", ["scara", "gantry"])
@examples(10)
@given(seed=st.integers(0, 2**32 - 1), ticks=st.booleans())
def test_invariant_20_retreat_from_an_obstacle_always_passes(name, seed, ticks):
    random, reference = np.random.default_rng(seed), model(name)
    low, high = reference.lower + 0.06, reference.upper - 0.06
    for _ in range(500):
        start = random.uniform(low, high)
        distances = reference.distances(start)
        near = [
            row for row in np.flatnonzero(distances < 0.019) if "obstacle" in str(reference.bodies.pairs[row])
        ]
        cell = Cell(name, start)
        if len(near) == 1 == np.sum(distances < 0.03) and np.all(cell.oracle.beyond(start) < -0.02):
            break
    else:
        assume(False)
    row = near[0]
    slopes = [
        (reference.distances(start + change)[row] - reference.distances(start - change)[row]) / 2e-4
        for change in np.eye(len(start)) * 1e-4
    ]
    away = reference.jacobian(start) @ np.array(slopes)
    assume(np.linalg.norm(slopes) > 0.1 and np.linalg.norm(away[:3]) > 0.05)
    cell.begin()
    push(
        cell,
        [(away / np.linalg.norm(away[:3]), 0.01, 6)],
        (10 * MILLISECOND if ticks else None, [100 * MILLISECOND]),
    )
    assert reference.distances(cell.last)[row] > distances[row] + 1e-3
    assert np.max(np.abs(cell.last - start)) > np.radians(1.0) * 0.5 or cell.worst["20 distance"] >= 0.0


@pytest.mark.parametrize("clearance", [0.02, 0.065])
def test_invariant_20_bodies_that_are_never_as_far_apart_as_is_asked_for_do_not_touch(clearance):
    reference, random = model("fr3"), np.random.default_rng(1)
    row = reference.bodies.pairs.index(("fr3_hand", "fr3_link5"))  # 0.062 m apart at the most
    oracle, start = Oracle(reference, FilterOptions()), reference.lower
    while not (0.022 < reference.distances(start)[row] < 0.03 and oracle.is_inside(start)):
        start = random.uniform(reference.lower + 0.1, reference.upper - 0.1)
    cell = Cell("fr3", start, FilterOptions(min_clearance=clearance), thorough=False)
    cell.begin()
    for _ in range(60):
        slopes = [
            reference.distances(cell.last + change)[row] - reference.distances(cell.last - change)[row]
            for change in np.eye(7) * 1e-4
        ]
        way = -reference.jacobian(cell.last) @ np.array(slopes)
        push(cell, [(way / np.linalg.norm(way), 0.05, 1)])
        assert reference.distances(cell.last)[row] >= 0.02 - 1e-5


@pytest.mark.parametrize("name", [*SHAPES, "random"])
@examples(7)
@given(data=st.data(), plan=pushes, pace=paces(), frame=frames)
def test_invariants_01_to_09_hold_on_arms_of_other_shapes(name, data, plan, pace, frame):
    other: Arm = arm(f"random {data.draw(st.integers(0, 99))}" if name == "random" else name)
    found = starts(other.name, 8)
    start = found[data.draw(st.integers(0, 7)) % len(found)] if found else None
    assume(start is not None or other.robot.home is not None)
    cell = Cell(other, start, FilterOptions(action_frame=frame), thorough=False)
    cell.begin()
    push(cell, plan, pace)
    cell.e_stop()
    cell.go_on(100 * MILLISECOND)
