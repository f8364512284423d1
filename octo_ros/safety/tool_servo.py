"""Moves the joints towards a target pose of the tool, and no further than every limit allows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from octo_ros.safety.compose import Pose, moved, pose_error
from octo_ros.safety.decision import Refusal
from octo_ros.safety.inverse_kinematics import DAMPING, Solution, nudges, size, solve
from octo_ros.safety.limits import JointPosition, JointVelocity, Limit, ToolSpeed, WorkspaceBox
from octo_ros.safety.motion import Motion
from octo_ros.safety.options import FilterOptions
from octo_ros.safety.robot import Robot

CLEARANCE = 1e-3
"""How far inside the inset box a target is kept, so that a path along a wall may bend towards it [m]."""

UNNOTICED = 1e-6
"""A target moved by less than this into the box passed unchanged [m]."""

REACHED = (1e-4, 1e-3)
"""Distance [m] and angle [rad] within which a target counts as reached."""

STUCK = 0.1
"""A motion that brings less than this share of the way calls for a detour."""

DETOUR = 0.2
"""How far inwards a path along a wall may be drawn, as a share of the way that is asked for."""

ROUNDS = 4
"""How often a motion is shortened before it is given up."""


@dataclass(frozen=True)
class Advance:
    """One motion that every limit allows.

    Attributes:
        joints: (n,) where it ends [rad or m].
        reached: whether the tool meets the target there.
        refusals: what kept it from the target, empty where it was reached.
    """

    joints: np.ndarray
    reached: bool
    refusals: tuple[Refusal, ...]


class ToolServo:
    """Composes the limits of one robot.

    Attributes:
        limits: all of them; each must allow a motion before it is emitted.
    """

    def __init__(self, robot: Robot, options: FilterOptions) -> None:
        self.robot = robot
        self._velocity = JointVelocity(robot, options)
        self._position = JointPosition(robot, options)
        workspace = robot.workspace.tightened(options.workspace_min, options.workspace_max)
        self._box = WorkspaceBox(workspace, options)
        self.limits: tuple[Limit, ...] = (self._velocity, self._position, ToolSpeed(options), self._box)

    def outside(self, joints: np.ndarray) -> tuple[Refusal, ...]:
        """Every limit that `joints` (n,) at rest violate."""
        return tuple(refusal for limit in self.limits for refusal in limit.outside(self.robot, joints))

    def confined(self, target: Pose, position: np.ndarray) -> tuple[Pose, list[Refusal]]:
        """`target` moved into the box, or no further out than the tool's `position` (3,) already is."""
        low = np.minimum(self._box.minimum + CLEARANCE, position)
        high = np.maximum(self._box.maximum - CLEARANCE, position)
        inside = np.clip(target.position, low, high)
        cut = np.max(np.abs(inside - target.position))
        refusals = [self._box.refusal(target.position, low, high)] if cut > UNNOTICED else []
        return Pose(inside, target.rotation), refusals

    def advance(self, start: np.ndarray, target: Pose, dt: float) -> Advance:
        """The motion from `start` (n,) towards `target` in `dt` seconds; none where no part of it is safe."""
        try:
            return self._advance(start, target, dt)
        except np.linalg.LinAlgError:
            return Advance(
                start.copy(), False, (Refusal("inverse kinematics without a result", 1.0, 0.0, ""),)
            )

    def _advance(self, start: np.ndarray, target: Pose, dt: float) -> Advance:
        low, high = self._position.interval(start, dt)
        solution = solve(self.robot, start, target, low, high, self._velocity.bound * dt)
        motion, refusals = self._shortened(Motion(self.robot, start, solution.delta, dt))
        asked = size(self._missing(start, target))
        if asked > UNNOTICED and size(self._missing(motion.end, target)) > (1.0 - STUCK) * asked:
            motion = self._best(motion, target, self._detours(start, target, asked, low, high, dt))
        missing = self._missing(motion.end, target)
        distance, angle = float(np.linalg.norm(missing[:3])), float(np.linalg.norm(missing[3:]))
        if not refusals and distance <= REACHED[0] and angle <= REACHED[1]:
            return Advance(motion.end, True, ())
        refusals.extend(self._stopped_joints(solution, start, dt))
        if not refusals:
            refusals.append(_out_of_reach(distance, angle))
        return Advance(motion.end, False, tuple(refusals))

    def _missing(self, joints: np.ndarray, target: Pose) -> np.ndarray:
        """(6,) displacement [m, rad] that the tool at `joints` (n,) lacks to the target."""
        return pose_error(Pose(*self.robot.tool_pose(joints)), target)

    def _best(self, motion: Motion, target: Pose, deltas: Iterable[np.ndarray]) -> Motion:
        """Whichever ends nearest to the target, of `motion` and of what is allowed of each other delta."""
        shortest = size(self._missing(motion.end, target))
        for delta in deltas:
            if size(self._missing(motion.start + delta, target)) >= shortest:
                continue
            other, _ = self._shortened(Motion(self.robot, motion.start, delta, motion.dt))
            missing = size(self._missing(other.end, target))
            if missing < shortest:
                motion, shortest = other, missing
        return motion

    def _detours(
        self, start: np.ndarray, target: Pose, asked: float, low: np.ndarray, high: np.ndarray, dt: float
    ) -> Iterator[np.ndarray]:
        """Other displacements (n,) for when the straight one brings next to nothing.

        Beside a wall the path may bend through it: a target drawn a little inwards goes around,
        and a shorter way bends less. In a singular posture damping may leave nothing: an
        undamped step is slow but straight, and a nudge changes the posture.
        """
        here = Pose(*self.robot.tool_pose(start))
        pull = DETOUR * asked
        low_wall = np.minimum(self._box.minimum + CLEARANCE, here.position + pull)
        high_wall = np.maximum(self._box.maximum - CLEARANCE, here.position - pull)
        way, reach = pose_error(here, target), self._velocity.bound * dt
        for share, damping in ((1.0, DAMPING), (0.3, DAMPING), (1.0, 0.0)):
            goal = moved(here, share * way, "base")
            goal = Pose(np.clip(goal.position, low_wall, high_wall), goal.rotation)
            yield solve(self.robot, start, goal, low, high, reach, damping).delta
        yield from nudges(self.robot, start, low, high)

    def _shortened(self, motion: Motion) -> tuple[Motion, list[Refusal]]:
        """As much of `motion` as every limit allows, checked as it will be emitted, and what binds."""
        refusals: list[Refusal] = []
        for _ in range(ROUNDS):
            motion = motion.rounded()
            fraction, binding = self._allowed(motion)
            refusals.extend(binding)
            if fraction == 1.0:
                return motion, refusals
            if fraction == 0.0:
                break
            motion = motion.scaled(fraction)
        return motion.scaled(0.0).rounded(), refusals

    def _allowed(self, motion: Motion) -> tuple[float, list[Refusal]]:
        """The fraction that all limits allow, and every one that binds. LinAlgError where it is no number."""
        if not np.isfinite(motion.delta).all():
            raise np.linalg.LinAlgError("the motion is not finite")
        answers = [limit.allow(motion) for limit in self.limits]
        binding = [refusal for _, refusal in answers if refusal is not None]
        return min(fraction for fraction, _ in answers), binding

    def _stopped_joints(self, solution: Solution, start: np.ndarray, dt: float) -> list[Refusal]:
        wishes = solution.clamped.items()
        return [self._position.refusal(joint, start[joint], wish, dt) for joint, wish in wishes]


def _out_of_reach(distance: float, angle: float) -> Refusal:
    """Nothing but the shape of the arm keeps the tool from its target."""
    if distance > REACHED[0]:
        return Refusal("tool out of reach by", distance, REACHED[0], "m")
    return Refusal("tool rotation out of reach by", angle, REACHED[1], "rad")
