"""The safe command in the message that a controller takes; one table entry per command mode."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from geometry_msgs.msg import PoseStamped, TwistStamped
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from octo_ros.nodes.messages import set_duration, set_time
from octo_ros.safety.decision import Decision


@dataclass(frozen=True)
class CommandContext:
    """What every command message needs beside the decision.

    Attributes:
        joint_names: the robot's joints, in the decision's order.
        frame: the workspace frame, in which poses and twists are.
        period_s: time from command to command, in which a hold is to be reached [s].
    """

    joint_names: Sequence[str]
    frame: str
    period_s: float


Build = Callable[[Decision], Any]
"""Puts a decision into a message: each time the same object, to be published before the next."""


@dataclass(frozen=True)
class CommandMode:
    """One way to command a robot.

    Attributes:
        kind: type of the message.
        topic: relative topic it goes to.
        builder: makes what puts decisions into messages.
    """

    kind: type
    topic: str
    builder: Callable[[CommandContext], Build]


def joint_trajectory(context: CommandContext) -> Build:
    """trajectory_msgs/JointTrajectory: one point, reached the step's duration after arrival (stamp 0).

    It has no velocities: joint_trajectory_controller refuses a last point that moves.
    """
    point = JointTrajectoryPoint()
    message = JointTrajectory(joint_names=list(context.joint_names), points=[point])

    def build(decision: Decision) -> JointTrajectory:
        point.positions = array("d", decision.joint_positions)
        set_duration(point.time_from_start, decision.dt or context.period_s)
        return message

    return build


def joint_position(_: CommandContext) -> Build:
    """std_msgs/Float64MultiArray: positions [rad or m] in the robot's joint order."""
    message = Float64MultiArray()

    def build(decision: Decision) -> Float64MultiArray:
        message.data = array("d", decision.joint_positions)
        return message

    return build


def pose(context: CommandContext) -> Build:
    """geometry_msgs/PoseStamped: pose of the tip at the commanded joints, in the workspace frame."""
    message = PoseStamped()
    message.header.frame_id = context.frame
    position, orientation = message.pose.position, message.pose.orientation

    def build(decision: Decision) -> PoseStamped:
        set_time(message.header.stamp, decision.stamp_ns)
        position.x, position.y, position.z = decision.tool_position.tolist()
        orientation.x, orientation.y, orientation.z, orientation.w = decision.tool_quaternion.tolist()
        return message

    return build


def twist(context: CommandContext) -> Build:
    """geometry_msgs/TwistStamped: velocity of the tip [m/s, rad/s], in the workspace frame; zero at rest."""
    message = TwistStamped()
    message.header.frame_id = context.frame
    linear, angular = message.twist.linear, message.twist.angular

    def build(decision: Decision) -> TwistStamped:
        set_time(message.header.stamp, decision.stamp_ns)
        linear.x, linear.y, linear.z, angular.x, angular.y, angular.z = decision.tool_twist.tolist()
        return message

    return build


MODES = {
    "joint_trajectory": CommandMode(JointTrajectory, "octo/joint_trajectory", joint_trajectory),
    "joint_position": CommandMode(Float64MultiArray, "octo/joint_position_command", joint_position),
    "pose": CommandMode(PoseStamped, "octo/pose_command", pose),
    "twist": CommandMode(TwistStamped, "octo/twist_command", twist),
}
"""Command modes by the value of the parameter `command_mode`."""
