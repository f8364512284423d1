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
    URDF,
    open_cell,
    processes,
)
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, JointState
from small_bundle import write_bundle
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from octo_ros.nodes.messages import NORMALIZED_AXES, time_ns
from octo_ros.nodes.policy_parameters import PARAMETERS

POLICY, FILTER = "policy_node", "safety_filter_node"
RATE_HZ = 10.0
DEFAULTS = {parameter.name: parameter.default for parameter in PARAMETERS}
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    directory = tmp_path_factory.mktemp("bundle") / "small"
    write_bundle(directory)
    return directory


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def cell():
    with open_cell() as cell:
        yield cell


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


def flow(cell, actions, seconds=5.0, count=3) -> bool:
    """Whether `count` new actions come."""
    actions.clear()
    return cell.wait(lambda: len(actions) >= count, seconds)


def quiet(cell, actions, seconds=0.7) -> bool:
    """Whether no action comes, once what is under way has arrived."""
    cell.spin(2.0 / RATE_HZ)
    actions.clear()
    cell.spin(seconds)
    return not actions


def test_nothing_is_published_while_inactive(cell, running, actions, diagnostics):
    cell.say("pick up the spoon")
    assert quiet(cell, actions)
    assert cell.wait(lambda: bool(diagnostics), 2.0)
    assert diagnostics[-1].status[0].message.startswith("inactive")


def test_nothing_is_published_without_an_instruction(cell, running, actions, diagnostics):
    cell.say("")
    assert cell.change(POLICY, ACTIVATE)
    assert quiet(cell, actions)
    assert cell.wait(lambda: "no instruction" in diagnostics[-1].status[0].message, 3.0)


def test_actions_flow_with_an_instruction(cell, running, actions, diagnostics):
    chunks = cell.record(JointTrajectory, "octo/action_chunk")
    cell.say("pick up the spoon")
    assert flow(cell, actions), running.output()
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
    assert quiet(cell, actions)
    assert cell.wait(lambda: "no actions: camera wrist: stale" in diagnostics[-1].status[0].message, 3.0)
    assert diagnostics[-1].status[0].level == DiagnosticStatus.ERROR
    assert int(told(diagnostics)["stale"]) > 0
    cell.show("primary", "wrist")
    assert flow(cell, actions)


def test_frames_that_are_old_by_their_stamp_stop_the_actions(cell, running, actions):
    cell.image_age_s = 0.3
    assert quiet(cell, actions)
    cell.image_age_s = 0.0
    assert flow(cell, actions)


def test_stop_and_start(cell, running, actions):
    assert cell.trigger(f"{POLICY}/stop")[0]
    assert quiet(cell, actions)
    assert cell.trigger(f"{POLICY}/start")[0]
    assert flow(cell, actions)


def test_history_can_be_reset_while_actions_flow(cell, running, actions):
    assert cell.trigger(f"{POLICY}/reset_history")[0]
    assert flow(cell, actions)


def test_a_withdrawn_instruction_stops_the_actions(cell, running, actions):
    cell.say("")
    assert quiet(cell, actions)
    cell.say("open the drawer")
    assert flow(cell, actions)


def test_parameters_cannot_be_changed_while_configured(cell, running):
    assert "clean it up first" in cell.set(POLICY, rate_hz=5.0)


def test_deactivating_stops_the_actions_and_activating_starts_them(cell, running, actions):
    assert cell.change(POLICY, DEACTIVATE)
    assert cell.state(POLICY) == INACTIVE
    assert quiet(cell, actions)
    assert cell.trigger(f"{POLICY}/start") == (False, "the node is not active")
    assert cell.change(POLICY, ACTIVATE)
    assert not cell.change(POLICY, ACTIVATE)
    assert cell.state(POLICY) == ACTIVE
    assert flow(cell, actions)


def test_cleaning_up_and_configuring_again_works_and_sigint_ends_in_order(cell, running, actions):
    """Last of those that share the node: it ends it."""
    assert cell.change(POLICY, DEACTIVATE)
    assert cell.change(POLICY, CLEANUP)
    assert cell.state(POLICY) == UNCONFIGURED
    assert cell.change(POLICY, CONFIGURE)
    assert cell.change(POLICY, ACTIVATE)
    assert quiet(cell, actions)
    cell.say("open the drawer")
    assert flow(cell, actions)
    assert running.stop() == 0
    assert "Traceback" not in running.output()


def test_a_latched_instruction_from_before_the_start_is_heard(cell, bundle, logs, actions):
    publisher = cell.create_publisher(String, "octo/instruction", LATCHED)
    publisher.publish(String(data="close the drawer"))
    with processes(logs, policy_node={"bundle": bundle, "mask_language": "true"}) as started:
        assert cell.change(POLICY, CONFIGURE)
        assert cell.change(POLICY, ACTIVATE)
        assert flow(cell, actions), started[POLICY].output()
    cell.destroy_publisher(publisher)


