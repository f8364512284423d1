"""Invariants 11, 12 and 15: what stops the robot, and what starts it again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safety_cell import MILLISECOND, ROBOTS, SECOND, Cell
from safety_inputs import MOTION, examples, good_vectors, malformed, malformed_actions

from octo_ros.safety.decision import FilterState, Status
from octo_ros.safety.options import FilterOptions

pytestmark = pytest.mark.parametrize("name", ROBOTS)

offsets = st.lists(st.floats(-0.15, 0.15), min_size=7, max_size=7)
inputs = st.one_of(
    st.tuples(st.just("act"), good_vectors, good_vectors),
    st.tuples(st.just("malformed"), malformed_actions()),
    st.sampled_from([("e_stop",), ("release",), ("tick",), ("fault",), ("reset pressed",), ("stale reset",)]),
    st.tuples(st.just("wait"), st.integers(0, 300 * MILLISECOND)),
)


@examples(20)
@given(
    offset=offsets, way=st.sampled_from(["start", "silence", "e_stop", "fault", "clock"]), ticks=st.booleans()
)
def test_invariant_11_first_output_is_the_measured_joints(name, offset, way, ticks):
    cell = Cell(name)
    if way != "start":
        cell.begin()
        for _ in range(5):
            cell.go_on(100 * MILLISECOND, 10 * MILLISECOND if ticks else SECOND)
            cell.step(cell.delta(MOTION))
        if way == "silence":
            cell.wait(400 * MILLISECOND)
            assert cell.tick().status is Status.STOPPED
        elif way == "e_stop":
            cell.e_stop()
            cell.filter.release_e_stop()
        elif way == "fault":
            cell.fault()
        else:
            cell.wait(-SECOND)
            cell.tick()
        cell.measured = cell.robot.home + np.array(offset)[: len(cell.measured)]  # moved by hand meanwhile
        cell.wait(10 * MILLISECOND)
        assert cell.reset()
        assert cell.filter.commanded is None
        assert cell.tick() is None
    measured = cell.measured.copy()
    decision = cell.act((0.05, 0.05, 0.05), (0.1, 0.1, 0.1))
    assert decision.state.moves
    assert decision.is_command
    assert np.max(np.abs(decision.joint_positions - measured)) <= 1e-12
    assert decision.dt == 0.0
    assert not decision.tool_twist.any()
    for _ in range(5):  # from there on it moves, and no old target pulls
        cell.act((0.0, 0.0, 0.0))
    assert np.max(np.abs(cell.last - measured)) <= 1e-6


@examples(20)
@given(
    period_ms=st.integers(5, 100),
    timeout_ms=st.integers(60, 900),
    steps=st.integers(0, 5),
    later=st.lists(st.integers(1, 300), max_size=20),
)
def test_invariant_12_silence_stops_within_one_period_and_for_good(name, period_ms, timeout_ms, steps, later):
    cell = Cell(name, options=FilterOptions(action_timeout_s=timeout_ms / 1000), thorough=False)
    cell.begin()
    for _ in range(steps):
        cell.act(MOTION, wait_ns=50 * MILLISECOND)
    fed_ns = cell.now_ns
    while True:
        cell.wait(period_ms * MILLISECOND)
        decision = cell.tick()
        silence_ms = (cell.now_ns - fed_ns) // MILLISECOND
        if not decision.state.moves:
            break
        assert silence_ms <= timeout_ms
    assert timeout_ms < silence_ms <= timeout_ms + period_ms
    assert decision.status is Status.STOPPED
    assert decision.refusals[0].limit == "time since the last accepted action"
    assert (decision.refusals[0].value, decision.refusals[0].bound) == (silence_ms / 1000, timeout_ms / 1000)
    braked_s, rested = 0.0, False
    for wait_ms in later:
        cell.wait(wait_ms * MILLISECOND)
        held = cell.last
        for again in (cell.step(cell.delta(MOTION)), cell.tick()):
            assert again.status is Status.STOPPED
            assert not rested or np.array_equal(again.joint_positions, held)
            braked_s += again.dt
        rested = not cell.oracle.velocity.any()
    assert braked_s <= 0.3


def test_invariant_12_a_late_action_does_not_outrun_the_watchdog(name):
    cell = Cell(name)
    cell.begin()
    assert cell.act(MOTION, wait_ns=301 * MILLISECOND).status is Status.STOPPED


def test_invariant_12_silence_ends_a_hold_as_well(name):
    cell = Cell(name)
    cell.begin()
    states = []
    for _ in range(40):
        cell.now_ns += 10 * MILLISECOND  # neither actions nor joint states
        states.append(cell.tick().state)
    assert states[8:12] == [FilterState.ACTIVE] * 2 + [FilterState.HOLD] * 2
    assert states[-1] is FilterState.STOPPED
    assert states.index(FilterState.STOPPED) == 30
    assert {"joint state age", "time since the last accepted action"} == {
        refusal.limit for refusal in cell.filter.reasons
    }


@examples(4)
@given(plan=st.lists(inputs, min_size=20, max_size=50), ticks=st.booleans())
def test_invariant_15_after_an_e_stop_1000_inputs_only_hold(name, plan, ticks):
    cell = Cell(name, thorough=False)
    cell.begin()
    for _ in range(3):
        cell.go_on(100 * MILLISECOND, 10 * MILLISECOND if ticks else SECOND)
        cell.step(cell.delta(MOTION))
    cell.e_stop()
    braked_s = 0.0
    for count in range(1000):
        kind, *values = plan[count % len(plan)]
        cell.now_ns += MILLISECOND
        decision = None
        if kind == "act":
            cell.observe()
            decision = cell.step(cell.delta(*values))
        elif kind == "malformed":
            decision = cell.step(malformed(cell, values[0]))
        elif kind == "e_stop":
            decision = cell.e_stop()
        elif kind == "fault":
            decision = cell.fault()
        elif kind == "release":
            cell.filter.release_e_stop()
        elif kind == "tick":
            decision = cell.tick()
        elif kind == "wait":
            cell.wait(values[0])
        elif kind == "reset pressed":
            decision = cell.e_stop()
            cell.observe()
            assert not cell.reset()
        else:
            cell.filter.release_e_stop()
            cell.now_ns += 200 * MILLISECOND
            assert not cell.reset()
        if decision is not None:  # the way to brake is checked by `Cell`
            assert (decision.status, decision.state) == (Status.ESTOP, FilterState.ESTOP)
            braked_s += decision.dt
    assert braked_s <= 1.0
    assert not cell.oracle.velocity.any()
    cell.filter.release_e_stop()
    cell.wait(10 * MILLISECOND)
    assert cell.reset()
    cell.begin()
    assert cell.act(MOTION).joint_velocities.any()


def test_invariant_15_e_stop_holds_even_where_nothing_was_commanded(name):
    cell = Cell(name)
    decision = cell.e_stop()
    assert (decision.status, decision.is_command) == (Status.ESTOP, False)
    frozen = decision.joint_positions
    cell.measured = cell.measured + 0.01
    cell.wait(50 * MILLISECOND)
    assert np.array_equal(cell.tick().joint_positions, frozen)
    assert np.array_equal(cell.step(cell.delta(MOTION)).joint_positions, frozen)
    assert not cell.reset()
    cell.filter.release_e_stop()
    assert cell.filter.state is FilterState.ESTOP
    assert cell.reset()


def test_e_stop_wins_over_every_other_stop(name):
    cell = Cell(name)
    cell.begin()
    cell.fault("another publisher")
    assert [str(refusal) for refusal in cell.filter.reasons] == ["another publisher: 1, bound 0"]
    cell.e_stop()
    assert cell.filter.state is FilterState.ESTOP
    cell.fault()
    assert cell.filter.state is FilterState.ESTOP
    cell.wait(SECOND)
    assert cell.tick().state is FilterState.ESTOP


def test_a_fault_before_any_command_latches_as_well(name):
    cell = Cell(name)
    assert cell.fault().status is Status.STOPPED
    assert not cell.tick().is_command
    assert cell.step(cell.delta(MOTION)).status is Status.STOPPED
    assert cell.reset()
    cell.begin()


@pytest.mark.parametrize("ticks", [False, True])
def test_robot_that_does_not_follow_is_stopped(name, ticks):
    cell = Cell(name, options=FilterOptions(frozen_joint_state_s=10.0))
    cell.begin()
    for _ in range(200):
        cell.go_on(100 * MILLISECOND, 10 * MILLISECOND if ticks else SECOND)
        decision = cell.step(cell.delta((0.0, 0.04, 0.0), (0.0, 0.0, 0.1)))
        cell.measured = np.array(cell.robot.home)  # it never moves
        if decision.status is Status.STOPPED:
            break
        cell.lag = 1.0
    assert decision.status is Status.STOPPED
    assert decision.refusals[0].limit.startswith("tracking error ")
    assert 0.2 < decision.refusals[0].value < 0.4


def test_after_a_clock_jump_the_filter_resets_on_the_new_clock(name):
    cell = Cell(name)
    cell.begin()
    cell.act(MOTION)
    cell.now_ns -= 500 * SECOND
    cell.oracle.jumped(cell.now_ns)
    assert cell.tick().refusals[0].limit == "clock jumped back by"
    assert not cell.reset()  # no joint state on this clock yet
    cell.wait(10 * MILLISECOND)
    assert cell.reset()
    cell.begin()
    assert cell.act(MOTION).status is Status.OK


@pytest.mark.parametrize("way", ["active", "limited"])
def test_filter_that_moves_is_not_reset(name, way):
    cell = Cell(name)
    cell.begin()
    cell.act(MOTION if way == "active" else (9.0, 0.0, 0.0))
    assert cell.filter.state.value == way
    done, why = cell.filter.reset(cell.now_ns)
    assert not done
    assert cell.filter.state.moves
    assert "active" in why
