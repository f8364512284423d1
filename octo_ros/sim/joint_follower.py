"""Joints that follow commanded positions as a position-controlled arm does: late, and at a limited speed."""

from __future__ import annotations

import math

import numpy as np

from octo_ros.errors import ParameterError


class JointFollower:
    """A first-order lag towards a target, limited in speed, joint by joint.

    Args:
        positions: (n,) where the joints are at the start [rad or m].
        velocity_limits: (n,) greatest speed of each joint, positive [rad/s or m/s].
        time_constant_s: time to cover 63 % of a small step [s]; 0 follows at once, within the speed limits.

    Attributes:
        positions: (n,) where the joints are [rad or m].
        velocities: (n,) mean velocity over the last `advance` [rad/s or m/s].

    Raises:
        ParameterError: lengths that differ, or values that are not finite and positive.
    """

    def __init__(
        self, positions: np.ndarray, velocity_limits: np.ndarray, time_constant_s: float = 0.02
    ) -> None:
        self.positions = np.array(positions, dtype=np.float64)
        self._limits = np.array(velocity_limits, dtype=np.float64)
        if self.positions.ndim != 1 or self.positions.shape != self._limits.shape:
            raise ParameterError(
                f"joint follower: expected as many positions as velocity limits, "
                f"got shapes {self.positions.shape} and {self._limits.shape}"
            )
        if not np.isfinite(self.positions).all():
            raise ParameterError(f"joint follower: positions: expected finite values, got {self.positions}")
        if not (np.isfinite(self._limits).all() and (self._limits > 0.0).all()):
            raise ParameterError(
                f"joint follower: velocity limits: expected positive values, got {self._limits}"
            )
        if not (math.isfinite(time_constant_s) and time_constant_s >= 0.0):
            raise ParameterError(
                f"joint follower: time_constant_s: expected 0 or more, got {time_constant_s}"
            )
        self._time_constant_s = time_constant_s
        self._target = self.positions.copy()
        self.velocities = np.zeros_like(self.positions)

    def follow(self, target: np.ndarray) -> bool:
        """Takes a new target, (n,) [rad or m]; returns False and keeps the old one if it is malformed."""
        target = np.asarray(target, dtype=np.float64)
        if target.shape != self.positions.shape or not np.isfinite(target).all():
            return False
        self._target = target.copy()
        return True

    def advance(self, dt: float) -> None:
        """Moves the joints by `dt` [s]; a step of 0 or less moves nothing."""
        if not dt > 0.0:
            self.velocities = np.zeros_like(self.positions)
            return
        share = 1.0 if self._time_constant_s == 0.0 else 1.0 - math.exp(-dt / self._time_constant_s)
        step = np.clip((self._target - self.positions) * share, -self._limits * dt, self._limits * dt)
        self.positions = self.positions + step
        self.velocities = step / dt