def test_the_instruction_parameter_starts_at_once_and_only_named_cameras_count(cell, bundle, logs, actions):
    parameters = {"bundle": bundle, "mask_language": "true", "instruction": "go", "cameras": "[primary]"}
    cell.show("primary")
    with processes(logs, policy_node={**parameters, "publish_physical": "true"}) as started:
        assert cell.change(POLICY, CONFIGURE)
        assert cell.change(POLICY, ACTIVATE)
        assert flow(cell, actions), started[POLICY].output()
        assert actions[-1].name[0] == "dx"
        assert actions[-1].position[6] in (0.0, 1.0)


def test_a_camera_is_subscribed_to_as_reliably_as_it_publishes(cell, bundle, logs):
    def reliability():
        found = cell.get_subscriptions_info_by_topic("/camera/wrist/image_raw")
        return [subscription.qos_profile.reliability for subscription in found]

    cell.hide()
    with processes(logs, policy_node={"bundle": bundle, "cameras": "[wrist]"}):
        assert cell.change(POLICY, CONFIGURE)
        assert cell.wait(lambda: reliability() == [ReliabilityPolicy.BEST_EFFORT])
        reliable = cell.create_publisher(Image, "camera/wrist/image_raw", 5)
        assert cell.wait(lambda: reliability() == [ReliabilityPolicy.RELIABLE])
        cell.show("wrist")
        assert cell.wait(lambda: reliability() == [ReliabilityPolicy.BEST_EFFORT])
        cell.hide()
        assert cell.wait(lambda: reliability() == [ReliabilityPolicy.RELIABLE])
    cell.destroy_publisher(reliable)


@pytest.fixture(scope="module")
def unconfigured(cell, bundle, logs):
    """A node that a test tries to configure with a mistake; started when the shared one has ended."""
    with processes(logs, policy_node={"bundle": bundle}) as started:
        yield started[POLICY]


@pytest.mark.parametrize(
    ("mistake", "expected"),
    [
        ({"bundle": "/nowhere"}, "not an octo_ros bundle"),
        ({"bundle": ""}, "bundle: expected"),
        ({"cameras": ["overhead"]}, "it has primary, wrist"),
        ({"dataset": "fractal"}, "it has small"),
        ({"backend": "tensorrt"}, "backend"),
        ({"execution": "greedy"}, "execution"),
        ({"execution": "receding", "execute": 9}, "execute"),
        ({"instruction": "go"}, "tokenizer"),
    ],
)
def test_a_mistake_refuses_to_configure_and_can_be_corrected(cell, bundle, unconfigured, mistake, expected):
    right = {**DEFAULTS, "bundle": str(bundle)}
    printed = len(unconfigured.output())
    assert cell.set(POLICY, **{**right, **mistake}) == ""
    assert not cell.change(POLICY, CONFIGURE)
    assert cell.state(POLICY) == UNCONFIGURED
    assert expected in unconfigured.output()[printed:].split("cannot configure:")[1]
    assert cell.set(POLICY, **right) == ""
    assert cell.change(POLICY, CONFIGURE)
    assert cell.change(POLICY, CLEANUP)
    assert "Traceback" not in unconfigured.output()


def test_the_unconfigured_node_ends_in_order(unconfigured):
    assert unconfigured.stop() == 0


@pytest.mark.parametrize("given", [{"rate_hz": "fast"}, {"seed": -5}])
def test_a_parameter_out_of_range_ends_the_process_with_one_line(logs, bundle, given):
    with processes(logs, policy_node={"bundle": bundle, **given}) as started:
        assert started[POLICY].wait(10.0) == 1
        assert f"error: {next(iter(given))}: " in started[POLICY].output()
        assert "Traceback" not in started[POLICY].output()


def test_a_killed_policy_stops_the_arm_until_a_reset(cell, bundle, logs, actions):
    decisions = cell.record(DiagnosticStatus, "octo/safety_decision")
    joints = cell.record(JointState, "joint_states")
    policy = {"bundle": bundle, "mask_language": "true", "instruction": "go", "cameras": "[primary]"}
    safety = {"bundle": bundle, "urdf_file": URDF}
    cell.show("primary")

    def seen(status):
        return [d for d in decisions if {p.key: p.value for p in d.values}["status"] == status]

    def stamp_s(decision):
        return int({p.key: p.value for p in decision.values}["stamp_ns"]) * 1e-9

    arm = {"urdf_file": URDF}
    with processes(logs, joint_state_simulator=arm, safety_filter_node=safety, policy_node=policy) as started:
        assert cell.wait(lambda: len(joints) > 3)
        for node in (FILTER, POLICY):
            assert cell.change(node, CONFIGURE), started[node].output()
            assert cell.change(node, ACTIVATE)
        assert cell.wait(lambda: len(seen("limited") + seen("ok")) >= 5), started[FILTER].output()
        started[POLICY].kill()
        assert cell.wait(lambda: bool(seen("stopped")), 3.0)
        last = max(stamp_s(decision) for decision in seen("limited") + seen("ok"))
        assert stamp_s(seen("stopped")[0]) - last <= 0.3 + 1.0 / RATE_HZ
        decisions.clear()
        cell.stream(0.4)
        assert seen("stopped")
        assert not seen("ok") + seen("limited")
        assert cell.wait(lambda: cell.trigger(f"{FILTER}/reset")[0])
        cell.stream(0.4)
        assert seen("ok") + seen("limited")
