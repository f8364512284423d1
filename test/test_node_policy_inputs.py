"""What the policy node's process listens to, and what follows when it is killed."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from diagnostic_msgs.msg import DiagnosticStatus
from node_cell import (
    ACTIVATE,
    CONFIGURE,
    URDF,
    processes,
)
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from safety_node_cell import PATIENT
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import String

POLICY = "policy_node"
FILTER = "safety_filter_node"
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture(scope="module")
def actions(cell):
    return cell.record(JointState, "octo/action")


def test_a_latched_instruction_from_before_the_start_is_heard(cell, bundle, logs, actions):
    publisher = cell.create_publisher(String, "octo/instruction", LATCHED)
    publisher.publish(String(data="close the drawer"))
    cell.show("primary", "wrist")
    with processes(logs, policy_node={"bundle": bundle, "mask_language": "true"}) as started:
        assert cell.change(POLICY, CONFIGURE)
        assert cell.change(POLICY, ACTIVATE)
        assert cell.flows(actions), started[POLICY].output()
    cell.destroy_publisher(publisher)


def test_the_instruction_parameter_starts_at_once_and_only_named_cameras_count(cell, bundle, logs, actions):
    parameters = {"bundle": bundle, "mask_language": "true", "instruction": "go", "cameras": "[primary]"}
    cell.show("primary")
    with processes(logs, policy_node={**parameters, "publish_physical": "true"}) as started:
        assert cell.change(POLICY, CONFIGURE)
        assert cell.change(POLICY, ACTIVATE)
        assert cell.flows(actions), started[POLICY].output()
        assert actions[-1].name[0] == "dx"
        assert actions[-1].position[6] in (0.0, 1.0)


def test_compressed_frames_and_a_goal_image_are_enough(cell, bundle, logs, actions):
    parameters = {"bundle": bundle, "cameras": "[primary]", "image_transport": "compressed"}
    cell.hide()
    frames = cell.create_publisher(
        CompressedImage, "camera/primary/image_raw/compressed", qos_profile_sensor_data
    )
    goals = cell.create_publisher(Image, "octo/goal_image", 1)
    picture = np.full((48, 64, 3), 90, np.uint8)

    def show():
        jpeg = cv2.imencode(".jpg", picture)[1]
        frame = CompressedImage(format="jpeg", data=jpeg.tobytes())
        frame.header.stamp = cell.get_clock().now().to_msg()
        frames.publish(frame)

    timer = cell.create_timer(0.05, show)
    with processes(logs, policy_node=parameters) as started:
        assert cell.change(POLICY, CONFIGURE)
        assert cell.change(POLICY, ACTIVATE)
        assert cell.is_quiet(actions)
        goals.publish(Image(height=48, width=64, step=192, encoding="bgr8", data=picture.tobytes()))
        assert cell.flows(actions), started[POLICY].output()
    cell.destroy_timer(timer)
    cell.destroy_publisher(frames)
    cell.destroy_publisher(goals)


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


def test_a_killed_policy_stops_the_arm_until_a_reset(cell, bundle, logs, actions):
    decisions = cell.record(DiagnosticStatus, "octo/safety_decision")
    joints = cell.record(JointState, "joint_states")
    policy = {"bundle": bundle, "mask_language": "true", "instruction": "go", "cameras": "[primary]"}
    # A busy machine may delay everything; this test is about the silence of the policy.
    safety = {"bundle": bundle, "urdf_file": URDF, **PATIENT}
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
        assert stamp_s(seen("stopped")[0]) - last <= PATIENT["action_timeout_s"] + 0.4
        decisions.clear()
        cell.stream(0.4)
        assert seen("stopped")
        assert not seen("ok") + seen("limited")
        assert cell.wait(lambda: cell.trigger(f"{FILTER}/reset")[0])
        cell.stream(0.4)
        assert seen("ok") + seen("limited")
