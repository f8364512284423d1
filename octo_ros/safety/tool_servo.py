"""Moves the joints towards a target pose of the tool, and no further than every constraint allows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from octo_ros.safety.compose import Pose, moved, pose_error
from octo_ros.safety.constraints import (
    Clearance,
    Constraint,
    JointPosition,
    JointVelocity,
    LinkZone,
    ToolSpeed,
    WorkspaceBox,
)
from octo_ros.safety.constraints.base import SLACK
from octo_ros.safety.decision import Refusal
from octo_ros.safety.inverse_kinematics import DAMPING, ITERATIONS, Solution, nudges, size, solve
from octo_ros.safety.motion import Instant, Motion
from octo_ros.safety.options import FilterOptions
from octo_ros.safety.pacing import Pace, braked, largest
from octo_ros.safety.robot import Robot

CLEARANCE = 1e-3
"""How far inside the inset box a target is kept, so that a path along a wall may bend towards it [m]."""

UNNOTICED = 1e-6
"""A target moved by less than this into the box passed unchanged [m]."""

REACHED = (1e-4, 1e-3)
"""Distance [m] and angle [rad] within which a target counts as reached."""

LOOKAHEAD_S = 0.1
"""How far ahead a way is looked for where the next step has none [s]."""

STUCK = 0.1
"""A motion that brings less than this share of the way calls for a detour."""

LOST = 0.3
"""A pose that is further away than this share of the way when the joints are there calls for one as well."""

DETOUR_SPEED = 1.0
"""Fastest joint on a detour [rad/s or m/s]."""

DETOUR = 0.2
"""How far inwards a path along a wall may be drawn, as a share of the way that is asked for."""

SOON_S = 0.03
"""A step no longer than that is followed by another before anything can go far wrong [s]."""

STILL = 1e-10
"""Joint velocity that is none [rad/s or m/s]."""

EAGER = 1.1
"""By how much more than a constraint asks a motion is shortened, so that the next round settles it."""

NO_RESULT = Refusal("inverse kinematics without a result", 1.0, 0.0, "")

ROUNDS = 6
"""How often a motion is shortened before the joints brake instead."""


@dataclass(frozen=True)
class Advance:
    """One motion that every constraint allows.

    Attributes:
        motion: it; its velocity is zero where nothing moves.
        reached: whether nothing but acceleration and jerk keeps the tool from its target.
        refusals: what does, empty where nothing does.
    """

    motion: Motion
    reached: bool
    refusals: tuple[Refusal, ...]


class ToolServo:
    """Composes the constraints of one robot.

    A step is chosen between two ends: the velocity that goes to the target, as far as
    acceleration and jerk let it, and the braking that the last step left open. The most of the
    first that every constraint allows is taken; the second is allowed always.

    Attributes:
        constraints: all of them; each must allow a motion before it is emitted.
    """

    def __init__(self, robot: Robot, options: FilterOptions) -> None:
        self.robot = robot
        self._acceleration = options.max_joint_acceleration * (1.0 - SLACK)
        self._pace = Pace(self._acceleration, options.max_joint_jerk * (1.0 - SLACK))
        self._slides = options.slide_along_walls
        self._velocity = JointVelocity(robot, options)
        self._position = JointPosition(robot, options)
        self._speed = ToolSpeed(options)
        workspace = robot.workspace.tightened(options.workspace_min, options.workspace_max)
        self._box = WorkspaceBox(robot, workspace, options)
        zones = [LinkZone(robot, zone.link, zone.minimum, zone.maximum, options) for zone in robot.zones]
        self._spatial: tuple[Constraint, ...] = (self._box, *zones, Clearance(robot, options))
        self.constraints: tuple[Constraint, ...] = (
            self._velocity,
            self._position,
            self._speed,
            *self._spatial,
        )

    def outside(self, joints: np.ndarray) -> tuple[Refusal, ...]:
        """Every constraint that `joints` (n,) at rest violate."""
        return tuple(refusal for constraint in self.constraints for refusal in constraint.outside(joints))

    def holds(self, now: Instant) -> bool:
        """Whether the joints can still stop within every constraint."""
        return self._allowed(self._motion(now.joints, now.velocity, 1e-6))[0] == 1.0

    def braking(self, now: Instant, dt: float) -> Motion:
        """The motion of `dt` seconds by which the joints stop as soon as they may."""
        return self._motion(now.joints, braked(now.velocity, self._acceleration, dt), dt)

    def confined(self, target: Pose, position: np.ndarray) -> tuple[Pose, list[Refusal]]:
        """`target` moved into the box, or no further out than the tool's `position` (3,) already is.

        Where walls are not slid along, all of the way there is shortened, not only what goes through.
        """
        low = np.minimum(self._box.minimum + CLEARANCE, position)
        high = np.maximum(self._box.maximum - CLEARANCE, position)
        inside = np.clip(target.position, low, high)
        way = target.position - position
        if np.max(np.abs(inside - target.position)) <= UNNOTICED:
            return Pose(self._drawn_in(inside, position, way), target.rotation), []
        refusals = [self._box.refusal(target.position, low, high)]
        if not self._slides:
            moving = np.abs(way) > UNNOTICED
            share = float(np.min(((inside - position)[moving] / way[moving]), initial=1.0))
            inside = position + way * max(share, 0.0)
        return Pose(self._drawn_in(inside, position, way), target.rotation), refusals

    def advance(self, now: Instant, target: Pose, dt: float, ahead: Pose | None = None) -> Advance:
        """The motion of `dt` seconds towards `target`, slow early enough to arrive there at rest.

        `ahead` is where the target will be `LOOKAHEAD_S` later. Near a singular posture, where the
        small way to the target has no solution, the joints go the way to that pose, which may have one.
        """
        low, high = self._position.room(now.joints)
        iterations = ITERATIONS if dt > SOON_S else 2
        try:
            solution = solve(self.robot, now.joints, target, low, high, iterations=iterations)
        except np.linalg.LinAlgError:
            return Advance(self.braking(now, dt), False, (NO_RESULT,))
        out_of_reach = _out_of_reach(self._missing(now.joints + solution.delta, target))
        delta, over_s = solution.delta, 0.0
        if out_of_reach and ahead is not None and dt < LOOKAHEAD_S:
            delta, over_s = solve(self.robot, now.joints, ahead, low, high).delta, LOOKAHEAD_S
        motion, refusals = self._towards(now, delta, dt, over_s)
        refusals.extend(self._stopped_joints(solution, now.joints))
        refusals = refusals or out_of_reach
        return Advance(motion, not refusals, tuple(refusals))

    def follow(self, now: Instant, goal: np.ndarray, dt: float) -> Motion:
        """The motion of `dt` seconds towards the joints `goal` (n,), no faster than `DETOUR_SPEED`."""
        way = goal - now.joints
        return self._towards(now, way, dt, largest(way) / DETOUR_SPEED)[0]

    def detour(self, now: Instant, target: Pose, dt: float) -> np.ndarray | None:
        """Joints (n,) to go to where the straight way to `target` brings next to nothing, None where it does.

        In a singular posture (a stretched elbow) no small motion goes one way; a nudge along a
        singular direction, both ways, leads to a posture from where the target can be reached.
        Beside a wall the path may bend through it: a target drawn a little inwards goes around, a
        shorter way bends less, and an undamped step is slow but straight.
        """
        start = now.joints
        asked = size(self._missing(start, target))
        if asked <= UNNOTICED:
            return None
        low, high = self._position.room(start)
        straight = solve(self.robot, start, target, low, high).delta
        left = size(self._missing(start + straight, target))
        if left > LOST * asked:
            goal = self._unfolded(now, target, low, high, 0.5 * left, dt)
            if goal is not None:
                return goal
        shortest = size(self._missing(self._towards(now, straight, dt)[0].end, target))
        if shortest < (1.0 - STUCK) * asked:
            return None
        best = None
        for delta in self._ways(start, target, asked, low, high):
            if size(self._missing(start + delta, target)) < shortest:
                end = self._towards(now, delta, dt)[0].end
                missing = size(self._missing(end, target))
                if missing < shortest:
                    best, shortest = end, missing
        return best

    def _unfolded(
        self, now: Instant, target: Pose, low: np.ndarray, high: np.ndarray, enough: float, dt: float
    ) -> np.ndarray | None:
        """Joints (n,) out of a singular posture that come nearest to `target`, if they come near `enough`."""
        best = None
        for nudge in nudges(self.robot, now.joints, low, high):
            delta = solve(self.robot, now.joints, target, low, high, first=nudge).delta
            left = size(self._missing(now.joints + delta, target))
            left *= 1.0 if delta @ now.velocity < 0.0 else 0.5  # going on is better than turning round
            if left < enough and largest(self._towards(now, delta, dt, dt)[0].velocity) > STILL:
                best, enough = now.joints + delta, left
        return best

    def _ways(
        self, start: np.ndarray, target: Pose, asked: float, low: np.ndarray, high: np.ndarray
    ) -> Iterator[np.ndarray]:
        """Displacements (n,) beside the straight one."""
        here = Pose(*self.robot.tool_pose(start))
        pull = DETOUR * asked
        low_wall = np.minimum(self._box.minimum + CLEARANCE, here.position + pull)
        high_wall = np.maximum(self._box.maximum - CLEARANCE, here.position - pull)
        way = pose_error(here, target)
        for share, damping in ((1.0, DAMPING), (0.3, DAMPING), (1.0, 0.0)):
            goal = moved(here, share * way, "base")
            goal = Pose(np.clip(goal.position, low_wall, high_wall), goal.rotation)
            yield solve(self.robot, start, goal, low, high, damping).delta
        yield from nudges(self.robot, start, low, high)

    def _towards(
        self, now: Instant, delta: np.ndarray, dt: float, over_s: float = 0.0
    ) -> tuple[Motion, list[Refusal]]:
        """As much of the way `delta` (n,) as the constraints allow in `dt`, and what binds.

        The whole way is to take at least `over_s`.
        """
        if not np.isfinite(delta).all():
            return self.braking(now, dt), [NO_RESULT]
        wish = self._pace.approach(delta, dt)
        if over_s * largest(wish) > largest(delta):
            wish = delta / over_s
        if largest(wish) < STILL:
            wish = np.zeros_like(wish)
            if not now.velocity.any():
                return self._motion(now.joints, wish, dt), []
        creeps = any(constraint.is_outside(now.joints) for constraint in self._spatial)
        motion = self._motion(now.joints, self._paced(now, wish, dt, creeps), dt)
        fraction, refusals = self._allowed(motion)
        if fraction == 1.0:
            return motion, []
        if wish.any():
            wish, slower = self._slowed(now.joints, wish, dt)
            refusals = slower or refusals
        return self._shortened(now, self._paced(now, wish, dt, creeps), dt, refusals)

    def _motion(self, start: np.ndarray, velocity: np.ndarray, dt: float) -> Motion:
        return Motion(self.robot, start, velocity, dt, self._acceleration)

    def _paced(self, now: Instant, wish: np.ndarray, dt: float, creeps: bool) -> np.ndarray:
        """(n,) velocity as near to `wish` (n,) as acceleration and jerk allow."""
        return self._pace.accelerated(now, self._pace.creeping(wish, dt) if creeps else wish, dt)

    def _slowed(self, start: np.ndarray, wish: np.ndarray, dt: float) -> tuple[np.ndarray, list[Refusal]]:
        """`wish` (n,) as a whole within the limits of speed, and which of them bind."""
        refusals: list[Refusal] = []
        for limit in (self._velocity, self._speed):
            fraction, refusal = limit.allow(self._motion(start, wish, dt))
            if refusal is not None:
                wish = wish * (fraction * (1.0 - SLACK))
                refusals.append(refusal)
        return wish, refusals

    def _shortened(
        self, now: Instant, wish: np.ndarray, dt: float, refusals: list[Refusal]
    ) -> tuple[Motion, list[Refusal]]:
        """The most of the velocity `wish` (n,) over braking that is allowed, and what binds."""
        brake = braked(now.velocity, self._acceleration, dt)
        over, share = wish - brake, 1.0
        for _ in range(ROUNDS):
            motion = self._motion(now.joints, brake + share * over, dt)
            fraction, binding = self._allowed(motion)
            if fraction == 1.0:
                return motion, refusals
            refusals.extend(binding)
            less = EAGER * (1.0 - fraction) * largest(motion.velocity) / max(largest(over), STILL)
            share = max(0.5 * share, share - less)
        return self._motion(now.joints, brake, dt), refusals

    def _allowed(self, motion: Motion) -> tuple[float, list[Refusal]]:
        """The fraction that all constraints allow, and every one that binds."""
        if largest(motion.velocity) < STILL:
            return 1.0, []
        answers = [constraint.allow(motion) for constraint in self.constraints]
        binding = [refusal for _, refusal in answers if refusal is not None]
        return min(fraction for fraction, _ in answers), binding

    def _missing(self, joints: np.ndarray, target: Pose) -> np.ndarray:
        """(6,) displacement [m, rad] that the tool at `joints` (n,) lacks to the target."""
        return pose_error(Pose(*self.robot.tool_pose(joints)), target)

    def _drawn_in(self, inside: np.ndarray, position: np.ndarray, way: np.ndarray) -> np.ndarray:
        """`inside` (3,), a little further in where the tool is beyond a wall: its path must not bend out."""
        pull = 0.1 * DETOUR * float(np.linalg.norm(way))
        low = np.minimum(self._box.minimum, position + pull)
        high = np.maximum(self._box.maximum, position - pull)
        return np.clip(inside, low, high)

    def _stopped_joints(self, solution: Solution, start: np.ndarray) -> list[Refusal]:
        return [
            self._position.refusal(joint, start[joint] + wish) for joint, wish in solution.clamped.items()
        ]


def _out_of_reach(missing: np.ndarray) -> list[Refusal]:
    """What of a displacement (6,) [m, rad] the shape of the arm keeps the tool from; empty where none."""
    distance, angle = float(np.linalg.norm(missing[:3])), float(np.linalg.norm(missing[3:]))
    if distance > REACHED[0]:
        return [Refusal("tool out of reach by", distance, REACHED[0], "m")]
    return [Refusal("tool rotation out of reach by", angle, REACHED[1], "rad")] if angle > REACHED[1] else []
