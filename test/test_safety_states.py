"""Invariants of the inputs and of time: what is believed, what stops the robot, what starts it again."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safety_cell import MILLISECOND, ROBOTS, SECOND, Cell

from octo_ros.safety.decision import FilterState, Status, ToolDelta
from octo_ros.safety.filter import SafetyFilter
from octo_ros.safety.options import FilterOptions

pytestmark = pytest.mark.parametrize("name", ROBOTS)

MOTION = (0.02, -0.01, 0.01)


def examples(count: int) -> settings:
    """As many examples, the same each time."""
    return settings(derandomize=True, deadline=None, max_examples=count)


numbers = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(-0.1, 0.1),
    st.sampled_from([0.0, 1e30, -1e30, 1e308, -1.7e308, 5e-324, math.nan, math.inf, -math.inf]),
)
bad_numbers = st.sampled_from([math.nan, math.inf, -math.inf])
vectors = st.lists(numbers, min_size=3, max_size=3).map(np.array)
misshapen = st.one_of(
    st.none(),
    st.just("abc"),
    st.just([[1.0, 2.0, 3.0]]),
    st.just([1.0, "x", 2.0]),
    st.just([10**400, 0, 0]),
    st.just(1j),
    st.just({}),
    st.lists(numbers, max_size=8).filter(lambda values: len(values) != 3),
)
spoilt = vectors.flatmap(
    lambda vector: st.tuples(st.integers(0, 2), bad_numbers).map(
        lambda change: np.array([change[1] if axis == change[0] else vector[axis] for axis in range(3)])
    )
)
bad_vectors = st.one_of(misshapen, spoilt)
good_vectors = st.lists(st.floats(-0.1, 0.1), min_size=3, max_size=3).map(np.array)
bad_grippers = st.one_of(bad_numbers, st.none(), st.just("open"), st.just([0.5]), st.just(10**400))
bad_stamps = st.sampled_from([None, -1, 2**63, 10**400, 1.5, math.nan, True, "now"])


@st.composite
def malformed_actions(draw) -> tuple:
    """Parts of an action of which at least one cannot be used; a stamp of 0 stands for a fresh one."""
    parts = [draw(good_vectors), draw(good_vectors), draw(st.floats(0, 1)), 0]
    spoil = [bad_vectors, bad_vectors, bad_grippers, bad_stamps]
    for index in draw(st.sets(st.integers(0, 3), min_size=1)):
        parts[index] = draw(spoil[index])
    return tuple(parts)


def malformed(cell: Cell, parts: tuple) -> ToolDelta:
    translation, rotation, gripper, stamp = parts
    return ToolDelta(
        cell.now_ns if stamp == 0 and stamp is not False else stamp, translation, rotation, gripper
    )


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


def test_active_filter_is_not_reset(name):
    cell = Cell(name)
    cell.begin()
    done, why = cell.filter.reset(cell.now_ns)
    assert (done, cell.filter.state) == (False, FilterState.ACTIVE)
    assert "active" in why
