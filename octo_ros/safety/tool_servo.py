"""Moves the joints towards a target pose of the tool, and no further than every constraint allows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from octo_ros.safety.compose import Pose, pose_error
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
from octo_ros.safety.inverse_kinematics import CONVERGED, Solution, size, solve
from octo_ros.safety.motion import Instant, Motion
from octo_ros.safety.options import FilterOptions
from octo_ros.safety.pacing import Pace, braked, largest
from octo_ros.safety.pieces import Pieces, finished
from octo_ros.safety.robot import Robot

CLEARANCE = 1e-3
"""How far inside the inset box a target is kept, so that a path along a wall may bend towards it [m]."""

UNNOTICED = 1e-6
"""A target moved by less than this into the box passed unchanged [m]."""

REACHED = (1e-4, 1e-3)
"""Distance [m] and angle [rad] within which a target counts as reached."""

DRAWN_IN = 0.02
"""How far inwards a target is drawn where the tool is beyond a wall, as a share of the way to it."""

LOOKAHEAD_S = 0.1
"""How far ahead a way is looked for where the next step has none [s]."""

NEARER = 0.1
"""Share of the way to a pose further ahead that has to be possible."""

DETOUR_SPEED = 1.0
"""Fastest joint on a detour [rad/s or m/s]."""

SOON_S = 0.03
"""A step no longer than that is followed by another, which makes up for what it lacks [s]."""

NEAR = 2e-5
"""What such a step may lack to a pose that is further away [m, rad]."""

STILL = 1e-10
"""Joint velocity that is none [rad/s or m/s]."""

EAGER = 1.1
"""By how much more than a constraint asks a motion is shortened, so that the next round settles it."""

HEADROOM = 2e-4
"""Share of a speed limit that a faster wish is kept below, so that filtered again it passes unchanged."""

NO_RESULT = Refusal("inverse kinematics without a result", 1.0, 0.0, "")

ROUNDS, SOON_ROUNDS, START_ROUNDS = (6, 0.5), (4, 0.35), (2, 0.2)
"""How often a motion is shortened before the joints brake instead, and to what share each time at least.

