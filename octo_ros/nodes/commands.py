"""The safe command in the message that a controller takes; one table entry per command mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from geometry_msgs.msg import PoseStamped, TwistStamped
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from octo_ros.nodes.messages import duration_message, time_message
from octo_ros.safety.decision import Decision


@dataclass(frozen=True)
class CommandContext:
    """What every command message needs beside the decision.

    Attributes:
        joint_names: the robot's joints, in the decision's order.
        frame: the workspace frame, in which poses and twists are.
        hold_s: time in which a hold is to be reached [s].
    """

    joint_names: Sequence[str]
    frame: str
    hold_s: float


@dataclass(frozen=True)
class CommandMode:
    """One way to command a robot.

    Attributes:
        kind: type of the message.
        topic: relative topic it goes to.
        build: makes the message from a decision.
        hold_always: whether a hold must be repeated without pause, because a controller that hears
            nothing goes on as commanded last (velocities); positions hold by themselves.
    """

    kind: type
    topic: str
    build: Callable[[Decision, CommandContext], Any]
    hold_always: bool = False


def joint_trajectory(decision: Decision, context: CommandContext) -> JointTrajectory:
    """One point, to be reached in the step's duration, starting on arrival (stamp 0).

    It has no velocities: joint_trajectory_controller refuses a last point that moves.
    """
    point = JointTrajectoryPoint(positions=decision.joint_positions.tolist())
    point.time_from_start = duration_message(decision.dt or context.hold_s)
    return JointTrajectory(joint_names=list(context.joint_names), points=[point])


def joint_position(decision: Decision, _: CommandContext) -> Float64MultiArray:
    """Joint positions [rad or m] for a forward position controller, in the robot's joint order."""
    return Float64MultiArray(data=decision.joint_positions.tolist())


def pose(decision: Decision, context: CommandContext) -> PoseStamped:
    """Pose of the tip at the commanded joints, in the workspace frame."""
    message = PoseStamped()
    message.header.stamp = time_message(decision.stamp_ns)
    message.header.frame_id = context.frame
    position, orientation = message.pose.position, message.pose.orientation
    position.x, position.y, position.z = decision.tool_position.tolist()
    orientation.x, orientation.y, orientation.z, orientation.w = decision.tool_quaternion.tolist()
    return message


def twist(decision: Decision, context: CommandContext) -> TwistStamped:
    """Velocity of the tip [m/s, rad/s], in the workspace frame; zero in a hold."""
    message = TwistStamped()
    message.header.stamp = time_message(decision.stamp_ns)
    message.header.frame_id = context.frame
    linear, angular = message.twist.linear, message.twist.angular
    linear.x, linear.y, linear.z, angular.x, angular.y, angular.z = decision.tool_twist.tolist()
    return message


MODES = {
    "joint_trajectory": CommandMode(JointTrajectory, "octo/joint_trajectory", joint_trajectory),
    "joint_position": CommandMode(Float64MultiArray, "octo/joint_position_command", joint_position),
    "pose": CommandMode(PoseStamped, "octo/pose_command", pose),
    "twist": CommandMode(TwistStamped, "octo/twist_command", twist, hold_always=True),
}
"""Command modes by the value of the parameter `command_mode`."""
