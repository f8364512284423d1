"""Constraints of single joints: velocity, and position with the way to brake before it."""

from __future__ import annotations

import numpy as np

from octo_ros.errors import ParameterError
from octo_ros.safety.constraints.base import SLACK, Constraint, fraction_within
from octo_ros.safety.decision import Refusal
from octo_ros.safety.motion import Motion
from octo_ros.safety.options import FilterOptions
from octo_ros.safety.robot import Robot

SPARE = 1e-9
"""Kept from each joint position bound, so that rounding never crosses it [rad or m]."""


class JointVelocity(Constraint):
    """|velocity| of each joint below a share of the URDF's."""

    def __init__(self, robot: Robot, options: FilterOptions) -> None:
        self.names, self.units = robot.joint_names, robot.units
        self.bound = robot.velocity * options.velocity_scale  # (n,)

    def allow(self, motion: Motion) -> tuple[float, Refusal | None]:
        speed = np.abs(motion.velocity)
        worst = int(np.argmax(speed / self.bound))
        fraction = fraction_within(self.bound[worst] * (1.0 - SLACK), speed[worst])
        if fraction == 1.0:
            return 1.0, None
        unit = f"{self.units[worst]}/s"
        return fraction, Refusal(f"joint velocity {self.names[worst]}", speed[worst], self.bound[worst], unit)


class JointPosition(Constraint):
    """Each joint a margin away from its limits, and slow enough to brake before it gets there.

    v <= sqrt(2 a d) at a distance d from a bound is the speed from which a joint can brake with
    a. Where all joints brake together, so that they stay on a straight line, a joint that is
    not the fastest brakes more gently, and needs v <= 2 d / T with T = max |v| / a.
    """

    def __init__(self, robot: Robot, options: FilterOptions) -> None:
        self.names, self.units = robot.joint_names, robot.units
        self.lower = robot.lower + options.joint_margin  # (n,)
        self.upper = robot.upper - options.joint_margin  # (n,)
        for name, low, high in zip(self.names, self.lower, self.upper, strict=True):
            if not low + 4 * SPARE < high:
                raise ParameterError(
                    f"joint_margin: {options.joint_margin:g} leaves nothing of the range of joint {name}"
                )

    def room(self, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Lowest (n,) and highest (n,) displacement of each joint from `start`; zero is between."""
        return (
            np.minimum(self.lower + SPARE - start, 0.0),
            np.maximum(self.upper - SPARE - start, 0.0),
        )

    def allow(self, motion: Motion) -> tuple[float, Refusal | None]:
        low, high = self.room(motion.start)
        whole = motion.stop - motion.start
        room = np.where(whole >= 0.0, high, -low)
        excess = np.abs(whole) - room
        worst = int(np.argmax(excess))
        if excess[worst] <= 1e-3 * SPARE:
            return 1.0, None
        fraction = float(np.min(room[excess > 0.0] / np.abs(whole[excess > 0.0])))
        return fraction, self._refusal(worst, motion)

    def refusal(self, joint: int, end: float) -> Refusal:
        """`joint` was asked to go to `end` [rad or m]."""
        bound = self.upper[joint] if end > self.upper[joint] - 2 * SPARE else self.lower[joint]
        return Refusal(f"joint position {self.names[joint]}", end, bound, self.units[joint])

    def outside(self, joints: np.ndarray) -> list[Refusal]:
        beyond = np.flatnonzero((joints < self.lower) | (joints > self.upper))
        return [self.refusal(int(joint), joints[joint]) for joint in beyond]

    def _refusal(self, joint: int, motion: Motion) -> Refusal:
        end, speed = motion.end[joint], motion.velocity[joint]
        if end > self.upper[joint] - SPARE or end < self.lower[joint] + SPARE:
            return self.refusal(joint, end)
        distance = self.upper[joint] - end if speed > 0.0 else end - self.lower[joint]
        allowed = 2.0 * distance / motion.stopping_time
        name, unit = f"braking distance {self.names[joint]}", f"{self.units[joint]}/s"
        return Refusal(name, abs(speed), allowed, unit)
