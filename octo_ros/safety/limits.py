"""The limits of a motion, each an independent object that knows nothing of the others.

A limit answers which fraction of a candidate motion it allows. What holds for a fraction
holds for every smaller one, so several limits are composed by the smallest fraction. A start
that is already beyond a limit is allowed every motion that does not take it further out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from octo_ros.errors import ParameterError
from octo_ros.safety.decision import Refusal
from octo_ros.safety.motion import SEGMENTS, Motion
from octo_ros.safety.options import FilterOptions
from octo_ros.safety.robot import Robot
from octo_ros.safety.workspace import Workspace

SLACK = 1e-6
"""Share of every speed that is not used, so that rounding never crosses a limit."""

ROUNDING = 1e-9
"""Relative excess below which a motion counts as allowed in full; far less than `SLACK`."""

SPARE = 1e-9
"""Kept from each joint position bound, so that rounding never crosses it [rad or m]."""

WALL = 1e-5
"""Kept from the inset box, more than a path can bulge between two samples [m]."""


class Limit(ABC):
    """One limit."""

    @abstractmethod
    def allow(self, motion: Motion) -> tuple[float, Refusal | None]:
        """The fraction of `motion` in [0, 1] that is allowed, and what binds where it is below 1."""

    def outside(self, robot: Robot, joints: np.ndarray) -> list[Refusal]:
        """What `joints` (n,) at rest violate."""
        return []


class JointVelocity(Limit):
    """|velocity| of each joint below a share of the URDF's."""

    def __init__(self, robot: Robot, options: FilterOptions) -> None:
        self.names, self.units = robot.joint_names, robot.units
        self.bound = robot.velocity * options.velocity_scale  # (n,)

    def allow(self, motion: Motion) -> tuple[float, Refusal | None]:
        speed = np.abs(motion.delta) / motion.dt
        worst = int(np.argmax(speed / self.bound))
        fraction = _fraction(self.bound[worst] * (1.0 - SLACK), speed[worst])
        if fraction == 1.0:
            return 1.0, None
        unit = f"{self.units[worst]}/s"
        return fraction, Refusal(f"joint velocity {self.names[worst]}", speed[worst], self.bound[worst], unit)


class JointPosition(Limit):
    """Each joint a margin away from its limits, and slow enough to brake before it gets there."""

    def __init__(self, robot: Robot, options: FilterOptions) -> None:
        self.names, self.units = robot.joint_names, robot.units
        self.lower = robot.lower + options.joint_margin  # (n,)
        self.upper = robot.upper - options.joint_margin  # (n,)
        self.acceleration = options.max_joint_acceleration
        for name, low, high in zip(self.names, self.lower, self.upper, strict=True):
            if not low < high:
                raise ParameterError(
                    f"joint_margin: {options.joint_margin:g} leaves nothing of the range of joint {name}"
                )

    def interval(self, start: np.ndarray, dt: float) -> tuple[np.ndarray, np.ndarray]:
        """Lowest (n,) and highest (n,) displacement of each joint from `start` in `dt`; zero is between.

        A joint at velocity v that ends d before its bound can brake when v <= sqrt(2 a d).
        Required of the end of the step, this gives v <= 2 d0 / (dt + sqrt(dt^2 + 2 d0 / a))
        for a joint that starts d0 before it; it then holds at every earlier instant.
        """
        room_up = np.maximum(self.upper - SPARE - start, 0.0)
        room_down = np.maximum(start - self.lower - SPARE, 0.0)
        return -self._braking(room_down, dt), self._braking(room_up, dt)

    def allow(self, motion: Motion) -> tuple[float, Refusal | None]:
        low, high = self.interval(motion.start, motion.dt)
        allowed = np.where(motion.delta >= 0.0, high, -low)
        asked = np.abs(motion.delta)
        fractions = [
            _fraction(room + 1e-3 * SPARE, distance) for room, distance in zip(allowed, asked, strict=True)
        ]
        worst = int(np.argmin(fractions))
        if fractions[worst] == 1.0:
            return 1.0, None
        return fractions[worst], self.refusal(worst, motion.start[worst], motion.delta[worst], motion.dt)

    def refusal(self, joint: int, start: float, delta: float, dt: float) -> Refusal:
        """Why `joint` may not move from `start` by `delta` in `dt`: the margin, or the braking distance."""
        end, name, unit = start + delta, self.names[joint], self.units[joint]
        bound = self.upper[joint] if delta > 0.0 else self.lower[joint]
        if end > self.upper[joint] or end < self.lower[joint]:
            return Refusal(f"joint position {name}", end, bound, unit)
        room = abs(bound - start)
        allowed = float(self._braking(np.array([room]), dt)[0])
        return Refusal(f"braking distance {name}", abs(delta) / dt, allowed / dt, f"{unit}/s")

    def outside(self, robot: Robot, joints: np.ndarray) -> list[Refusal]:
        refusals = []
        for name, unit, value, low, high in zip(
            self.names, self.units, joints, self.lower, self.upper, strict=True
        ):
            if not low <= value <= high:
                bound = low if value < low else high
                refusals.append(Refusal(f"joint position {name}", value, bound, unit))
        return refusals

    def _braking(self, room: np.ndarray, dt: float) -> np.ndarray:
        """Longest displacement in `dt` that can still brake within `room` (n,)."""
        return 2.0 * room * dt / (dt + np.sqrt(dt * dt + 2.0 * room / self.acceleration))


