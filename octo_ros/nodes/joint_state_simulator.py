"""joint_state_simulator: joint states of an arm that follows the safe commands; no hardware, no physics."""

from __future__ import annotations

import sys

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import JointState

from octo_ros.errors import ParameterError
from octo_ros.nodes import spin
from octo_ros.nodes.commands import MODES
from octo_ros.nodes.followed_commands import check_followed, followed_commands, positions
from octo_ros.nodes.messages import time_message
from octo_ros.nodes.parameters import Parameter, declare, read
from octo_ros.safety.robot import Robot
from octo_ros.sim.joint_follower import JointFollower
from octo_ros.types import NANOSECONDS

PARAMETERS = (
    Parameter("robot_description", "", "the robot's URDF as text, with its octo_safety element"),
    Parameter("urdf_file", "", "path of the URDF, where robot_description is empty"),
    Parameter("command_mode", "joint_trajectory", "which command topic is followed", choices=tuple(MODES)),
    Parameter("rate_hz", 100.0, "rate of the joint states [Hz]", 1.0, 1000.0),
    Parameter("time_constant_s", 0.02, "lag of the joints behind their command [s]", 0.0, 10.0),
    Parameter("initial_positions", [float("nan")], "joints at the start [rad or m]; [nan]: the URDF's home"),
)


class JointStateSimulator(Node):
    """Joints that follow commanded positions within the URDF's velocity limits."""

    def __init__(self) -> None:
        super().__init__("joint_state_simulator")
        declare(self, PARAMETERS)
        values = read(self, PARAMETERS)
        check_followed(values["command_mode"])
        self._robot = _robot(values)
        self._follower = JointFollower(
            _initial_positions(values["initial_positions"], self._robot),
            self._robot.velocity,
            values["time_constant_s"],
        )
        self._last_ns = self._now_ns()
        self._states = self.create_publisher(JointState, "joint_states", 10)
        self._command = followed_commands(self, values["command_mode"])
        self.create_timer(1.0 / values["rate_hz"], self._advance)
        self.get_logger().info(f"simulating {len(self._robot.joint_names)} joints of {self._robot.source}")

    def _advance(self) -> None:
        now_ns = self._now_ns()
        command = self._command.take()
        if command is not None and not self._follower.follow(positions(command, self._robot.joint_names)):
            self.get_logger().error(f"command ignored: {command}")
        self._follower.advance((now_ns - self._last_ns) / NANOSECONDS)
        self._last_ns = now_ns
        message = JointState(name=list(self._robot.joint_names))
        message.header.stamp = time_message(now_ns)
        message.position = self._follower.positions.tolist()
        message.velocity = self._follower.velocities.tolist()
        self._states.publish(message)

    def _now_ns(self) -> int:
        return self.get_clock().now().nanoseconds


def _robot(values: dict) -> Robot:
    if values["robot_description"]:
        source = "parameter robot_description"
        return Robot.from_urdf(values["robot_description"], source=source, collision=False)
    if values["urdf_file"]:
        return Robot.from_file(values["urdf_file"], collision=False)
    raise ParameterError("no URDF: expected the parameter robot_description or urdf_file")


def _initial_positions(given: list[float], robot: Robot) -> np.ndarray:
    """The positions given, else the URDF's home, else the middle of each joint's range."""
    if not np.isnan(given).all():
        return np.array(given)
    return robot.starting_joints()


def main(args: list[str] | None = None) -> int:
    """Runs the node until a signal; returns the exit status."""
    return spin.run(JointStateSimulator, args)


if __name__ == "__main__":
    sys.exit(main())
