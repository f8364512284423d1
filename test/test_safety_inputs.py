"""Invariants of the inputs: what is believed, and that nothing else moves the robot."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safety_cell import MILLISECOND, ROBOTS, SECOND, Cell
from safety_inputs import MOTION, examples, malformed, malformed_actions, misshapen, numbers, vectors

from octo_ros.safety.decision import FilterState, Status
from octo_ros.safety.filter import SafetyFilter

pytestmark = pytest.mark.parametrize("name", ROBOTS)


operations = st.one_of(
    st.tuples(st.just("act"), vectors, vectors, numbers),
    st.tuples(st.just("malformed"), malformed_actions()),
    st.tuples(st.just("object"), st.sampled_from([None, 3, "action", [1, 2, 3], float("nan")])),
    st.tuples(st.just("joints"), st.one_of(misshapen, st.lists(numbers, min_size=8, max_size=9))),
    st.tuples(st.just("wait"), st.integers(0, 400 * MILLISECOND)),
    st.tuples(st.just("blind"), st.integers(0, 400 * MILLISECOND)),
    st.tuples(st.just("time"), st.sampled_from([None, -5, 1.5, math.nan, 2**70, "noon"])),
    st.tuples(st.just("jump"), st.integers(1, 100 * SECOND)),
    st.sampled_from([("watch",), ("e_stop",), ("release",), ("reset",)]),
)


@examples(60)
@given(plan=st.lists(operations, min_size=1, max_size=40))
def test_invariant_1_any_input_gives_finite_commands_inside_the_limits(name, plan):
    cell = Cell(name)
    cell.begin()
    for kind, *values in plan:
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
        elif kind == "time":
            cell.check(cell.filter.step(cell.delta(MOTION), values[0]))
            cell.filter.watch(values[0])
            cell.filter.observe_joints(cell.robot.joint_names, cell.measured, cell.now_ns, values[0])
        elif kind == "jump":
            cell.now_ns -= values[0]
            cell.observe()
        elif kind == "watch":
            cell.watch()
        elif kind == "e_stop":
            cell.check(cell.filter.e_stop(cell.now_ns))
        elif kind == "release":
            cell.filter.release_e_stop()
        elif cell.filter.reset(cell.now_ns)[0]:
            cell.restart()


@examples(60)
@given(parts=malformed_actions())
def test_invariant_2_malformed_action_moves_nothing_and_does_not_feed_the_watchdog(name, parts):
    cell = Cell(name)
    cell.begin()
    cell.act(MOTION, gripper=0.25)
    before = cell.measured.copy()
    for waited in range(4):
        cell.wait(100 * MILLISECOND)
        decision = cell.step(malformed(cell, parts))
        assert np.array_equal(decision.joint_positions, before)
        assert decision.gripper == 0.25
        assert decision.refusals
        expected = Status.INVALID if waited < 3 else Status.STOPPED  # 0.4 s without an accepted one
        assert decision.status is expected
    assert cell.filter.state is FilterState.STOPPED


def test_malformed_first_action_starts_nothing(name):
    cell = Cell(name)
    decision = cell.step(cell.delta((0.0, math.nan, 0.0)))
    assert (decision.status, decision.state, decision.is_command) == (
        Status.INVALID,
        FilterState.READY,
        False,
    )
    assert [str(refusal) for refusal in decision.refusals] == [
        "action translation, finite numbers: 2, bound 3"
    ]


def test_before_any_joint_state_nothing_is_commanded(name):
    cell = Cell(name)
    cell.filter = SafetyFilter(cell.robot)
    assert cell.watch() is None
    decision = cell.step(cell.delta(MOTION))
    assert (decision.status, decision.is_command) == (Status.INVALID, False)
    assert decision.joint_positions.shape == (0,)
    assert [refusal.limit for refusal in decision.refusals] == ["joint states seen"]
    stopped = cell.filter.e_stop(cell.now_ns)
    assert (stopped.status, stopped.is_command) == (Status.ESTOP, False)
    assert not cell.watch().is_command
    cell.filter.release_e_stop()
    assert cell.filter.reset(cell.now_ns)[0] is False


@examples(40)
@given(age_ms=st.integers(-2000, 2000), repeat=st.booleans())
def test_invariant_13_stamp_that_is_old_ahead_or_not_newer_is_rejected(name, age_ms, repeat):
    cell = Cell(name)
    cell.begin()
    stamp_ns = cell.now_ns
    before = cell.measured.copy()
    cell.wait(100 * MILLISECOND)
    age_ns = cell.now_ns - stamp_ns if repeat else age_ms * MILLISECOND
    decision = cell.step(cell.delta(MOTION, age_ns=age_ns))
    acceptable = -50 * MILLISECOND <= age_ns <= 200 * MILLISECOND and cell.now_ns - age_ns > stamp_ns
    assert (decision.status is Status.INVALID) == (not acceptable)
    assert np.array_equal(decision.joint_positions, before) == (not acceptable)
    if acceptable:
        return
    for _ in range(2):
        cell.wait(150 * MILLISECOND)
        cell.step(cell.delta(MOTION, age_ns=10 * SECOND))
    assert cell.filter.state is FilterState.STOPPED  # the watchdog was not fed


@pytest.mark.parametrize("age_ms", [101, -51, 0])
def test_joint_state_that_is_old_ahead_or_not_newer_is_rejected(name, age_ms):
    cell = Cell(name)
    if age_ms:
        cell.now_ns += SECOND
    names, positions = cell.robot.joint_names, cell.measured
    refusal = cell.filter.observe_joints(names, positions, cell.now_ns - age_ms * MILLISECOND, cell.now_ns)
    assert "joint state" in refusal.limit


def test_joint_state_is_taken_by_name_and_only_whole(name):
    cell = Cell(name)
    names, positions = list(cell.robot.joint_names), list(cell.measured)
    for bad_names, bad_positions in (
        (names[1:], positions[1:]),
        (names, positions[1:]),
        (names + names[:1], positions + positions[:1]),
        (names, [math.nan, *positions[1:]]),
        (names, [100.0, *positions[1:]]),
        (names, None),
        (None, positions),
    ):
        cell.now_ns += MILLISECOND
        refusal = cell.filter.observe_joints(bad_names, bad_positions, cell.now_ns, cell.now_ns)
        assert np.isfinite([refusal.value, refusal.bound]).all()
    cell.now_ns += MILLISECOND
    mixed = [*names[::-1], "finger"]
    assert cell.filter.observe_joints(mixed, [*positions[::-1], math.nan], cell.now_ns, cell.now_ns) is None
    decision = cell.step(cell.delta())
    assert decision.joint_positions == pytest.approx(np.array(positions), abs=1e-12)


@examples(30)
@given(asked=st.floats(-1e30, 1e30))
def test_invariant_23_gripper_stays_in_range_and_a_stop_keeps_it(name, asked):
    cell = Cell(name)
    cell.begin()
    decision = cell.act(gripper=asked)
    assert decision.gripper == min(max(asked, 0.0), 1.0)
    assert (decision.status is Status.LIMITED) == (not 0.0 <= asked <= 1.0)
    cell.wait(400 * MILLISECOND)
    assert cell.watch().gripper == decision.gripper
