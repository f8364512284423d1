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
    URDF,
    processes,
    statuses,
    urdf_without,
)
from safety_node_cell import FILTER, PATIENT, ROBOT
from std_msgs.msg import Bool, Float64, Float64MultiArray, String

from octo_ros.nodes.qos import LATCHED
from octo_ros.types import ACTION_AXES

MOVE = (0.01, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
"""A physical action that moves the tool at 50 mm/s."""

UNFOLLOWED = {**PATIENT, "max_tracking_error": 3.0, "frozen_joint_state_s": 10.0}
"""Parameters of the filter for an arm that stays where it is."""


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
    """In the pose and twist modes the simulated arm does not follow, which the filter must not mind here."""
    received = cell.record(kind, topic)
    decisions.clear()
    follows = {"urdf_file": URDF, "command_mode": "joint_position"}
    given = {"bundle": bundle, "urdf_file": URDF, "command_mode": mode, **UNFOLLOWED}
    with processes(logs, joint_state_simulator=follows, safety_filter_node=given) as started:
        assert cell.change(FILTER, CONFIGURE), started[FILTER].output()
        assert cell.change(FILTER, ACTIVATE)
        assert cell.wait(lambda: cell.trigger(f"{FILTER}/reset")[0])
        cell.stream(0.6, MOVE, ACTION_AXES)
        assert {"ok", "limited"} & set(statuses(decisions)), started[FILTER].output()
        assert len(received) >= 20
        assert cell.wait(lambda: "stopped" in statuses(decisions), 5.0)
        count = len(received)
        cell.spin(1.0)
        assert len(received) - count >= 30
        assert started[FILTER].stop() == 0
        cell.spin(0.2)
    check = {"pose": check_poses, "twist": check_twists, "joint_position": check_positions}[mode]
    check(received)


def test_a_filter_ended_while_the_arm_moves_brakes_and_leaves_a_zero_twist(cell, bundle, logs):
    twists = cell.record(TwistStamped, "octo/twist_command")
    given = {"bundle": bundle, "urdf_file": URDF, "command_mode": "twist", **UNFOLLOWED}
    with processes(logs, joint_state_simulator={"urdf_file": URDF}, safety_filter_node=given) as started:
        assert cell.change(FILTER, CONFIGURE), started[FILTER].output()
        assert cell.change(FILTER, ACTIVATE)
        assert cell.wait(lambda: cell.trigger(f"{FILTER}/reset")[0])

        def speed() -> float:
            return twists[-1].twist.linear.x if twists else 0.0

        cell.stream(5.0, MOVE, ACTION_AXES, until=lambda: speed() > 0.04)
        assert speed() > 0.04, started[FILTER].output()
        started[FILTER].interrupt()
        assert cell.wait(lambda: speed() == 0.0, 3.0)
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
    assert np.linalg.norm(speeds, axis=1).max() > 0.02
    assert np.linalg.norm(speeds, axis=1).max() <= 0.25 + 1e-9
    np.testing.assert_array_equal(speeds[-5:], np.zeros((5, 3)))


def check_positions(received):
    joints = np.array([list(message.data) for message in received])
    assert ((joints >= ROBOT.lower) & (joints <= ROBOT.upper)).all()
    np.testing.assert_array_equal(joints[-1], joints[-2])


def test_a_robot_description_topic_is_used_and_a_change_of_it_stops(cell, bundle, logs, decisions):
    publisher = cell.create_publisher(String, "robot_description", LATCHED)
    publisher.publish(String(data=URDF.read_text(encoding="utf-8")))
    arm, given = {"urdf_file": URDF}, {"bundle": bundle, **PATIENT}
    with processes(logs, joint_state_simulator=arm, safety_filter_node=given) as started:
        assert cell.change(FILTER, CONFIGURE), started[FILTER].output()
        assert cell.change(FILTER, ACTIVATE)
        assert cell.wait(lambda: cell.trigger(f"{FILTER}/reset")[0])
        decisions.clear()
        cell.stream(0.3)
        publisher.publish(String(data=urdf_without('max="0.75', 'max="0.74')))
        cell.stream(5.0, until=lambda: "stopped" in statuses(decisions))
        assert statuses(decisions)[-1] == "stopped"
        assert "robot_description has changed" in decisions[-1].message
        done, why = cell.trigger(f"{FILTER}/reset")
        assert not done
        assert "robot_description has changed" in why
        publisher.publish(String(data=URDF.read_text(encoding="utf-8")))
        cell.spin(0.3)
        assert not cell.trigger(f"{FILTER}/reset")[0]
        assert cell.change(FILTER, DEACTIVATE)
        assert not cell.change(FILTER, ACTIVATE)
        assert cell.state(FILTER) == INACTIVE
    cell.destroy_publisher(publisher)


def test_an_e_stop_latched_before_the_start_is_heard(cell, bundle, logs, decisions):
    publisher = cell.create_publisher(Bool, "octo/e_stop", LATCHED)
    publisher.publish(Bool(data=True))
    arm, given = {"urdf_file": URDF}, {"bundle": bundle, "urdf_file": URDF, **PATIENT}
    with processes(logs, joint_state_simulator=arm, safety_filter_node=given):
        assert cell.change(FILTER, CONFIGURE)
        cell.spin(0.5)
        assert cell.change(FILTER, ACTIVATE)
        decisions.clear()
        cell.stream(0.6)
        assert set(statuses(decisions)) == {"estop"}
        assert not cell.trigger(f"{FILTER}/reset")[0]
    cell.destroy_publisher(publisher)


def test_a_relative_gripper_moves_by_what_actions_say_from_where_it_starts(cell, bundle, logs):
    goals = cell.record(Float64, "octo/gripper_command")
    given = {"bundle": bundle, "urdf_file": URDF, "gripper_mode": "relative", "gripper_start": 0.5, **PATIENT}
    with processes(logs, joint_state_simulator={"urdf_file": URDF}, safety_filter_node=given) as started:
        assert cell.change(FILTER, CONFIGURE), started[FILTER].output()
        assert cell.change(FILTER, ACTIVATE)
        assert cell.wait(lambda: cell.trigger(f"{FILTER}/reset")[0])
        goals.clear()
        for change in (0.0, 0.25, 0.0, 0.5, 0.5, -1.0, np.nan, 0.25):
            cell.act((*[0.0] * 6, change), ACTION_AXES)
            cell.spin(0.2)
    assert [goal.data for goal in goals] == [0.5, 0.75, 1.0, 0.0, 0.25]
