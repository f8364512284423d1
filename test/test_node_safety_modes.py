"""The safety filter's process in every command mode, and its other sources: URDF topic, latched e-stop."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped, TwistStamped
from node_cell import (
    ACTIVATE,
    CONFIGURE,
    DEACTIVATE,
    INACTIVE,
    STEP,
    URDF,
    processes,
    statuses,
    urdf_without,
)
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Bool, Float64MultiArray, String

from octo_ros.safety.robot import Robot

FILTER = "safety_filter_node"
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
ROBOT = Robot.from_file(URDF)


@pytest.fixture(scope="module")
def decisions(cell):
    return cell.record(DiagnosticStatus, "octo/safety_decision")


@pytest.mark.parametrize(
    ("mode", "kind", "topic"),
    [
        ("pose", PoseStamped, "octo/pose_command"),
        ("twist", TwistStamped, "octo/twist_command"),
        ("joint_position", Float64MultiArray, "octo/joint_position_command"),
    ],
)
def test_the_other_command_modes_publish_and_end_in_a_hold(cell, bundle, logs, decisions, mode, kind, topic):
    parameters = {"bundle": bundle, "urdf_file": URDF, "command_mode": mode}
    arm = {"urdf_file": URDF, "command_mode": "joint_position"}
    received = cell.record(kind, topic)
    decisions.clear()
    with processes(logs, joint_state_simulator=arm, safety_filter_node=parameters) as started:
        assert cell.change(FILTER, CONFIGURE), started[FILTER].output()
        assert cell.change(FILTER, ACTIVATE)
        assert cell.wait(lambda: cell.trigger(f"{FILTER}/reset")[0])
        # In the pose and twist modes the simulated arm does not follow: short enough to stay in tracking.
        cell.stream(0.5, (0.1, *STEP[1:]))
        assert "ok" in statuses(decisions) or "limited" in statuses(decisions), started[FILTER].output()
        assert len(received) >= 3
        assert cell.wait(lambda: "stopped" in statuses(decisions), 3.0)
        count = len(received)
        cell.spin(0.5)
        assert len(received) - count >= (10 if mode == "twist" else 2)
        assert started[FILTER].stop() == 0
        cell.spin(0.2)
    check = {"pose": check_poses, "twist": check_twists, "joint_position": check_positions}[mode]
    check(received)


def test_a_filter_ended_while_the_arm_moves_leaves_a_zero_twist(cell, bundle, logs):
    twists = cell.record(TwistStamped, "octo/twist_command")
    parameters = {"bundle": bundle, "urdf_file": URDF, "command_mode": "twist", "max_tracking_error": 1.0}
    with processes(logs, joint_state_simulator={"urdf_file": URDF}, safety_filter_node=parameters) as started:
        assert cell.change(FILTER, CONFIGURE), started[FILTER].output()
        assert cell.change(FILTER, ACTIVATE)
        assert cell.wait(lambda: cell.trigger(f"{FILTER}/reset")[0])

        def moves() -> bool:
            cell.trigger(f"{FILTER}/reset")  # refused while active; a busy machine may stop it
            cell.stream(0.5)
            return abs(twists[-1].twist.linear.x) > 0.001

        assert any(moves() for _ in range(5)), started[FILTER].output()
        started[FILTER].interrupt()
        assert cell.wait(lambda: twists[-1].twist.linear.x == 0.0, 3.0)
        assert started[FILTER].wait(5.0) == 0
    assert twists[-1].twist == type(twists[-1].twist)()


def check_poses(received):
    assert {message.header.frame_id for message in received} == {ROBOT.workspace.frame}
    points = np.array([[m.pose.position.x, m.pose.position.y, m.pose.position.z] for m in received])
    assert (points >= ROBOT.workspace.minimum).all()
    assert (points <= ROBOT.workspace.maximum).all()
    np.testing.assert_array_equal(points[-1], points[-3])


def check_twists(received):
    speeds = np.array([[m.twist.linear.x, m.twist.linear.y, m.twist.linear.z] for m in received])
    assert np.linalg.norm(speeds, axis=1).max() > 0.01
    assert np.linalg.norm(speeds, axis=1).max() <= 0.25 + 1e-9
    np.testing.assert_array_equal(speeds[-5:], np.zeros((5, 3)))


def check_positions(received):
    joints = np.array([list(message.data) for message in received])
    assert ((joints >= ROBOT.lower) & (joints <= ROBOT.upper)).all()
    np.testing.assert_array_equal(joints[-1], joints[-2])


def test_a_robot_description_topic_is_used_and_a_change_of_it_stops(cell, bundle, logs, decisions):
    publisher = cell.create_publisher(String, "robot_description", LATCHED)
    publisher.publish(String(data=URDF.read_text(encoding="utf-8")))
    arm = {"urdf_file": URDF}
    with processes(logs, joint_state_simulator=arm, safety_filter_node={"bundle": bundle}) as started:
        assert cell.change(FILTER, CONFIGURE), started[FILTER].output()
        assert cell.change(FILTER, ACTIVATE)
        assert cell.wait(lambda: cell.trigger(f"{FILTER}/reset")[0])
        cell.stream(0.3)
        publisher.publish(String(data=urdf_without('max="0.75', 'max="0.74')))
        decisions.clear()
        cell.stream(0.5)
        assert statuses(decisions)[-1] == "estop"
        done, why = cell.trigger(f"{FILTER}/reset")
        assert not done
        assert "robot_description has changed" in why
        assert cell.change(FILTER, DEACTIVATE)
        assert not cell.change(FILTER, ACTIVATE)
        assert cell.state(FILTER) == INACTIVE
    cell.destroy_publisher(publisher)


def test_an_e_stop_latched_before_the_start_is_heard(cell, bundle, logs, decisions):
    publisher = cell.create_publisher(Bool, "octo/e_stop", LATCHED)
    publisher.publish(Bool(data=True))
    arm = {"urdf_file": URDF}
    with processes(logs, joint_state_simulator=arm, safety_filter_node={"bundle": bundle, "urdf_file": URDF}):
        assert cell.change(FILTER, CONFIGURE)
        assert cell.change(FILTER, ACTIVATE)
        decisions.clear()
        cell.stream(0.6)
        assert set(statuses(decisions)) == {"estop"}
        assert not cell.trigger(f"{FILTER}/reset")[0]
    cell.destroy_publisher(publisher)
