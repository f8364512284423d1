"""The safety filter's real process over real DDS: what becomes of actions, and what stops the arm."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from node_cell import (
    ACTIVATE,
    ACTIVE,
    CLEANUP,
    CONFIGURE,
    DEACTIVATE,
    INACTIVE,
    STEP,
    UNCONFIGURED,
    statuses,
    values,
)
from safety_node_cell import FILTER, PATIENT, ROBOT, refusals, silence_s

TIMEOUT_S = PATIENT["action_timeout_s"]
BUSY_S = 0.4
"""Time by which a busy machine may delay a node."""


def test_nothing_is_commanded_before_the_first_action(cell, safety):
    cell.spin(0.5)
    assert safety.commands == []
    assert safety.decisions == []


def test_the_first_command_is_the_measured_joints_and_the_next_ones_move(cell, safety):
    measured = np.array(safety.joints[-1].position)
    cell.stream(1.0)
    assert tuple(safety.commands[0][1].joint_names) == ROBOT.joint_names
    positions = safety.positions()
    np.testing.assert_allclose(positions[0], measured, atol=1e-3)
    assert np.abs(positions[-1] - measured).max() > 0.01
    assert ((positions > ROBOT.lower) & (positions < ROBOT.upper)).all()


def test_the_arm_follows(cell, safety):
    cell.stream(0.8)
    assert cell.wait(
        lambda: np.abs(np.array(safety.joints[-1].position) - safety.positions()[-1]).max() < 1e-2, 2.0
    )


def test_silence_stops_the_arm_until_a_reset(cell, safety):
    cell.stream(0.6)
    assert safety.stops()
    stopped = statuses(safety.decisions).index("stopped")
    assert TIMEOUT_S <= silence_s(safety.decisions[stopped]) <= TIMEOUT_S + BUSY_S
    held = safety.positions()[-1]
    safety.clear()
    cell.stream(0.6)
    assert set(statuses(safety.decisions)) == {"stopped"}
    np.testing.assert_array_equal(safety.positions()[-1], held)
    assert any("last accepted action" in refusal for refusal in refusals(safety.decisions[-1]))
    assert cell.wait(lambda: cell.trigger(f"{FILTER}/reset")[0])
    safety.clear()
    cell.stream(0.4)
    assert {"ok", "limited"} & set(statuses(safety.decisions))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_action_that_is_not_finite_is_invalid_and_moves_nothing(cell, safety, bad):
    cell.act((bad, *STEP[1:]))
    assert cell.wait(lambda: len(safety.decisions) > 0, 3.0)
    assert values(safety.decisions[0])["status"] == "invalid"
    cell.spin(0.2)
    assert safety.commands == []


def test_unknown_names_are_invalid_and_the_reason_is_given(cell, safety):
    cell.act(STEP, [f"joint{i}" for i in range(7)])
    assert cell.wait(lambda: len(safety.decisions) > 0, 3.0)
    assert values(safety.decisions[0])["status"] == "invalid"
    assert "names: expected normalized_dx" in safety.decisions[0].message


def test_malformed_actions_do_not_feed_the_watchdog(cell, safety):
    cell.stream(0.4)
    cell.stream(3.0 * TIMEOUT_S, (np.nan, *STEP[1:]), until=lambda: "stopped" in statuses(safety.decisions))
    stopped = statuses(safety.decisions).index("stopped")
    assert silence_s(safety.decisions[stopped]) <= TIMEOUT_S + BUSY_S


def test_an_e_stop_holds_until_it_is_released_and_reset(cell, safety):
    cell.stream(0.4)
    cell.press_e_stop(True)
    assert safety.reaches("estop", 2.0)
    assert not cell.trigger(f"{FILTER}/reset")[0]
    cell.spin(0.5)
    held = safety.positions()[-1]
    cell.press_e_stop(False)
    safety.clear()
    cell.stream(1.5)
    assert set(statuses(safety.decisions)) == {"estop"}
    np.testing.assert_array_equal(safety.positions(), np.tile(held, (len(safety.commands), 1)))
    assert cell.wait(lambda: cell.trigger(f"{FILTER}/reset")[0])


def test_the_e_stop_service_holds_until_a_reset(cell, safety):
    cell.stream(0.3)
    assert cell.trigger(f"{FILTER}/e_stop")[0]
    safety.decisions.clear()
    cell.stream(0.5)
    assert set(statuses(safety.decisions)) == {"estop"}
    assert cell.wait(lambda: cell.trigger(f"{FILTER}/reset")[0])


def test_diagnostics_tell_state_and_counts(cell, safety):
    diagnostics = cell.record(DiagnosticArray, "/diagnostics")
    cell.stream(0.4)
    assert cell.wait(lambda: diagnostics and values(diagnostics[-1].status[0])["state"] == "stopped", 5.0)
    told = values(diagnostics[-1].status[0])
    assert int(told["stopped"]) > 0
    assert int(told["joint_states"]) > 0
    assert diagnostics[-1].status[0].level == DiagnosticStatus.ERROR
    assert diagnostics[-1].status[0].name == "octo safety filter"


def test_an_impossible_transition_is_refused_and_does_not_end_the_node(cell, safety):
    assert not cell.change(FILTER, ACTIVATE)
    assert not cell.change(FILTER, CONFIGURE)
    assert cell.state(FILTER) == ACTIVE


def test_deactivating_cleaning_up_and_sigint_end_in_order(cell, filter_cell):
    """Last of those that share the filter: it ends it."""
    assert cell.change(FILTER, DEACTIVATE)
    assert cell.state(FILTER) == INACTIVE
    assert cell.change(FILTER, CLEANUP)
    assert cell.state(FILTER) == UNCONFIGURED
    assert cell.change(FILTER, CONFIGURE)
    assert cell.change(FILTER, ACTIVATE)
    assert filter_cell.filter.stop() == 0
    assert "Traceback" not in filter_cell.filter.output()
