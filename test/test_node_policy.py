"""The policy node's real process over real DDS, with fake cameras and a tiny bundle."""

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
    UNCONFIGURED,
    processes,
)
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from octo_ros.nodes.messages import NORMALIZED_AXES, time_ns

POLICY = "policy_node"
RATE_HZ = 10.0


@pytest.fixture(scope="module")
def actions(cell):
    return cell.record(JointState, "octo/action")


@pytest.fixture(scope="module")
def diagnostics(cell):
    return cell.record(DiagnosticArray, "/diagnostics")


@pytest.fixture(scope="module")
def running(cell, bundle, logs, actions, diagnostics):
    """The node, active, with both cameras delivering and no instruction yet."""
    parameters = {"bundle": bundle, "mask_language": "true", "rate_hz": 10, "base_frame": "fr3_link0"}
    with processes(logs, policy_node=parameters) as started:
        assert cell.change(POLICY, CONFIGURE), started[POLICY].output()
        cell.show("primary", "wrist")
        cell.spin(0.3)
        yield started[POLICY]


def told(diagnostics) -> dict[str, str]:
    return {pair.key: pair.value for pair in diagnostics[-1].status[0].values}


def test_nothing_is_published_while_inactive(cell, running, actions, diagnostics):
    cell.say("pick up the spoon")
    assert cell.is_quiet(actions)
    assert cell.wait(lambda: bool(diagnostics), 2.0)
    assert diagnostics[-1].status[0].message.startswith("inactive")


def test_nothing_is_published_without_an_instruction(cell, running, actions, diagnostics):
    cell.say("")
    assert cell.change(POLICY, ACTIVATE)
    assert cell.is_quiet(actions)
    assert cell.wait(lambda: "no instruction" in diagnostics[-1].status[0].message, 3.0)


def test_actions_flow_with_an_instruction(cell, running, actions, diagnostics):
    chunks = cell.record(JointTrajectory, "octo/action_chunk")
    cell.say("pick up the spoon")
    assert cell.flows(actions), running.output()
    action = actions[-1]
    assert tuple(action.name) == NORMALIZED_AXES
    assert len(action.position) == 7
    assert np.isfinite(action.position).all()
    assert action.header.frame_id == "fr3_link0"
    age_s = cell.get_clock().now().nanoseconds * 1e-9 - time_ns(action.header.stamp) * 1e-9
    assert 0.0 < age_s < 1.0
    assert len(chunks[-1].points) == 4
    assert tuple(chunks[-1].joint_names) == NORMALIZED_AXES


def test_stamps_grow_and_the_rate_is_kept(cell, running, actions):
    actions.clear()
    cell.spin(2.0)
    stamps = [time_ns(action.header.stamp) for action in actions]
    assert stamps == sorted(set(stamps))
    assert len(actions) <= 2.0 * RATE_HZ + 1
    assert len(actions) >= 2.0 * RATE_HZ * 0.5


def test_diagnostics_have_rate_latency_counts_backend_and_notice(cell, running, diagnostics):
    diagnostics.clear()
    assert cell.wait(lambda: len(diagnostics) >= 2, 4.0)
    status, values = diagnostics[-1].status[0], told(diagnostics)
    assert status.name == "octo policy"
    assert status.hardware_id == "small"
    assert status.level == DiagnosticStatus.WARN  # the bundle has a notice
    assert "test" in status.message
    assert 0.0 < float(values["rate_hz"]) <= RATE_HZ + 1.0
    assert 0.0 < float(values["latency_p50_s"]) <= float(values["latency_p95_s"])
    assert values["backend"] == "onnxruntime"
    assert values["instruction"] == "pick up the spoon"
    assert int(values["actions"]) > 0
    for name in ("dropped", "late", "stale", "missing", "unpaired", "repeated"):
        assert int(values[name]) >= 0


def test_a_missing_camera_stops_the_actions(cell, running, actions, diagnostics):
    cell.show("primary")
    assert cell.is_quiet(actions)
    assert cell.wait(lambda: "no actions: camera wrist: stale" in diagnostics[-1].status[0].message, 3.0)
    assert diagnostics[-1].status[0].level == DiagnosticStatus.ERROR
    assert int(told(diagnostics)["stale"]) > 0
    cell.show("primary", "wrist")
    assert cell.flows(actions)


def test_frames_that_are_old_by_their_stamp_stop_the_actions(cell, running, actions):
    cell.image_age_s = 0.3
    assert cell.is_quiet(actions)
    cell.image_age_s = 0.0
    assert cell.flows(actions)


def test_stop_and_start(cell, running, actions):
    assert cell.trigger(f"{POLICY}/stop")[0]
    assert cell.is_quiet(actions)
    assert cell.trigger(f"{POLICY}/start")[0]
    assert cell.flows(actions)


def test_history_can_be_reset_while_actions_flow(cell, running, actions):
    assert cell.trigger(f"{POLICY}/reset_history")[0]
    assert cell.flows(actions)


def test_a_withdrawn_instruction_stops_the_actions(cell, running, actions):
    cell.say("")
    assert cell.is_quiet(actions)
    cell.say("open the drawer")
    assert cell.flows(actions)


def test_parameters_cannot_be_changed_while_configured(cell, running):
    assert "clean it up first" in cell.set(POLICY, rate_hz=5.0)


def test_deactivating_stops_the_actions_and_activating_starts_them(cell, running, actions):
    assert cell.change(POLICY, DEACTIVATE)
    assert cell.state(POLICY) == INACTIVE
    assert cell.is_quiet(actions)
    assert cell.trigger(f"{POLICY}/start") == (False, "the node is not active")
    assert cell.change(POLICY, ACTIVATE)
    assert not cell.change(POLICY, ACTIVATE)
    assert cell.state(POLICY) == ACTIVE
    assert cell.flows(actions)


def test_cleaning_up_and_configuring_again_works_and_sigint_ends_in_order(cell, running, actions):
    """Last of those that share the node: it ends it."""
    assert cell.change(POLICY, DEACTIVATE)
    assert cell.change(POLICY, CLEANUP)
    assert cell.state(POLICY) == UNCONFIGURED
    assert cell.change(POLICY, CONFIGURE)
    assert cell.change(POLICY, ACTIVATE)
    assert cell.is_quiet(actions)
    cell.say("open the drawer")
    assert cell.flows(actions)
    assert running.stop() == 0
    assert "Traceback" not in running.output()