The second and third are of steps that another soon follows, the third of those that begin at rest.
"""


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


@dataclass(frozen=True)
class Way:
    """Where the joints go, and how fast.

    Attributes:
        joints: (n,) [rad or m].
        speed: of the fastest joint [rad/s or m/s], above zero.
    """

    joints: np.ndarray
    speed: float


class ToolServo:
    """Composes the constraints of one robot.

    A step is chosen between two ends: the velocity that goes to the target, as far as
    acceleration and jerk let it, and the braking that the last step left open. The most of the
    first that every constraint allows is taken; the second is allowed always.

    Attributes:
        constraints: all of them; each must allow a motion before it is emitted.
        position, box: of them, the joints' limits and the tool's workspace.
    """

    def __init__(self, robot: Robot, options: FilterOptions) -> None:
        self.robot = robot
        self._acceleration = options.max_joint_acceleration * (1.0 - SLACK)
        self._pace = Pace(self._acceleration, options.max_joint_jerk * (1.0 - SLACK))
        self._slides = options.slide_along_walls
        self.position = JointPosition(robot, options)
        self._speeds: tuple[Constraint, ...] = (JointVelocity(robot, options), ToolSpeed(options))
        workspace = robot.workspace.tightened(options.workspace_min, options.workspace_max)
        self.box = WorkspaceBox(robot, workspace, options)
        zones = [LinkZone(robot, zone.link, zone.minimum, zone.maximum, options) for zone in robot.zones]
        self._spatial: tuple[Constraint, ...] = (self.box, *zones, Clearance(robot, options))
        self.constraints: tuple[Constraint, ...] = (
            self.position,
            *self._speeds,
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
        low = np.minimum(self.box.minimum + CLEARANCE, position)
        high = np.maximum(self.box.maximum - CLEARANCE, position)
        inside = np.clip(target.position, low, high)
        way = target.position - position
        if np.max(np.abs(inside - target.position)) <= UNNOTICED:
            return Pose(self._drawn_in(inside, position, way), target.rotation), []
        refusals = [self.box.refusal(target.position, low, high)]
        if not self._slides:
            moving = np.abs(way) > UNNOTICED
            share = float(np.min(((inside - position)[moving] / way[moving]), initial=1.0))
            inside = position + way * max(share, 0.0)
        return Pose(self._drawn_in(inside, position, way), target.rotation), refusals

    def advance(self, now: Instant, target: Pose, dt: float, way: Way | None = None) -> Advance:
        """The motion of `dt` seconds towards `target`, slow early enough to arrive there at rest.

        Near a singular posture, where the small way to the target has no solution, the joints go the
        `way` to a pose further ahead, which may have one.
        """
        low, high = self.position.room(now.joints)
        tolerance = CONVERGED if dt > SOON_S else NEAR
        try:
            solution = solve(self.robot, now.joints, target, low, high, tolerance=tolerance)
        except np.linalg.LinAlgError:
            return Advance(self.braking(now, dt), False, (NO_RESULT,))
        out_of_reach = _out_of_reach(self.missing(now.joints + solution.delta, target))
        delta, over_s = solution.delta, 0.0
        if out_of_reach and way is not None:
            delta = way.joints - now.joints
            over_s = largest(delta) / way.speed
        motion, refusals = self.towards(now, delta, dt, over_s)
        refusals.extend(self._stopped_joints(solution, now.joints))
        refusals = refusals or out_of_reach
        return Advance(motion, not refusals, tuple(refusals))

    def way_ahead(self, now: Instant, ahead: Pose) -> Way | None:
        """The way to where the target is `LOOKAHEAD_S` later, None where the joints come no nearer."""
        low, high = self.position.room(now.joints)
        delta = solve(self.robot, now.joints, ahead, low, high).delta
        before, after = self.missing(now.joints, ahead), self.missing(now.joints + delta, ahead)
        if size(after) > (1.0 - NEARER) * size(before) or not delta.any():
            return None
        return Way(now.joints + delta, largest(delta) / LOOKAHEAD_S)

    def follow(self, now: Instant, goal: np.ndarray, dt: float) -> Motion:
        """The motion of `dt` seconds towards the joints `goal` (n,), no faster than `DETOUR_SPEED`."""
        way = goal - now.joints
        return self.towards(now, way, dt, largest(way) / DETOUR_SPEED)[0]

    def towards(
        self, now: Instant, delta: np.ndarray, dt: float, over_s: float = 0.0
    ) -> tuple[Motion, list[Refusal]]:
        """As much of the way `delta` (n,) as the constraints allow in `dt`, and what binds.

        The whole way is to take at least `over_s`.
        """
        return finished(self.gradually_towards(now, delta, dt, over_s))

    def gradually_towards(
        self, now: Instant, delta: np.ndarray, dt: float, over_s: float = 0.0
    ) -> Pieces[tuple[Motion, list[Refusal]]]:
        """`towards`, piece by piece."""
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
        yield
        fraction, binding = self._allowed(motion)
        if fraction == 1.0:
            return motion, []
        refusals = list(binding.values())
        if wish.any() and any(limit in binding for limit in self._speeds):
            wish, slower = self._slowed(now.joints, wish, dt)
            motion = self._motion(now.joints, self._paced(now, wish, dt, creeps), dt)
            yield
            refusals, fraction = slower or refusals, self._least(motion)
        motion = yield from self._shortened(now, motion, fraction)
        return motion, refusals

    def _motion(self, start: np.ndarray, velocity: np.ndarray, dt: float) -> Motion:
        return Motion(self.robot, start, velocity, dt, self._acceleration)

    def _paced(self, now: Instant, wish: np.ndarray, dt: float, creeps: bool) -> np.ndarray:
        """(n,) velocity as near to `wish` (n,) as acceleration and jerk allow."""
        return self._pace.accelerated(now, self._pace.creeping(wish, dt) if creeps else wish, dt)

    def _slowed(self, start: np.ndarray, wish: np.ndarray, dt: float) -> tuple[np.ndarray, list[Refusal]]:
        """`wish` (n,) as a whole within the limits of speed, and which of them bind."""
        refusals: list[Refusal] = []
        for limit in self._speeds:
            fraction, refusal = limit.allow(self._motion(start, wish, dt))
            if refusal is not None:
                wish = wish * (fraction * (1.0 - HEADROOM))
                refusals.append(refusal)
        return wish, refusals

    def _shortened(self, now: Instant, motion: Motion, fraction: float) -> Pieces[Motion]:
        """The most of `motion` over braking that is allowed; about `fraction` of its velocity is."""
        brake = braked(now.velocity, self._acceleration, motion.dt)
        over, share = motion.velocity - brake, 1.0
        rounds, least = ROUNDS
        if motion.dt <= SOON_S:
            rounds, least = SOON_ROUNDS if now.velocity.any() else START_ROUNDS
        for _ in range(rounds):
            if fraction == 1.0:
                return motion
            less = EAGER * (1.0 - fraction) * largest(motion.velocity) / max(largest(over), STILL)
            share = max(least * share, share - less)
            motion = motion.at(brake + share * over)
            yield
            fraction = self._least(motion)
        return motion if fraction == 1.0 else motion.at(brake)

    def _least(self, motion: Motion) -> float:
        """1 where all constraints allow `motion`, else the fraction that the first one does that binds."""
        if largest(motion.velocity) < STILL:
            return 1.0
        for constraint in self.constraints:
            fraction, refusal = constraint.allow(motion)
            if refusal is not None:
                return fraction
        return 1.0

    def _allowed(self, motion: Motion) -> tuple[float, dict[Constraint, Refusal]]:
        """The fraction that all constraints allow, and every one that binds."""
        if largest(motion.velocity) < STILL:
            return 1.0, {}
        answers = {constraint: constraint.allow(motion) for constraint in self.constraints}
        binding = {limit: refusal for limit, (_, refusal) in answers.items() if refusal is not None}
        return min(fraction for fraction, _ in answers.values()), binding

    def missing(self, joints: np.ndarray, target: Pose) -> np.ndarray:
        """(6,) displacement [m, rad] that the tool at `joints` (n,) lacks to the target."""
        return pose_error(Pose(*self.robot.tool_pose(joints)), target)

    def _drawn_in(self, inside: np.ndarray, position: np.ndarray, way: np.ndarray) -> np.ndarray:
        """`inside` (3,), a little further in where the tool is beyond a wall: its path must not bend out."""
        pull = DRAWN_IN * float(np.linalg.norm(way))
        low = np.minimum(self.box.minimum, position + pull)
        high = np.maximum(self.box.maximum, position - pull)
        return np.clip(inside, low, high)

    def _stopped_joints(self, solution: Solution, start: np.ndarray) -> list[Refusal]:
        return [self.position.refusal(joint, start[joint] + wish) for joint, wish in solution.clamped.items()]


def _out_of_reach(missing: np.ndarray) -> list[Refusal]:
    """What of a displacement (6,) [m, rad] the shape of the arm keeps the tool from; empty where none."""
    distance, angle = float(np.linalg.norm(missing[:3])), float(np.linalg.norm(missing[3:]))
    if distance > REACHED[0]:
        return [Refusal("tool out of reach by", distance, REACHED[0], "m")]
    return [Refusal("tool rotation out of reach by", angle, REACHED[1], "rad")] if angle > REACHED[1] else []
