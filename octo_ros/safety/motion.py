"""A candidate motion: a straight line in joint space, covered in a given time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from octo_ros.safety.robot import Robot

SEGMENTS = 50
"""Pieces into which a motion is cut to look at the tool between its ends."""


@dataclass(frozen=True)
class Motion:
    """Joints that move from `start` by `delta` at constant velocity in `dt`.

    Attributes:
        robot: whose joints they are.
        start: (n,) [rad or m].
        delta: (n,) [rad or m].
        dt: duration [s], above zero.
    """

    robot: Robot
    start: np.ndarray
    delta: np.ndarray
    dt: float

    @cached_property
    def tool_path(self) -> tuple[np.ndarray, np.ndarray]:
        """Tool positions (SEGMENTS + 1, 3) [m] and rotations (SEGMENTS + 1, 3, 3), ends included."""
        return self.robot.tool_path(self.start, self.delta, SEGMENTS)

    @property
    def end(self) -> np.ndarray:
        """(n,) where it ends [rad or m]."""
        return self.start + self.delta

    def rounded(self) -> Motion:
        """The motion to exactly the numbers that will be emitted."""
        return Motion(self.robot, self.start, self.end - self.start, self.dt)

    def scaled(self, fraction: float) -> Motion:
        """The first `fraction` of the way, in the same time."""
        return Motion(self.robot, self.start, self.delta * fraction, self.dt)
