"""Invariants of time and state: what stops the robot, and what starts it again."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safety_cell import MILLISECOND, ROBOTS, SECOND, Cell
from safety_inputs import MOTION, examples, good_vectors, malformed, malformed_actions

from octo_ros.safety.decision import FilterState, Status, ToolDelta
from octo_ros.safety.options import FilterOptions

pytestmark = pytest.mark.parametrize("name", ROBOTS)


offsets = st.lists(st.floats(-0.15, 0.15), min_size=7, max_size=7)


@examples(25)
@given(offset=offsets, way=st.sampled_from(["start", "silence", "e_stop"]))
def test_invariant_11_first_output_is_the_measured_joints(name, offset, way):
    cell = Cell(name)
    if way != "start":
        cell.begin()
        for _ in range(5):
            cell.act(MOTION)
        if way == "silence":
            cell.wait(400 * MILLISECOND)
            assert cell.watch().status is Status.STOPPED
        else:
            cell.filter.e_stop(cell.now_ns)
            cell.filter.release_e_stop()
        cell.measured = cell.robot.home + np.array(offset)[: len(cell.measured)]  # moved by hand meanwhile
        cell.wait(10 * MILLISECOND)
        assert cell.filter.reset(cell.now_ns)[0]
        cell.restart()
    measured = cell.measured.copy()
    decision = cell.act((0.05, 0.05, 0.05), (0.1, 0.1, 0.1))
    assert decision.state is FilterState.ACTIVE
    assert decision.is_command
    assert np.max(np.abs(decision.joint_positions - measured)) <= 1e-12
    assert decision.dt == 0.0
    assert not decision.tool_twist.any()


@examples(25)
@given(
    period_ms=st.integers(5, 100),
    timeout_ms=st.integers(60, 900),
    steps=st.integers(0, 5),
    later=st.lists(st.integers(1, 300), max_size=20),
)
def test_invariant_12_silence_stops_within_one_period_and_for_good(name, period_ms, timeout_ms, steps, later):
    options = FilterOptions(action_timeout_s=timeout_ms / 1000)
    cell = Cell(name, options=options)
    cell.begin()
    for _ in range(steps):
        cell.act(MOTION, wait_ns=50 * MILLISECOND)
    fed_ns, held = cell.now_ns, cell.measured.copy()
    while True:
        cell.wait(period_ms * MILLISECOND)
        decision = cell.watch()
        silence_ms = (cell.now_ns - fed_ns) // MILLISECOND
        if decision is not None:
            break
        assert silence_ms <= timeout_ms
    assert timeout_ms < silence_ms <= timeout_ms + period_ms
    assert decision.status is Status.STOPPED
    assert decision.refusals[0].limit == "time since the last accepted action"
    assert (decision.refusals[0].value, decision.refusals[0].bound) == (silence_ms / 1000, timeout_ms / 1000)
    for wait_ms in later:
        cell.wait(wait_ms * MILLISECOND)
        for again in (cell.step(cell.delta(MOTION)), cell.watch()):
            assert again.status is Status.STOPPED
            assert np.array_equal(again.joint_positions, held)
            assert not again.tool_twist.any()


def test_invariant_12_a_late_action_does_not_outrun_the_watchdog(name):
    cell = Cell(name)
    cell.begin()
    decision = cell.act(MOTION, wait_ns=301 * MILLISECOND)
    assert decision.status is Status.STOPPED


@examples(25)
@given(silent_ms=st.integers(1, 250), by_step=st.booleans())
def test_invariant_14_stale_joint_states_stop(name, silent_ms, by_step):
    cell = Cell(name)
    cell.begin()
    cell.act(MOTION)
    held = cell.measured.copy()
    cell.now_ns += silent_ms * MILLISECOND
    decision = cell.step(cell.delta(MOTION)) if by_step else cell.watch()
    if silent_ms <= 100:
        assert cell.filter.state is FilterState.ACTIVE
        return
    assert decision.status is Status.STOPPED
    assert decision.refusals[0].limit == "joint state age"
    assert np.array_equal(decision.joint_positions, held)


def test_robot_that_does_not_follow_is_stopped(name):
    cell = Cell(name)
    cell.begin()
    for _ in range(200):
        decision = cell.act((0.0, 0.04, 0.0), (0.0, 0.0, 0.1))
        cell.measured = np.array(cell.robot.home)  # it never moves
        if decision.status is Status.STOPPED:
            break
    assert decision.status is Status.STOPPED
    assert decision.refusals[0].limit.startswith("tracking error ")
    assert 0.2 < decision.refusals[0].value < 0.4


inputs = st.one_of(
    st.tuples(st.just("act"), good_vectors, good_vectors),
    st.tuples(st.just("malformed"), malformed_actions()),
    st.sampled_from([("e_stop",), ("release",), ("watch",), ("reset pressed",), ("stale reset",)]),
    st.tuples(st.just("wait"), st.integers(0, 300 * MILLISECOND)),
)


@examples(6)
@given(plan=st.lists(inputs, min_size=20, max_size=50))
def test_invariant_15_after_an_e_stop_1000_inputs_only_hold(name, plan):
    cell = Cell(name)
    cell.begin()
    for _ in range(3):
        cell.act(MOTION)
    held = cell.measured.copy()
    decisions = [cell.filter.e_stop(cell.now_ns)]
    for count in range(1000):
        kind, *values = plan[count % len(plan)]
        cell.now_ns += MILLISECOND
        if kind == "act":
            cell.observe()
            decisions.append(cell.filter.step(cell.delta(*values), cell.now_ns))
        elif kind == "malformed":
            decisions.append(cell.filter.step(malformed(cell, values[0]), cell.now_ns))
        elif kind == "e_stop":
            decisions.append(cell.filter.e_stop(cell.now_ns))
        elif kind == "release":
            cell.filter.release_e_stop()
        elif kind == "watch":
            decisions.append(cell.filter.watch(cell.now_ns))
        elif kind == "wait":
            cell.wait(values[0])
        elif kind == "reset pressed":
            cell.filter.e_stop(cell.now_ns)
            cell.observe()
            assert not cell.filter.reset(cell.now_ns)[0]
        else:
            cell.filter.release_e_stop()
            cell.now_ns += 200 * MILLISECOND
            assert not cell.filter.reset(cell.now_ns)[0]
    for decision in decisions:
        assert (decision.status, decision.state) == (Status.ESTOP, FilterState.ESTOP)
        assert np.array_equal(decision.joint_positions, held)
        assert not decision.joint_velocities.any()
        assert not decision.tool_twist.any()
    cell.filter.release_e_stop()
    cell.wait(10 * MILLISECOND)
    assert cell.filter.reset(cell.now_ns)[0]
    cell.restart()
    cell.begin()
    assert cell.act(MOTION).joint_velocities.any()


def test_e_stop_before_any_command_holds_nothing_and_says_so(name):
    cell = Cell(name)
    decision = cell.filter.e_stop(cell.now_ns)
    assert (decision.status, decision.is_command) == (Status.ESTOP, False)
    frozen = decision.joint_positions
    cell.measured = cell.measured + 0.01
    cell.wait(50 * MILLISECOND)
    assert np.array_equal(cell.watch().joint_positions, frozen)


@examples(30)
@given(wait_ns=st.one_of(st.integers(-SECOND, 0), st.integers(501 * MILLISECOND, 2 * SECOND)))
def test_invariant_16_time_that_stands_jumps_back_or_is_too_long_moves_nothing(name, wait_ns):
    cell = Cell(name, options=FilterOptions(action_timeout_s=9.0))
    cell.begin()
    before = cell.measured.copy()
    cell.wait(wait_ns)
    decision = cell.step(ToolDelta(cell.now_ns + 1, np.array(MOTION), np.zeros(3), 0.5))
    assert decision.status in (Status.INVALID, Status.STOPPED)
    assert (decision.status is Status.STOPPED) == (wait_ns < 0)
    assert np.array_equal(decision.joint_positions, before)
    assert decision.dt == 0.0


@pytest.mark.parametrize("now_ns", [None, math.nan, 0.5, -1, 2**63, "noon", True])
def test_invariant_16_a_clock_that_gives_no_time_stops(name, now_ns):
    for call in ("step", "watch", "observe"):
        cell = Cell(name)
        cell.begin()
        before = cell.measured.copy()
        if call == "step":
            cell.filter.step(cell.delta(MOTION), now_ns)
        elif call == "watch":
            cell.filter.watch(now_ns)
        else:
            names = cell.robot.joint_names
            assert cell.filter.observe_joints(names, before, cell.now_ns, now_ns) is not None
        cell.wait(50 * MILLISECOND)
        decision = cell.step(cell.delta(MOTION))
        assert decision.status is Status.STOPPED
        assert np.array_equal(decision.joint_positions, before)
        assert decision.refusals[0].limit == "clock, usable times"


def test_after_a_clock_jump_the_filter_resets_on_the_new_clock(name):
    cell = Cell(name)
    cell.begin()
    cell.act(MOTION)
    cell.now_ns -= 500 * SECOND
    assert cell.watch().refusals[0].limit == "clock jumped back by"
    assert not cell.filter.reset(cell.now_ns)[0]  # no joint state on this clock yet
    cell.wait(10 * MILLISECOND)
    assert cell.filter.reset(cell.now_ns)[0]
    cell.restart()
    cell.begin()
    assert cell.act(MOTION).status is Status.OK


def test_active_filter_is_not_reset(name):
    cell = Cell(name)
    cell.begin()
    done, why = cell.filter.reset(cell.now_ns)
    assert (done, cell.filter.state) == (False, FilterState.ACTIVE)
    assert "active" in why
