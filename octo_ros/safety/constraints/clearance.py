"""Distance of the arm's links to each other and to declared obstacles."""

from __future__ import annotations

import numpy as np

from octo_ros.safety.bodies.collision import TOGETHER
from octo_ros.safety.constraints.base import Constraint, path_violation
from octo_ros.safety.decision import Refusal
from octo_ros.safety.motion import BRANCH, Motion, Sampling
from octo_ros.safety.options import FilterOptions
from octo_ros.safety.robot import Robot

SPARE = 5e-4
"""Kept beside the clearance at samples of the braking, for what lies between them [m]."""

UNCHANGED = 1e-12
"""A pair whose distance can change by no more is not moved against each other [m]."""


class Clearance(Constraint):
    """Every checked pair of bodies keeps a distance; a pair that is closer comes no closer.

    A pair that is never as far apart as is asked for keeps `TOGETHER`.

    A distance changes by no more than the pair's Lipschitz bound times the way of the joints.
    Distances measured once therefore clear all motions near them, and most steps measure none.
    """

    def __init__(self, robot: Robot, options: FilterOptions) -> None:
        self._clearances = robot.clearances
        asked = options.min_clearance
        self.minimum = np.where(self._clearances.widest > asked, asked, min(asked, TOGETHER))  # (pairs,)
        self._known_at: np.ndarray | None = None  # (n,) joints at which all distances were measured
        self._known = np.zeros(0)  # (pairs,)

    def allow(self, motion: Motion) -> tuple[float, Refusal | None]:
        if not self._clearances.names:
            return 1.0, None
        near = self._near(motion)
        if near.size and not np.array_equal(self._known_at, motion.start):
            self._measure(motion.start)
            near = self._near(motion)
        if not near.size:
            return 1.0, None
        step, samples = motion.step_samples(Sampling.COARSE), motion.joints(Sampling.COARSE)
        distances = np.array([self._clearances.distances(joints, near) for joints in samples])
        line = len(distances) - BRANCH
        wanted = np.zeros(len(distances))
        wanted[step + 1 : line] = SPARE
        found = path_violation(distances - self.minimum[near], wanted, step)
        if found is None:
            return 1.0, None
        sample, column = found
        fraction = (sample - 1) / (line - 1) if sample < line else 0.5
        return fraction, self._refusal(int(near[column]), distances[sample][column])

    def outside(self, joints: np.ndarray) -> list[Refusal]:
        if not self._clearances.names:
            return []
        distances = self._clearances.distances(joints)
        close = np.flatnonzero(distances < self.minimum)
        return [self._refusal(int(pair), distances[pair]) for pair in close]

    def is_outside(self, joints: np.ndarray) -> bool:
        if not self._clearances.names:
            return False
        if not (self._lowest(joints[None]) < self.minimum).any():
            return False
        self._measure(joints)
        return bool((self._known < self.minimum).any())

    def _lowest(self, joints: np.ndarray) -> np.ndarray:
        """(pairs,) least that each distance can be at any of `joints` (k, n), by what is known."""
        if self._known_at is None:
            self._measure(joints[0])
        way = np.abs(joints - self._known_at).max(axis=0)
        return self._known - self._clearances.lipschitz @ way

    def _measure(self, joints: np.ndarray) -> None:
        self._known_at, self._known = joints.copy(), self._clearances.distances(joints)

    def _near(self, motion: Motion) -> np.ndarray:
        """Pairs that may come too close during the motion or the braking, by what is known."""
        ends = np.stack((motion.start, motion.stop, motion.lone_stop))
        changes = self._clearances.lipschitz @ np.abs(ends - motion.start).max(axis=0) > UNCHANGED
        return np.flatnonzero(changes & (self._lowest(ends) < self.minimum + SPARE))

    def _refusal(self, pair: int, distance: float) -> Refusal:
        return Refusal(f"clearance {self._clearances.names[pair]}", distance, self.minimum[pair], "m")
