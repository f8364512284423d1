"""Single inputs that are not believed, or only in part; the invariants are in test_safety_invariants_*."""

from __future__ import annotations

import math

import numpy as np
import pytest
from safety_cell import MILLISECOND, ROBOTS, SECOND, Cell
from safety_inputs import MOTION

from octo_ros.errors import ParameterError
from octo_ros.safety.decision import FilterState, Status
from octo_ros.safety.filter import SafetyFilter
from octo_ros.safety.options import FilterOptions

pytestmark = pytest.mark.parametrize("name", ROBOTS)


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
    assert cell.tick() is None


def test_before_any_joint_state_nothing_is_commanded(name):
    cell = Cell(name)
    cell.filter = SafetyFilter(cell.robot)
    assert cell.tick() is None
    decision = cell.step(cell.delta(MOTION))
    assert (decision.status, decision.is_command) == (Status.INVALID, False)
    assert decision.joint_positions.shape == (0,)
    assert [refusal.limit for refusal in decision.refusals] == ["joint states seen"]
    assert (cell.filter.asked, cell.filter.target, cell.filter.commanded) == (None, None, None)
    stopped = cell.e_stop()
    assert (stopped.status, stopped.is_command) == (Status.ESTOP, False)
    assert not cell.tick().is_command
    cell.filter.release_e_stop()
    assert not cell.reset()


@pytest.mark.parametrize("age_ms", [101, -51, 0])
def test_joint_state_that_is_old_ahead_or_not_newer_is_rejected(name, age_ms):
    cell = Cell(name)
    if age_ms:
        cell.now_ns += SECOND
    assert "joint state" in cell.observe(age_ns=age_ms * MILLISECOND).limit


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


TIGHTER = {
    "joint_margin": 0.1, "box_inset": 0.02, "velocity_scale": 0.2, "max_tool_speed": 0.05,
    "max_tool_rotation_speed": 0.1, "min_clearance": 0.025, "action_timeout_s": 0.2, "max_action_age_s": 0.1,
    "max_joint_state_age_s": 0.08, "max_tracking_error": 0.1,
}  # fmt: skip


@pytest.mark.parametrize("option", TIGHTER)
def test_options_tighten_under_way_and_never_loosen(name, option):
    cell = Cell(name)
    cell.begin()
    for _ in range(3):
        cell.drive((0.04, 0.01, 0.0), (0.0, 0.05, 0.0))
    before = FilterOptions()
    cell.tighten(FilterOptions(**{option: TIGHTER[option]}))
    for _ in range(5):  # what is too fast brakes first: the oracle sees to it
        cell.go_on(50 * MILLISECOND)
        cell.step(cell.delta((0.04, 0.01, 0.0), (0.0, 0.05, 0.0)))
    with pytest.raises(ParameterError, match=option):
        cell.filter.tighten(before)
    assert getattr(cell.filter.options, option) == TIGHTER[option]
    assert cell.filter.state.moves


@pytest.mark.parametrize(
    "changes",
    [
        {"max_joint_acceleration": 5.0}, {"max_joint_jerk": 100.0}, {"data_rate_hz": 10.0},
        {"action_frame": "tool"}, {"rotation_order": "ypr"}, {"reference": "measured"},
        {"slide_along_walls": False}, {"max_step_s": 0.4},
    ],
)  # fmt: skip
def test_options_that_are_no_bounds_may_not_change_under_way(name, changes):
    cell = Cell(name)
    cell.begin()
    with pytest.raises(ParameterError, match=next(iter(changes))):
        cell.filter.tighten(FilterOptions(**changes))
    assert cell.filter.options == FilterOptions()


def test_a_workspace_may_only_shrink_under_way(name):
    cell = Cell(name)
    cell.begin()
    low, high = cell.model.minimum + 0.01, cell.model.maximum - 0.01
    cell.tighten(FilterOptions(workspace_min=tuple(low), workspace_max=tuple(high)))
    with pytest.raises(ParameterError, match="workspace_min"):
        cell.filter.tighten(FilterOptions(workspace_min=tuple(low - 0.005), workspace_max=tuple(high)))
    with pytest.raises(ParameterError, match="workspace_max"):
        cell.filter.tighten(FilterOptions(workspace_min=tuple(low)))
    for _ in range(30):
        cell.drive((0.05, 0.0, 0.0))
    assert cell.model.tool(cell.last)[0][0] <= high[0] - 0.005


def test_options_that_leave_nothing_are_refused_under_way_and_nothing_changes(name):
    cell = Cell(name)
    cell.begin()
    with pytest.raises(ParameterError, match="box_inset"):
        cell.filter.tighten(FilterOptions(box_inset=0.1, workspace_min=tuple(cell.model.maximum - 0.1)))
    assert cell.filter.options == FilterOptions()
    assert cell.act(MOTION).status is Status.OK
