"""Joint displacement that takes the tool to a pose, by damped least squares within joint intervals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from octo_ros.safety.compose import Pose, pose_error
from octo_ros.safety.robot import Robot

ITERATIONS = 8
CONVERGED = 1e-7  # [m, rad]
STALLED = 0.9  # share of the error before, above which another step is not worth its time
NOTHING = 1e-4  # singular value that is taken for none even undamped [m/rad]
STILL = 1e-6  # a step shorter than this is the last [rad or m]
WEIGHT = np.array([1.0, 1.0, 1.0, 0.3, 0.3, 0.3])  # a radian counts as 0.3 m, about the size of a wrist
DAMPED_BELOW = 0.05  # singular value below which its direction is damped [m/rad]
DAMPING = 0.1  # at a singular value of zero [m/rad]
TRUST = 0.3  # longest step, over which the Jacobian may say something [rad or m]
FAR = 0.3  # further than any single step [rad or m]
NUDGE = 0.05  # displacement that leaves a singular posture [rad or m]


@dataclass(frozen=True)
class Solution:
    """What the solver found.

    Attributes:
        delta: (n,) joint displacement, inside the intervals [rad or m].
        clamped: index of each joint that stopped at the end of its interval, and where the
            unbounded solution would have taken it (displacement).
    """

    delta: np.ndarray
    clamped: dict[int, float]


def solve(
    robot: Robot,
    start: np.ndarray,
    target: Pose,
    low: np.ndarray,
    high: np.ndarray,
    damping: float = DAMPING,
    tolerance: float = CONVERGED,
    first: np.ndarray | None = None,
) -> Solution:
    """Newton steps from `start` (n,) towards `target`.

    `low` and `high` (n,), (n,) bound each joint's displacement; a joint that meets its bound
    stays there and the others are solved again. The steps end when the pose is met (after the
    first, within `tolerance` [m, rad]), when they become negligible or no better, or when a joint
    has moved further than `FAR`, since the motion will be shortened then and only its direction
    counts. `damping` is that of a singular value of zero [m/rad]. The steps may begin with a
    displacement, `first` (n,); they then go as far as they need, and are damped so as to be no
    longer than `TRUST`.
    """
    delta = np.zeros_like(start) if first is None else first
    clamped, free = {}, np.ones(len(start), dtype=bool)
    before = np.inf
    for iteration in range(ITERATIONS):
        error = pose_error(Pose(*robot.tool_pose(start + delta)), target)
        left = float(np.abs(error).max())
        if left < (tolerance if iteration else CONVERGED) or (first is None and left > STALLED * before):
            break
        before = left
        if first is not None:
            damping = left / (2.0 * TRUST)  # the longest damped step is error / (2 damping)
        jacobian = robot.jacobian(start + delta)
        step, stopped = bounded_step(jacobian, error, low - delta, high - delta, free, damping)
        clamped.update({joint: float(wish + delta[joint]) for joint, wish in stopped.items()})
        free[list(stopped)] = False
        delta = np.clip(delta + step, low, high)
        if (first is None and np.any(np.abs(delta) > FAR)) or np.max(np.abs(step)) < STILL:
            break
    return Solution(delta, clamped)


def bounded_step(
    jacobian: np.ndarray,
    error: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    free: np.ndarray,
    damping: float,
) -> tuple[np.ndarray, dict[int, float]]:
    """(n,) damped least-squares step for `error` (6,) with each joint between `low` and `high` (n,).

    Only the joints that are `free` (n,) bool move. Of those, joints that would leave their bounds
    are stopped there one by one, the furthest beyond first, and the rest solved again. Also
    returns the stopped joints and where the solution would have taken them.
    """
    step, stopped, free = np.zeros(len(low)), {}, free.copy()
    while free.any():
        rest = error - jacobian[:, ~free] @ step[~free]
        step[free] = damped_step(jacobian[:, free], rest, damping)
        excess = np.where(free, np.maximum(step - high, low - step), 0.0)
        worst = int(np.argmax(excess))
        if excess[worst] <= 0.0:
            break
        stopped[worst] = float(step[worst])
        step[worst] = np.clip(step[worst], low[worst], high[worst])
        free[worst] = False
    return step, stopped


def nudges(robot: Robot, start: np.ndarray, low: np.ndarray, high: np.ndarray) -> Iterator[np.ndarray]:
    """Small displacements (n,) out of a singular posture, both ways along each singular direction.

    There (a stretched elbow) no joint velocity moves the tool one way, but the curvature of a
    motion along a singular direction does.
    """
    _, values, right = np.linalg.svd(robot.jacobian(start) * WEIGHT[:, None])
    values = np.concatenate((values, np.zeros(len(right) - len(values))))
    for direction in right[values < DAMPED_BELOW]:
        yield np.clip(NUDGE * direction, low, high)
        yield np.clip(-NUDGE * direction, low, high)


def damped_step(jacobian: np.ndarray, error: np.ndarray, damping: float = DAMPING) -> np.ndarray:
    """(n,) least-squares step for `error` (6,), smallest of all; only near-singular directions are damped."""
    left, values, right = np.linalg.svd(jacobian * WEIGHT[:, None], full_matrices=False)
    near = np.clip(1.0 - (values / DAMPED_BELOW) ** 2, 0.0, 1.0)
    gains = values / np.maximum(values**2 + near * damping**2, NOTHING**2)
    return right.T @ (gains * (left.T @ (error * WEIGHT)))


def size(displacement: np.ndarray) -> float:
    """Weighted length of a tool displacement (6,) [m]."""
    return float(np.linalg.norm(displacement * WEIGHT))
