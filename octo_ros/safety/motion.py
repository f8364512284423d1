"""A candidate motion: a straight line in joint space, covered in a given time, and the braking after it.

Every command is such a motion from the last one, so joint velocities are constant within a
step and change between steps, by at most acceleration times dt. From velocity v the joints can
brake together along the same straight line: they scale their velocity by 1 - dt / T a step,
with T = max |v| / acceleration, and stop no further than v T / 2 away, however time is cut into
steps. A motion whose line to that stop keeps a constraint can therefore always be ended within
it, whatever comes next.

A joint that brakes by itself, as hard as it may, stops at v |v| / (2 acceleration) instead. The
joints' way there is looked at as well, since a controller may brake so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

import numpy as np

from octo_ros.safety.robot import Robot


class Sampling(Enum):
    """How closely a motion is looked at: longest piece [s], fewest and most of a step, and of braking."""

    COARSE = (0.02, 1, 50, 2)
    FINE = (0.002, 4, 50, 4)


BRANCH = 2
"""Samples on the way on which each joint brakes by itself; they come last."""


@dataclass(frozen=True)
class ToolPath:
    """The tool along a motion.

    Attributes:
        positions: (k, 3) [m], workspace frame; from the start to the stop, then the other stop.
        rotations: (k, 3, 3).
        times: (k - 1 - BRANCH,) duration of each piece of the line at the step's velocity [s].
        shares: (k - 1 - BRANCH,) share of the step's joint velocity left at the beginning of each piece.
    """

    positions: np.ndarray
    rotations: np.ndarray
    times: np.ndarray
    shares: np.ndarray

    def speeds(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean speed [m/s] and rotation speed [rad/s] of each piece, at the step's joint velocity."""
        steps = self.positions[1:-BRANCH] - self.positions[: -BRANCH - 1]
        rotations = self.rotations[:-BRANCH]
        turns = np.einsum("kji,kjl->kil", rotations[:-1], rotations[1:])
        # Sine of each small angle, from the antisymmetric part: exact where the trace loses digits.
        sine = 0.5 * np.sqrt(
            (turns[:, 2, 1] - turns[:, 1, 2]) ** 2
            + (turns[:, 0, 2] - turns[:, 2, 0]) ** 2
            + (turns[:, 1, 0] - turns[:, 0, 1]) ** 2
        )
        cosine = 0.5 * (turns[:, 0, 0] + turns[:, 1, 1] + turns[:, 2, 2] - 1.0)
        return np.sqrt(np.einsum("ki,ki->k", steps, steps)) / self.times, np.arctan2(
            sine, cosine
        ) / self.times


@dataclass(frozen=True)
class Instant:
    """The commanded joints between two steps.

    Attributes:
        joints: (n,) [rad or m].
        velocity: (n,) of the step that led there [rad/s or m/s].
        acceleration: (n,) by which that changed, or None where the jerk does not matter.
    """

    joints: np.ndarray
    velocity: np.ndarray
    acceleration: np.ndarray | None

    @classmethod
    def rest(cls, joints: np.ndarray) -> Instant:
        """At rest; any acceleration may follow."""
        return cls(joints, np.zeros_like(joints), None)


