"""How fast to go towards something so as to arrive there at rest."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from octo_ros.safety.motion import Instant

GENTLE = 0.5
"""Share of the acceleration with which a target is approached, so that bounded jerk does not overshoot."""

SHORTEST_S = 0.01
"""Steps by which a velocity is planned are no shorter; a shorter step takes its share of one [s].

Planned in ever shorter steps, velocity and acceleration would chase each other around the target.
"""


def largest(vector: np.ndarray) -> float:
    """Size of the largest component."""
    return float(np.abs(vector).max())


def first_step(distance: float, rate: float, dt: float) -> float:
    """Longest first step of `distance` whose followers can each be shorter by `rate` dt^2.

    Steps s, s - r, s - 2 r, ... with r = rate dt^2 end exactly there: with n + 1 of them,
    distance = (n + 1) s - r n (n + 1) / 2. Within r it is one step. For a position, `rate` is the
    acceleration; for a velocity, the jerk.
    """
    shorter = rate * dt * dt
    if distance <= shorter:
        return distance
    count = math.floor(0.5 * (math.sqrt(1.0 + 8.0 * distance / shorter) - 1.0))
    return distance / (count + 1) + 0.5 * shorter * count


def paced(displacement: np.ndarray, rate: float, dt: float) -> np.ndarray:
    """`displacement` (n,) scaled as a whole to the first step of its largest component."""
    size = largest(displacement)
    return displacement if size == 0.0 else displacement * (first_step(size, rate, dt) / size)


def braked(velocity: np.ndarray, acceleration: float, dt: float) -> np.ndarray:
    """`velocity` (n,) after all joints braked together for `dt`."""
    stopping_time = largest(velocity) / acceleration
    return velocity * (1.0 - dt / stopping_time) if stopping_time > dt else np.zeros_like(velocity)


@dataclass(frozen=True)
class Pace:
    """How fast joint velocities may change.

    Attributes:
        acceleration: of each joint [rad/s^2 or m/s^2].
        jerk: of each joint [rad/s^3 or m/s^3].
    """

    acceleration: float
    jerk: float

    def approach(self, displacement: np.ndarray, dt: float) -> np.ndarray:
        """(n,) velocity of the first of the steps of `dt` that cover `displacement` (n,) and end at rest."""
        dt = max(dt, SHORTEST_S)
        steep = self.jerk * dt >= 2.0 * self.acceleration  # one step reaches any acceleration
        return paced(displacement, self.acceleration if steep else GENTLE * self.acceleration, dt) / dt

    def accelerated(self, now: Instant, wish: np.ndarray, dt: float) -> np.ndarray:
        """(n,) how far towards the velocity `wish` (n,) the joints may come in `dt`."""
        change = wish - now.velocity
        if now.acceleration is not None:
            whole = max(dt, SHORTEST_S)
            change = paced(change, self.jerk, whole) * (dt / whole)
            swing = self.jerk * dt * dt
            change = np.clip(change, now.acceleration * dt - swing, now.acceleration * dt + swing)
        size, allowed = largest(change), self.acceleration * dt
        return now.velocity + (change if size <= allowed else change * (allowed / size))

    def creeping(self, wish: np.ndarray, dt: float) -> np.ndarray:
        """`wish` (n,) slow enough that the next step can stop it: outside, a step back must be possible."""
        size, slow = largest(wish), 0.5 * self.acceleration * dt
        return wish if size <= slow else wish * (slow / size)
