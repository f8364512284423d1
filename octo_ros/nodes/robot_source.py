"""The robot of the safety filter node: its URDF from a parameter, a file or a topic."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rclpy.node import Node
from std_msgs.msg import String

from octo_ros.errors import RobotModelError
from octo_ros.nodes.newest import Newest
from octo_ros.nodes.qos import LATCHED
from octo_ros.safety.robot import Robot

TOPIC = "robot_description"


@dataclass(frozen=True)
class DescribedRobot:
    """A robot, its URDF's text, and whether that came from the topic, where it may change."""

    robot: Robot
    urdf: str
    from_topic: bool


def described_robot(node: Node, values: dict[str, Any]) -> DescribedRobot:
    """The robot of the parameter `robot_description`, of `urdf_file`, or of the topic: the first there is.

    Blocks for up to `robot_description_timeout_s` for the topic.

    Raises:
        RobotModelError: there is none, or it cannot be used.
    """
    collision = values["check_collisions"]
    text, file = values["robot_description"], values["urdf_file"]
    if not text and file:
        path = Path(file).expanduser()
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RobotModelError(f"urdf_file: cannot be read: {error}") from error
        return DescribedRobot(Robot.from_file(path, collision=collision), text, False)
    source = "parameter robot_description" if text else f"topic {TOPIC}"
    described = text or _on_topic(node, values["robot_description_timeout_s"])
    return DescribedRobot(Robot.from_urdf(described, source=source, collision=collision), described, not text)


def _on_topic(node: Node, timeout_s: float) -> str:
    subscription = Newest(node, String, TOPIC, LATCHED)
    try:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            taken = subscription.take()
            if taken is not None:
                return taken.data
            time.sleep(0.02)
    finally:
        subscription.destroy()
    raise RobotModelError(
        "no URDF: expected the parameter robot_description or urdf_file, or a latched message on the "
        f"topic {TOPIC}; got none within {timeout_s:g} s"
    )
