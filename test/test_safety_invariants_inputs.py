"""Invariants 2, 13, 14, 16, 23 and 24: what is believed, and that nothing else moves the robot."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safety_arms import BROKEN, arm
from safety_cell import MILLISECOND, ROBOTS, SECOND, Cell
from safety_inputs import MOTION, examples, malformed, malformed_actions, moving

from octo_ros.errors import RobotModelError
from octo_ros.safety.decision import FilterState, Status, ToolDelta
from octo_ros.safety.options import FilterOptions
from octo_ros.safety.robot import Robot

on_each_arm = pytest.mark.parametrize("name", ROBOTS)


@on_each_arm
@examples(25)
@given(parts=malformed_actions())
def test_invariant_02_malformed_action_moves_nothing_and_does_not_feed_the_watchdog(name, parts):
    cell = Cell(name)
    cell.begin()
    cell.act(MOTION, gripper=0.25)
    before = cell.measured.copy()
    for waited in range(4):
        cell.wait(100 * MILLISECOND)
        decision = cell.step(malformed(cell, parts))
        assert np.array_equal(decision.joint_positions, before)
        assert decision.gripper == 0.25
        assert decision.gripper_goal is None
        assert decision.refusals
        expected = Status.INVALID if waited < 3 else Status.STOPPED  # 0.4 s without an accepted one
        assert decision.status is expected
    assert cell.filter.state is FilterState.STOPPED


@on_each_arm
@examples(4)
@given(parts=malformed_actions(), period_ms=st.integers(8, 20))
def test_invariant_02_malformed_actions_in_mid_motion_add_no_motion(name, parts, period_ms):
    """The motion under way ends as it would without them; the target stays where the last action put it."""
    ends = []
    for spoils in (True, False):
        cell = moving(name, ticks=True, action_timeout_s=0.3)
        asked = cell.filter.asked
        for _ in range(600 // period_ms):
            cell.wait(period_ms * MILLISECOND)
            if spoils:
                decision = cell.step(malformed(cell, parts))
                assert decision.status in (Status.INVALID, Status.STOPPED)
                assert not decision.is_command or decision.state is FilterState.STOPPED or not decision.dt
                assert cell.filter.asked is asked or cell.filter.state is FilterState.STOPPED
            cell.tick()
        assert cell.filter.state is FilterState.STOPPED
        assert not cell.oracle.velocity.any()
        ends.append(cell.last)
    way = np.abs(ends[0] - cell.robot.home) - np.abs(ends[1] - cell.robot.home)
    assert np.max(way) < 1e-6  # no further than without


@on_each_arm
@examples(30)
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


@on_each_arm
@examples(15)
@given(
    ages=st.lists(st.sampled_from([201, 500, 10_000, -51, -10_000]), min_size=5, max_size=8),
    repeat=st.booleans(),
)
def test_invariant_13_a_stream_of_wrong_stamps_lets_the_watchdog_bark(name, ages, repeat):
    cell = moving(name, ticks=True)
    fed_ns, stamp_ns = cell.now_ns, cell.now_ns
    for age_ms in ages:
        cell.go_on(60 * MILLISECOND)
        age_ns = cell.now_ns - stamp_ns if repeat else age_ms * MILLISECOND
        decision = cell.step(cell.delta(MOTION, age_ns=age_ns))
        if cell.now_ns - fed_ns > 300 * MILLISECOND:
            assert decision.state is FilterState.STOPPED
            return
        assert decision.status is Status.INVALID
    assert cell.now_ns - fed_ns <= 300 * MILLISECOND + 60 * MILLISECOND


@on_each_arm
@examples(20)
@given(silent_ms=st.integers(1, 280), by_step=st.booleans(), ticks=st.booleans())
def test_invariant_14_stale_joint_states_hold(name, silent_ms, by_step, ticks):
    cell = moving(name, ticks)
    cell.now_ns += silent_ms * MILLISECOND
    decision = cell.step(cell.delta(MOTION)) if by_step else cell.tick()
    if silent_ms <= 100:
        assert cell.filter.state.moves
        return
    assert (decision.status, decision.state) in (
        (Status.HOLD, FilterState.HOLD),
        (Status.INVALID, FilterState.HOLD),
    )
    assert decision.refusals[0].limit == "joint state age"
    for _ in range(12):  # an action and more ticks move nothing but the braking, which `Cell` checks
        cell.now_ns += MILLISECOND
        cell.step(cell.delta(MOTION))
        cell.tick()
    assert cell.filter.state is FilterState.HOLD


@on_each_arm
@examples(12)
@given(ticks=st.booleans(), size=st.sampled_from([0.3, 1.0, 3.0]), sideways=st.booleans())
def test_invariant_14_joint_states_frozen_in_motion_hold(name, ticks, size, sideways):
    """Bit-identical for 0.5 s under a commanded motion: within a period of that the arm holds."""
    cell = Cell(name, options=FilterOptions(max_tracking_error=3.0))
    cell.begin()
    frozen, waited_ns = cell.measured.copy(), 0
    direction = np.array(MOTION)[[1, 0, 2]] if sideways else np.array(MOTION)
    while cell.filter.state.moves:
        assert waited_ns <= 710 * MILLISECOND
        period_ns = 10 * MILLISECOND if ticks else 100 * MILLISECOND
        cell.measured = frozen.copy()
        cell.wait(period_ns)
        waited_ns += period_ns
        if waited_ns % (100 * MILLISECOND):
            cell.tick()
        else:
            cell.step(cell.delta(direction * size))
    assert cell.filter.state is FilterState.HOLD
    assert waited_ns >= 490 * MILLISECOND
    assert "unchanged" in cell.filter.reasons[0].limit


@on_each_arm
@examples(12)
@given(way=st.sampled_from(["stale", "frozen"]), moved=st.floats(-0.1, 0.1), ticks=st.booleans())
def test_invariant_14_and_11_after_a_hold_fresh_joints_and_an_action_resume_from_the_measured_joints(
    name, way, moved, ticks
):
    cell = moving(name, ticks, action_timeout_s=3.0, max_tracking_error=3.0)
    frozen = cell.measured.copy()
    for _ in range(60):
        cell.now_ns += 10 * MILLISECOND
        if way == "frozen":
            cell.measured = frozen.copy()
            cell.observe()
            if cell.now_ns // (10 * MILLISECOND) % 10 == 0:
                cell.step(cell.delta(MOTION))
        cell.tick()
    assert cell.filter.state is FilterState.HOLD
    assert not cell.oracle.velocity.any()
    cell.measured = cell.last + moved
    cell.wait(10 * MILLISECOND)
    assert cell.filter.state is FilterState.HOLD  # fresh joints alone move nothing
    cell.tick()
    assert cell.filter.state is FilterState.HOLD
    measured = cell.measured.copy()
    cell.wait(10 * MILLISECOND)
    decision = cell.step(cell.delta(MOTION))
    assert decision.state.moves
    assert decision.joint_positions == pytest.approx(measured, abs=1e-12)
    assert cell.act(MOTION).joint_velocities.any()


@on_each_arm
@examples(25)
@given(
    wait_ns=st.one_of(st.integers(-SECOND, 0), st.integers(501 * MILLISECOND, 2 * SECOND)),
    ticks=st.booleans(),
)
def test_invariant_16_time_that_stands_jumps_back_or_is_too_long_moves_nothing(name, wait_ns, ticks):
    cell = moving(name, ticks, action_timeout_s=9.0)
    before = cell.measured.copy()
    cell.wait(wait_ns)
    decision = cell.step(ToolDelta(cell.now_ns + 1, np.array(MOTION), np.zeros(3), 0.5))
    assert decision.status in (Status.INVALID, Status.STOPPED) or wait_ns == 0
    assert (decision.status is Status.STOPPED) == (wait_ns < 0)
    assert np.array_equal(decision.joint_positions, before)
    assert decision.dt == 0.0
    decision = cell.tick()
    assert np.array_equal(decision.joint_positions, before)
    assert decision.dt == 0.0


@on_each_arm
@pytest.mark.parametrize("ticks", [False, True])
@pytest.mark.parametrize("now_ns", [None, math.nan, 0.5, -1, 2**63, "noon", True])
def test_invariant_16_a_clock_that_gives_no_time_stops(name, ticks, now_ns):
    for call in ("step", "tick", "observe", "e_stop"):
        cell = moving(name, ticks)
        before = cell.measured.copy()
        if call == "step":
            decision = cell.filter.step(cell.delta(MOTION), now_ns)
        elif call == "tick":
            decision = cell.filter.tick(now_ns)
        elif call == "e_stop":
            decision = cell.filter.e_stop(now_ns)
        else:
            decision = None
            names = cell.robot.joint_names
            assert cell.filter.observe_joints(names, before, cell.now_ns, now_ns) is not None
        if decision is not None:
            assert np.array_equal(decision.joint_positions, before)
        cell.wait(50 * MILLISECOND)
        decision = cell.step(cell.delta(MOTION))
        if call == "e_stop":
            assert decision.status is Status.ESTOP
        else:
            assert decision.status is Status.STOPPED
            assert decision.refusals[0].limit == "clock, usable times"


@on_each_arm
@examples(20)
@given(asked=st.floats(-1e30, 1e30), ticks=st.booleans())
def test_invariant_23_gripper_stays_in_range_and_a_stop_keeps_it(name, asked, ticks):
    cell = Cell(name)
    cell.begin()
    decision = cell.act(gripper=asked)
    opening = min(max(asked, 0.0), 1.0)
    assert decision.gripper == opening
    assert decision.gripper_goal == (None if opening == 0.5 else opening)
    assert (decision.status is Status.LIMITED) == (not 0.0 <= asked <= 1.0)
    cell.go_on(400 * MILLISECOND, 10 * MILLISECOND if ticks else 300 * MILLISECOND)
    stopped = cell.tick()
    assert stopped.state is FilterState.STOPPED
    assert (stopped.gripper, stopped.gripper_goal) == (opening, None)
    for decision in (cell.e_stop(), cell.fault(), cell.step(cell.delta(gripper=1.0)), cell.tick()):
        assert (decision.gripper, decision.gripper_goal) == (opening, None)


@on_each_arm
@examples(1)
@given(gripper=st.floats(0.0, 1.0), other=st.floats(0.0, 1.0))
def test_invariant_23_1000_equal_commands_give_one_goal(name, gripper, other):
    cell = Cell(name, thorough=False)
    goals = []
    for count in range(1000):
        goals.append(cell.act(gripper=gripper, wait_ns=50 * MILLISECOND).gripper_goal)
        if count % 7 == 0:
            cell.now_ns += MILLISECOND
            goals.append(cell.tick().gripper_goal)
    assert [goal for goal in goals if goal is not None] == [gripper]
    assert cell.act(gripper=other).gripper_goal == (None if other == gripper else other)
    cell.step(cell.delta((math.nan, 0, 0), gripper=gripper))
    assert cell.act(gripper=other).gripper_goal is None


@pytest.mark.parametrize("kind", BROKEN)
def test_invariant_24_a_broken_arm_is_refused_and_the_joint_or_element_named(kind):
    pattern, replacement, word = BROKEN[kind]
    text = re.sub(pattern, replacement, arm("planar").xml, count=1)
    assert text != arm("planar").xml
    with pytest.raises(RobotModelError, match=word):
        Robot.from_urdf(text, source="arm.urdf")


@examples(40)
@given(number=st.integers(0, 199), data=st.data())
def test_invariant_24_a_random_arm_with_one_limit_spoilt_is_refused_by_name(number, data):
    text = arm(f"random {number}").xml
    joint = data.draw(st.sampled_from(arm(f"random {number}").model.names))
    key = data.draw(st.sampled_from(["lower", "upper", "velocity"]))
    value = data.draw(st.sampled_from(["nan", "inf", "-inf", "", None, "1e999", "reversed"]))
    start = text.index("<limit", text.index(f'name="{joint}"'))
    limit = text[start : text.index("/>", start)]
    if value == "reversed":
        value = {"lower": "9.5", "upper": "-9.5", "velocity": "-1"}[key]
    spoilt = re.sub(f' {key}="[^"]*"', "" if value is None else f' {key}="{value}"', limit)
    with pytest.raises(RobotModelError, match=joint):
        Robot.from_urdf(text[:start] + spoilt + text[start + len(limit) :], source="arm.urdf")