@dataclass(frozen=True)
class Motion:
    """Joints that move from `start` at constant velocity for `dt`, and may brake then.

    Attributes:
        robot: whose joints they are.
        start: (n,) [rad or m].
        velocity: (n,) [rad/s or m/s].
        dt: duration [s], above zero.
        acceleration: with which the fastest joint brakes [rad/s^2 or m/s^2].
    """

    robot: Robot
    start: np.ndarray
    velocity: np.ndarray
    dt: float
    acceleration: float

    @cached_property
    def end(self) -> np.ndarray:
        """(n,) where the step ends [rad or m]."""
        return self.start + self.velocity * self.dt

    @cached_property
    def stopping_time(self) -> float:
        """Time in which all joints brake together [s]."""
        return float(np.max(np.abs(self.velocity))) / self.acceleration

    @cached_property
    def stop(self) -> np.ndarray:
        """(n,) where the joints stop when they brake together from the end on [rad or m]."""
        return self.end + self.velocity * (0.5 * self.stopping_time)

    @cached_property
    def lone_stop(self) -> np.ndarray:
        """(n,) where each joint stops when it brakes by itself from the end on [rad or m]."""
        return self.end + self.velocity * np.abs(self.velocity) * (0.5 / self.acceleration)

    @cached_property
    def turning(self) -> float:
        """Sum of the turning joints' speeds: no link turns faster [rad/s]."""
        return float(np.abs(self.velocity) @ self.robot.revolute)

    @cached_property
    def bend(self) -> tuple[float, float]:
        """Bounds of the tool's acceleration [m/s^2] and turning acceleration [rad/s^2] at this velocity.

        The second derivative of a chain's tip by joints i <= j is no longer than the reach of j, and
        zero where i is prismatic; the axis of joint j turns with every revolute joint before it.
        """
        turning = self.turning
        return turning * float(np.abs(self.velocity) @ self.robot.reach), 0.5 * turning * turning

    def step_samples(self, sampling: Sampling) -> int:
        """Index of the sample at the end of the step."""
        longest, least, most, _ = sampling.value
        return min(max(math.ceil(self.dt / longest), least), most)

    def joints(self, sampling: Sampling) -> np.ndarray:
        """(k, n) joints at the samples: start to end, end to stop, then the two of the other way to brake."""
        return self._joints[sampling]

    def bulges(self, sampling: Sampling) -> np.ndarray:
        """(k,) how far a point of the arm can be from the chord between a sample and the one before [m]."""
        step, braking = self.step_samples(sampling), sampling.value[3]
        times = np.zeros(step + braking + 1 + BRANCH)
        times[: step + 1] = self.dt / step
        times[step + 1 :] = 0.5 * self.stopping_time / braking
        times[-BRANCH:] = 0.5 * self.stopping_time / BRANCH
        return self.bend[0] * times * times / 8.0

    def tool_path(self, sampling: Sampling) -> ToolPath:
        """The tool at the samples."""
        return self._tool_paths[sampling]

    def at(self, velocity: np.ndarray) -> Motion:
        """The motion with another velocity (n,)."""
        return Motion(self.robot, self.start, velocity, self.dt, self.acceleration)

    @cached_property
    def _joints(self) -> _Lazy:
        return _Lazy(self._sample_joints)

    @cached_property
    def _tool_paths(self) -> _Lazy:
        return _Lazy(self._sample_tool)

    def _sample_joints(self, sampling: Sampling) -> np.ndarray:
        step, braking = self.step_samples(sampling), sampling.value[3]
        times = np.empty(step + braking + 1)
        times[: step + 1] = np.arange(step + 1) * (self.dt / step)
        times[step:] = self.dt + np.arange(braking + 1) * (0.5 * self.stopping_time / braking)
        joints = np.empty((len(times) + BRANCH, len(self.start)))
        joints[:-BRANCH] = self.start + times[:, None] * self.velocity
        joints[step] = self.end
        joints[-2], joints[-1] = 0.5 * (self.end + self.lone_stop), self.lone_stop
        return joints

    def _sample_tool(self, sampling: Sampling) -> ToolPath:
        joints = self.joints(sampling)
        positions, rotations = self.robot.tool_poses(joints)
        step, braking = self.step_samples(sampling), sampling.value[3]
        times = np.full(step + braking, self.dt / step)
        times[step:] = 0.5 * self.stopping_time / braking
        shares = np.ones(step + braking)
        shares[step:] = np.sqrt(1.0 - np.arange(braking) / braking)
        return ToolPath(positions, rotations, times, shares)


class _Lazy(dict):
    """Values that are made when they are first asked for."""

    def __init__(self, make) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key):
        self[key] = value = self._make(key)
        return value
