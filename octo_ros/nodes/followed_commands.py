"""Commands as a simulated arm follows them: joint positions, of whichever message names them."""

from __future__ import annotations

import numpy as np
from rclpy.node import Node
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from octo_ros.errors import ParameterError
from octo_ros.nodes.commands import MODES
from octo_ros.nodes.newest import Newest
from octo_ros.nodes.qos import RELIABLE

FOLLOWED = ("joint_trajectory", "joint_position")
"""Command modes that name joint positions; a pose or twist needs a robot's own controller."""


def check_followed(command_mode: str) -> None:
    """ParameterError for a command mode that is not one of `FOLLOWED`."""
    if command_mode not in FOLLOWED:
        raise ParameterError(
            f"command_mode: {command_mode!r} cannot be followed without a controller; "
            f"expected one of {', '.join(FOLLOWED)}"
        )


def followed_commands(node: Node, command_mode: str) -> Newest:
    """The commands of a mode that can be followed, for the newest of them."""
    mode = MODES[command_mode]
    return Newest(node, mode.kind, mode.topic, RELIABLE)


def positions(message: Float64MultiArray | JointTrajectory, names: tuple[str, ...]) -> np.ndarray:
    """(n,) commanded positions, or where a trajectory ends, in the robot's order [rad or m].

    NaN for a joint that a trajectory leaves out.
    """
    if isinstance(message, JointTrajectory):
        last = message.points[-1].positions if message.points else ()
        by_name = dict(zip(message.joint_names, last, strict=False))
        return np.array([by_name.get(name, np.nan) for name in names])
    return np.array(message.data, dtype=np.float64)
