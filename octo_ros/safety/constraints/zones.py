"""Boxes in which the tool, and other links, stay."""

from __future__ import annotations

import numpy as np

from octo_ros.errors import ParameterError
from octo_ros.safety.constraints.base import Constraint, path_violation
from octo_ros.safety.decision import Refusal
from octo_ros.safety.motion import BRANCH, Motion, Sampling
from octo_ros.safety.options import FilterOptions
from octo_ros.safety.robot import Robot
from octo_ros.safety.workspace import Workspace

WALL = 1e-8
"""Kept from the inset box beside what a path can bulge between two samples [m]."""


class BoxConstraint(Constraint):
    """A point of the arm inside a box at every instant of the motion and of the braking after it.

    Between two samples a path bulges by at most an eighth of its acceleration times the time
    squared (the error of a chord), so that much more room is kept there. Near a wall the path
    is sampled more finely, which makes that next to nothing.
    """

    def __init__(
        self, robot: Robot, minimum: np.ndarray, maximum: np.ndarray, label: str, where: str
    ) -> None:
        self._robot, self._label, self._where = robot, label, where
        self.minimum, self.maximum = minimum, maximum  # (3,) each

    def position(self, joints: np.ndarray) -> np.ndarray:
        """(3,) where the point is at `joints` (n,), in the workspace frame [m]."""
        raise NotImplementedError

    def positions(self, motion: Motion, sampling: Sampling) -> np.ndarray:
        """(k, 3) where the point is at the samples of the motion."""
        return np.array([self.position(joints) for joints in motion.joints(sampling)])

    def allow(self, motion: Motion) -> tuple[float, Refusal | None]:
        fraction, refusal = self._allow(motion, Sampling.COARSE)
        return (1.0, None) if refusal is None else self._allow(motion, Sampling.FINE)

    def outside(self, joints: np.ndarray) -> list[Refusal]:
        position = self.position(joints)
        if np.all((position >= self.minimum) & (position <= self.maximum)):
            return []
        return [self.refusal(position, self.minimum, self.maximum)]

    def refusal(self, position: np.ndarray, low: np.ndarray, high: np.ndarray) -> Refusal:
        """Which wall `position` (3,) lies beyond, of the box from `low` to `high`."""
        excess = np.maximum(low - position, position - high)
        axis = int(np.argmax(excess))
        bound = low[axis] if position[axis] < low[axis] else high[axis]
        return Refusal(f"{self._label} {'xyz'[axis]} {self._where}", position[axis], bound, "m")

    def _allow(self, motion: Motion, sampling: Sampling) -> tuple[float, Refusal | None]:
        positions = self.positions(motion, sampling)
        margins = np.empty((len(positions), 6))
        margins[:, :3], margins[:, 3:] = positions - self.minimum, self.maximum - positions
        bulges, step, line = motion.bulges(sampling), motion.step_samples(sampling), len(margins) - BRANCH
        found = path_violation(margins, bulges + WALL, step, bulges)
        if found is None:
            return 1.0, None
        sample, column = found
        fraction = (sample - 1) / (line - 1)
        if sample >= line:  # the way of the braking grows with the square of the velocity
            room, over = max(margins[step][column], 0.0), max(-margins[sample][column], 0.0)
            fraction = min(0.95, max(0.1, float(np.sqrt(room / max(room + over, WALL)))))
        bound = (self.minimum, self.maximum)[column // 3][column % 3]
        axis = "xyz"[column % 3]
        value = positions[sample][column % 3]
        return fraction, Refusal(f"{self._label} {axis} {self._where}", value, bound, "m")


class WorkspaceBox(BoxConstraint):
    """The tip inside the inset box of the workspace."""

    def __init__(self, robot: Robot, workspace: Workspace, options: FilterOptions) -> None:
        minimum, maximum = workspace.minimum + options.box_inset, workspace.maximum - options.box_inset
        _check_size(minimum, maximum, f"box_inset: {options.box_inset:g} m leaves nothing of the workspace")
        super().__init__(robot, minimum, maximum, "workspace", f"in {workspace.frame}")

    def position(self, joints: np.ndarray) -> np.ndarray:
        return self._robot.tool_pose(joints)[0]

    def positions(self, motion: Motion, sampling: Sampling) -> np.ndarray:
        return motion.tool_path(sampling).positions


class LinkZone(BoxConstraint):
    """The origin of a link (an elbow, a flange) inside a box of its own."""

    def __init__(
        self, robot: Robot, link: str, minimum: np.ndarray, maximum: np.ndarray, options: FilterOptions
    ) -> None:
        low, high = minimum + options.box_inset, maximum - options.box_inset
        _check_size(low, high, f"box_inset: {options.box_inset:g} m leaves nothing of the zone of {link}")
        super().__init__(robot, low, high, "zone", f"of {link}")
        self._link = link

    def position(self, joints: np.ndarray) -> np.ndarray:
        return self._robot.link_position(joints, self._link)


def _check_size(minimum: np.ndarray, maximum: np.ndarray, problem: str) -> None:
    for axis, name in enumerate("xyz"):
        if not minimum[axis] + 4e-5 < maximum[axis]:
            raise ParameterError(f"{problem} in {name}")