class ToolSpeed(Limit):
    """Speed and rotation speed of the tip on every piece of the motion."""

    def __init__(self, options: FilterOptions) -> None:
        self.speed = options.max_tool_speed
        self.rotation_speed = options.max_tool_rotation_speed

    def allow(self, motion: Motion) -> tuple[float, Refusal | None]:
        positions, rotations = motion.tool_path
        piece = motion.dt / SEGMENTS
        steps = np.diff(positions, axis=0)  # (SEGMENTS, 3)
        turns = np.einsum("kji,kjl->kil", rotations[:-1], rotations[1:])  # (SEGMENTS, 3, 3)
        # Sine of each small angle, from the antisymmetric part: exact where the trace loses digits.
        sine = 0.5 * np.sqrt(
            (turns[:, 2, 1] - turns[:, 1, 2]) ** 2
            + (turns[:, 0, 2] - turns[:, 2, 0]) ** 2
            + (turns[:, 1, 0] - turns[:, 0, 1]) ** 2
        )
        cosine = 0.5 * (np.trace(turns, axis1=1, axis2=2) - 1.0)
        speed = float(np.max(np.linalg.norm(steps, axis=1))) / piece
        rotation_speed = float(np.max(np.arctan2(sine, cosine))) / piece
        answers = (
            (_fraction(self.speed * (1.0 - SLACK), speed), Refusal("tool speed", speed, self.speed, "m/s")),
            (
                _fraction(self.rotation_speed * (1.0 - SLACK), rotation_speed),
                Refusal("tool rotation speed", rotation_speed, self.rotation_speed, "rad/s"),
            ),
        )
        fraction, refusal = min(answers, key=lambda answer: answer[0])
        return fraction, None if fraction == 1.0 else refusal


class WorkspaceBox(Limit):
    """The tip inside the inset box at every sample of the motion."""

    def __init__(self, workspace: Workspace, options: FilterOptions) -> None:
        self.frame = workspace.frame
        self.minimum = workspace.minimum + options.box_inset  # (3,)
        self.maximum = workspace.maximum - options.box_inset  # (3,)
        for axis, name in enumerate("xyz"):
            if not self.minimum[axis] + 4 * WALL < self.maximum[axis]:
                inset = options.box_inset
                raise ParameterError(f"box_inset: {inset:g} m leaves nothing of the workspace in {name}")

    def allow(self, motion: Motion) -> tuple[float, Refusal | None]:
        positions = motion.tool_path[0]
        low = np.minimum(self.minimum + WALL, positions[0])
        high = np.maximum(self.maximum - WALL, positions[0])
        beyond = np.flatnonzero(np.any((positions < low) | (positions > high), axis=1))
        if beyond.size == 0:
            return 1.0, None
        first = int(beyond[0])
        inside, out = (first - 1) / SEGMENTS, first / SEGMENTS
        for _ in range(6):
            middle = 0.5 * (inside + out)
            position = motion.robot.tool_pose(motion.start + motion.delta * middle)[0]
            if np.all((position >= low) & (position <= high)):
                inside = middle
            else:
                out = middle
        return inside, self.refusal(positions[first], low, high)

    def refusal(self, position: np.ndarray, low: np.ndarray, high: np.ndarray) -> Refusal:
        """Which wall `position` (3,) lies beyond, of the box from `low` to `high`."""
        excess = np.maximum(low - position, position - high)
        axis = int(np.argmax(excess))
        bound = low[axis] if position[axis] < low[axis] else high[axis]
        return Refusal(f"workspace {'xyz'[axis]} in {self.frame}", position[axis], bound, "m")

    def outside(self, robot: Robot, joints: np.ndarray) -> list[Refusal]:
        position = robot.tool_pose(joints)[0]
        if np.all((position >= self.minimum) & (position <= self.maximum)):
            return []
        return [self.refusal(position, self.minimum, self.maximum)]


def _fraction(bound: float, asked: float) -> float:
    """The share of `asked` that stays within `bound`: exactly 1 where all of it does."""
    if asked <= bound * (1.0 + ROUNDING):
        return 1.0
    return float(bound / asked)
