"""Ways for the joints where the straight way to a pose brings next to nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from octo_ros.safety.compose import Pose, moved, pose_error
from octo_ros.safety.inverse_kinematics import DAMPING, nudges, size, solve
from octo_ros.safety.motion import Instant
from octo_ros.safety.pacing import largest
from octo_ros.safety.tool_servo import CLEARANCE, STILL, UNNOTICED, ToolServo

STUCK = 0.1
"""A motion that brings less than this share of the way calls for a detour."""

LOST = 0.3
"""A pose that is further away than this share of the way when the joints are there calls for one as well."""

DETOUR = 0.2
"""How far inwards a path along a wall may be drawn, as a share of the way that is asked for."""


def find_detour(servo: ToolServo, now: Instant, target: Pose, dt: float) -> np.ndarray | None:
    """Joints (n,) to go to where the straight way to `target` brings next to nothing, None where it does.

    In a singular posture (a stretched elbow) no small motion goes one way; a nudge along a
    singular direction, both ways, leads to a posture from where the target can be reached.
    Beside a wall the path may bend through it: a target drawn a little inwards goes around, a
    shorter way bends less, and an undamped step is slow but straight.
    """
    start = now.joints
    asked = size(servo.missing(start, target))
    if asked <= UNNOTICED:
        return None
    low, high = servo.position.room(start)
    straight = solve(servo.robot, start, target, low, high).delta
    left = size(servo.missing(start + straight, target))
    if left > LOST * asked:
        goal = _unfolded(servo, now, target, low, high, 0.5 * left, dt)
        if goal is not None:
            return goal
    shortest = size(servo.missing(servo.towards(now, straight, dt)[0].end, target))
    if shortest < (1.0 - STUCK) * asked:
        return None
    best = None
    for delta in _ways(servo, start, target, asked, low, high):
        if size(servo.missing(start + delta, target)) < shortest:
            end = servo.towards(now, delta, dt)[0].end
            missing = size(servo.missing(end, target))
            if missing < shortest:
                best, shortest = end, missing
    return best


def _unfolded(
    servo: ToolServo, now: Instant, target: Pose, low: np.ndarray, high: np.ndarray, enough: float, dt: float
) -> np.ndarray | None:
    """Joints (n,) out of a singular posture that come nearest to `target`, if they come near `enough`."""
    best = None
    for nudge in nudges(servo.robot, now.joints, low, high):
        delta = solve(servo.robot, now.joints, target, low, high, first=nudge).delta
        left = size(servo.missing(now.joints + delta, target))
        left *= 1.0 if delta @ now.velocity < 0.0 else 0.5  # going on is better than turning round
        if left < enough and largest(servo.towards(now, delta, dt, dt)[0].velocity) > STILL:
            best, enough = now.joints + delta, left
    return best


def _ways(
    servo: ToolServo, start: np.ndarray, target: Pose, asked: float, low: np.ndarray, high: np.ndarray
) -> Iterator[np.ndarray]:
    """Displacements (n,) beside the straight one."""
    here = Pose(*servo.robot.tool_pose(start))
    pull = DETOUR * asked
    low_wall = np.minimum(servo.box.minimum + CLEARANCE, here.position + pull)
    high_wall = np.maximum(servo.box.maximum - CLEARANCE, here.position - pull)
    way = pose_error(here, target)
    for share, damping in ((1.0, DAMPING), (0.3, DAMPING), (1.0, 0.0)):
        goal = moved(here, share * way, "base")
        goal = Pose(np.clip(goal.position, low_wall, high_wall), goal.rotation)
        yield solve(servo.robot, start, goal, low, high, damping).delta
    yield from nudges(servo.robot, start, low, high)
