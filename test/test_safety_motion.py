"""Claims about single motions, each at fixed numbers; the invariants are in test_safety_invariants_*."""

from __future__ import annotations

import numpy as np
import pytest
from safety_cell import MILLISECOND, ROBOTS, SECOND, Cell, model, starts

from octo_ros.safety.decision import Status
from octo_ros.safety.options import FilterOptions

pytestmark = pytest.mark.parametrize("name", ROBOTS)


@pytest.mark.parametrize("slides", [True, False])
@pytest.mark.parametrize("corner", range(8))
def test_every_corner_can_be_left(name, corner, slides):
    cell = Cell(name, options=FilterOptions(slide_along_walls=slides), thorough=False)
    cell.begin()
    signs = np.array([1.0 if corner >> axis & 1 else -1.0 for axis in range(3)])
    for _ in range(60):
        cell.act(signs * 0.05)
    cell.act(signs * 1e30)
    before = cell.measured.copy()
    for _ in range(20):
        cell.act(-signs * 0.02)
    back = (cell.model.tool(cell.measured)[0] - cell.model.tool(before)[0]) * -signs
    assert np.all(back > 0.06)  # of 0.2 m that were asked for; a stretched arm has to unfold first


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("side", [-1, 1])
def test_from_outside_the_box_half_of_the_way_in_is_made_in_a_step(name, axis, side):
    position = model(name).tool(starts(name)[0])[0]
    corner = (model(name).minimum if side < 0 else model(name).maximum).copy()
    corner[axis] = position[axis] - side * 0.05
    cell = Cell(
        name, options=FilterOptions(**{"workspace_min" if side < 0 else "workspace_max": tuple(corner)})
    )
    assert [refusal.limit for refusal in cell.begin().refusals] == [
        f"workspace {'xyz'[axis]} in {cell.robot.workspace.frame}"
    ]
    inwards = np.zeros(3)
    inwards[axis] = -side * 0.01
    held = cell.act(-inwards)
    moved = cell.act(inwards)
    assert (moved.tool_position - held.tool_position) @ inwards == pytest.approx(0.005 * 0.01, rel=0.1)


def test_same_inputs_give_the_same_bits(name):
    def run() -> np.ndarray:
        random, cell = np.random.default_rng(11), Cell(name, thorough=False)
        cell.begin()
        cell.go_on(100 * MILLISECOND)
        joints = []
        for _ in range(15):
            cell.drive(*random.normal(scale=0.05, size=(2, 3)))
            joints.append(cell.last.copy())
        return np.array(joints)

    assert run().tobytes() == run().tobytes()


@pytest.mark.parametrize("ticks", [False, True])
def test_target_reference_does_not_wind_up_behind_a_wall(name, ticks):
    cell = Cell(name, thorough=False)
    cell.begin()

    def act(down: float) -> None:
        if ticks:
            cell.drive((0.0, 0.0, down))
        else:
            cell.act((0.0, 0.0, down))

    for _ in range(50):
        act(-0.05)
    height = cell.model.tool(cell.measured)[0][2]
    act(0.02)
    assert cell.model.tool(cell.measured)[0][2] - height == pytest.approx(0.01, rel=0.3 if ticks else 0.05)


def test_speed_does_not_depend_on_how_often_actions_come(name):
    ends = []
    for wait_ns in (50 * MILLISECOND, 100 * MILLISECOND, 200 * MILLISECOND):
        cell = Cell(name, thorough=False)
        cell.begin()
        for _ in range(SECOND // wait_ns):
            cell.act((0.01, 0.0, 0.01), (0.0, 0.0, 0.02), wait_ns=wait_ns)
        ends.append(cell.model.tool(cell.measured)[0] - cell.model.tool(cell.robot.home)[0])
    for end in ends:
        assert end == pytest.approx([0.05, 0.0, 0.05], abs=1e-5)  # 5 deltas in a second, as recorded


@pytest.mark.parametrize("tick_ns", [2 * MILLISECOND, 10 * MILLISECOND, 33_333_333])
def test_ticks_follow_the_action_and_come_to_rest_on_the_target(name, tick_ns):
    cell = Cell(name, options=FilterOptions(action_timeout_s=2.0), thorough=False)
    cell.begin()
    before = cell.model.tool(cell.measured)[0]
    cell.go_on(100 * MILLISECOND, tick_ns)
    for _ in range(10):
        cell.drive((0.01, 0.0, 0.01), tick_ns=tick_ns)
    assert cell.oracle.velocity.any()
    assert cell.filter.target.position - before == pytest.approx([0.05, 0.0, 0.05], abs=6e-3)
    cell.go_on(SECOND, tick_ns)
    assert not cell.oracle.velocity.any()
    way = cell.filter.target.position - before  # the last velocity holds for a period of the data set
    assert way == pytest.approx([0.055, 0.0, 0.055], abs=1e-3)
    assert cell.last_position(before) == pytest.approx(way, abs=1e-6)
    assert cell.filter.asked.position == pytest.approx(cell.filter.target.position, abs=1e-3)


def test_jerk_is_bounded_while_nothing_limits_the_motion(name):
    cell = Cell(name, options=FilterOptions(max_joint_jerk=200.0), thorough=False)
    cell.begin()
    cell.go_on(100 * MILLISECOND)
    for _ in range(3):
        for direction in (1.0, -1.0):
            for _ in range(5):
                decision = cell.drive((0.01 * direction, 0.005, 0.0), (0.0, 0.02, 0.03 * direction))
                assert decision.status is Status.OK
    assert 100.0 < cell.oracle.largest_jerk <= 200.0 * (1.0 + 1e-5)


def test_an_action_beside_a_wall_slides_along_it_or_stops_as_the_option_says(name):
    ways = {}
    for slides in (True, False):
        cell = Cell(name, options=FilterOptions(slide_along_walls=slides), thorough=False)
        cell.begin()
        for _ in range(30):
            cell.act((0.0, 0.0, -0.05))
        before = cell.model.tool(cell.last)[0]
        for _ in range(5):
            cell.act((0.0, 0.02, -0.02))
        ways[slides] = cell.last_position(before)
    assert ways[True][1] > 0.04  # of 0.05 m that were asked for
    assert abs(ways[False][1]) < 0.005
    for way in ways.values():
        assert abs(way[2]) < 0.002


@pytest.mark.parametrize("tick_ns", [10 * MILLISECOND, 20 * MILLISECOND])
def test_an_arm_that_is_stuck_comes_to_rest(name, tick_ns):
    """It may go around what is in its way, but not to and fro."""
    cell = Cell(name, starts(name)[16], thorough=False)
    cell.begin()
    way, ways = np.array([0.094, 0.0, 0.112, 0.0, -0.185, 0.0]), []
    for _ in range(450):
        cell.drive(way[:3], way[3:], tick_ns=tick_ns)
        ways.append(cell.measured.copy())
    assert np.ptp(ways[-20:], axis=0).max() < 1e-3
