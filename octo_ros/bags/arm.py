"""Where the joints are during a replay: as the bag recorded them, or following the filter's commands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from octo_ros.bags.reader import Bag
from octo_ros.errors import BagError, ParameterError
from octo_ros.safety.decision import Decision
from octo_ros.safety.robot import Robot
from octo_ros.sim.joint_follower import JointFollower
from octo_ros.types import NANOSECONDS


class Arm(Protocol):
    """A source of joint states."""

    def start(self, now_ns: int) -> None:
        """An episode begins."""

    def follow(self, decision: Decision) -> None:
        """The filter sent a command."""

    def sense(self, now_ns: int) -> tuple[list[str], list[float], int] | None:
        """Joint names, positions and stamp [ns] of the newest joint state, None before the first."""


class FollowingArm:
    """An ideal arm: at home when an episode begins, then where it is sent, within its velocity limits."""

    def __init__(self, robot: Robot) -> None:
        self._robot = robot
        self._home = robot.starting_joints()
        self._now_ns = 0
        self.start(0)

    def start(self, now_ns: int) -> None:
        self._joints = JointFollower(self._home, self._robot.velocity, time_constant_s=0.0)
        self._now_ns = now_ns

    def follow(self, decision: Decision) -> None:
        self._joints.follow(decision.joint_positions)

    def sense(self, now_ns: int) -> tuple[list[str], list[float], int]:
        self._joints.advance((now_ns - self._now_ns) / NANOSECONDS)
        self._now_ns = now_ns
        return list(self._robot.joint_names), self._joints.positions.tolist(), now_ns


class RecordedArm:
    """The arm of the recording, which does not follow the replay's commands."""

    def __init__(self) -> None:
        self._newest: tuple[list[str], list[float], int] | None = None

    def start(self, now_ns: int) -> None:
        pass

    def follow(self, decision: Decision) -> None:
        pass

    def take(self, message: Any, stamp_ns: int) -> None:
        """A recorded sensor_msgs/JointState."""
        self._newest = list(message.name), np.asarray(message.position).tolist(), stamp_ns

    def sense(self, now_ns: int) -> tuple[list[str], list[float], int] | None:
        return self._newest


ARMS = ("auto", "bag", "follower")
"""Which arm: the bag's if it has this robot's joints, the bag's, or one that follows the commands."""


@dataclass(frozen=True)
class ArmChoice:
    """An arm, what it is ("bag" or "follower"), and what must be said about the choice ("" for nothing)."""

    arm: FollowingArm | RecordedArm
    name: str
    warning: str = ""


def choose_arm(bag: Bag, topic: str | None, robot: Robot, joints: str, mapped: bool) -> ArmChoice:
    """The arm of a replay.

    Args:
        topic: the bag's joint states, None where it has none.
        joints: one of `ARMS`.
        mapped: whether the user named the topic; then it must fit.

    Raises:
        ParameterError: `joints` is none of `ARMS`.
        BagError: the bag's joint states are asked for, and missing or another robot's.
    """
    if joints not in ARMS:
        raise ParameterError(f"joints: expected one of {', '.join(ARMS)}, got {joints!r}")
    if joints == "follower" or (joints == "auto" and topic is None):
        return ArmChoice(FollowingArm(robot), "follower")
    if topic is None:
        raise BagError(
            f"{bag.path}: no joint states, which joints='bag' needs; map them with joint_states=/topic"
        )
    names = _first_names(bag, topic)
    missing = [name for name in robot.joint_names if name not in names]
    if not missing:
        return ArmChoice(RecordedArm(), "bag")
    problem = f"{topic}: expected joints {', '.join(robot.joint_names)}, got {', '.join(names) or 'none'}"
    if mapped or joints == "bag":
        raise BagError(f"{bag.path}: {problem}")
    return ArmChoice(
        FollowingArm(robot),
        "follower",
        f"{problem}: another robot's; an ideal arm that follows the commands is used",
    )


def _first_names(bag: Bag, topic: str) -> list[str]:
    """Joint names of the first message that can be read."""
    for record in bag.records([topic]):
        try:
            return list(bag.decode(record).name)
        except BagError:
            continue
    return []
