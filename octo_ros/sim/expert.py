"""A scripted expert: from the cell's true state to the action that a good demonstration would take.

Actions are the policy's: dx dy dz [m] and droll dpitch dyaw [rad] of the tool in the base frame for
one step at 10 Hz, then the gripper, 1 open, 0 closed. The expert needs no simulator, only states.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from octo_ros.sim.state import CellState
from octo_ros.sim.tasks import CellTask


class Phase(Enum):
    """What the expert is doing."""

    APPROACH = "approach"  # to a point above the cube, fingers along its sides
    DESCEND = "descend"  # straight down around it
    CLOSE = "close"  # the fingers
    LIFT = "lift"  # straight up
    STAY = "stay"  # where a reach ends


@dataclass(frozen=True)
class ExpertOptions:
    """How the expert moves.

    Attributes:
        gain: share of the way that is left, taken in one step.
        max_translation: longest step [m].
        max_rotation: largest turn in one step [rad].
        hover_m: height of the grasp point above the cube's centre before it descends [m].
        grasp_m: the same when the fingers close [m].
        reach_m: the same where a reach ends [m].
        lift_m: height of the grasp point above the table to which a cube is lifted [m].
        align_m: furthest from the cube's axis, sideways, at which it descends [m].
        align_rad: largest angle between fingers and sides at which it descends [rad].
        close_steps: steps that the fingers are given to close.
        missed_opening: opening below which the closed fingers hold nothing.
        translation_noise: standard deviation of what is added to each axis, away from the cube [m].
        rotation_noise: the same for each angle [rad].
    """

    gain: float = 0.4
    max_translation: float = 0.018
    max_rotation: float = 0.04
    hover_m: float = 0.09
    grasp_m: float = 0.012
    reach_m: float = 0.05
    lift_m: float = 0.16
    align_m: float = 0.008
    align_rad: float = 0.06
    close_steps: int = 6
    missed_opening: float = 0.15
    translation_noise: float = 0.0015
    rotation_noise: float = 0.004


class Expert:
    """Carries out one task; one instance for each episode.

    Args:
        task: which.
        seed: of the noise in its actions.
        options: how it moves.

    Attributes:
        phase: what it is doing.
        intended: (7,) the newest action before noise: what a policy should learn from the state it was
            taken in, while the noise takes the arm to states that a perfect run would not show.
    """

    def __init__(self, task: CellTask, seed: int, options: ExpertOptions | None = None) -> None:
        self._task = task
        self._options = ExpertOptions() if options is None else options
        self._random = np.random.default_rng(seed)
        self._closed_for = 0
        self.phase = Phase.APPROACH
        self.intended = np.zeros(7)

    def act(self, state: CellState) -> np.ndarray:
        """(7,) float64 action for the state at this step."""
        if self._task.verb == "reach":
            self._follow_reach(state)
        else:
            self._follow_lift(state)
        options = self._options
        way = self._goal(state) - state.grasp_position
        turn = self._turn(state) if self.phase in (Phase.APPROACH, Phase.DESCEND, Phase.STAY) else np.zeros(3)
        action = np.empty(7)
        action[:3] = _shortened(options.gain * way, options.max_translation)
        action[3:6] = _shortened(options.gain * turn, options.max_rotation)
        action[6] = 0.0 if self.phase in (Phase.CLOSE, Phase.LIFT) else 1.0
        self.intended = action.copy()
        if self.phase in (Phase.APPROACH, Phase.LIFT):
            action[:3] += self._random.normal(0.0, options.translation_noise, 3)
            action[3:6] += self._random.normal(0.0, options.rotation_noise, 3)
        return action

    def _follow_reach(self, state: CellState) -> None:
        if self.phase is Phase.APPROACH and self._aligned(state, self._options.reach_m):
            self.phase = Phase.STAY

    def _follow_lift(self, state: CellState) -> None:
        options = self._options
        if self.phase is Phase.APPROACH and self._aligned(state, options.hover_m):
            self.phase = Phase.DESCEND
        elif self.phase is Phase.DESCEND and self._above(state) < options.grasp_m + 0.005:
            self.phase, self._closed_for = Phase.CLOSE, 0
        elif self.phase is Phase.CLOSE:
            self._closed_for += 1
            if self._closed_for > options.close_steps:
                self.phase = Phase.LIFT
        if self.phase is Phase.LIFT and state.opening < options.missed_opening:
            self.phase = Phase.APPROACH  # holds nothing: again

    def _goal(self, state: CellState) -> np.ndarray:
        """(3,) where the grasp point should go [m]."""
        options, cube = self._options, state.cubes[self._task.color].position
        if self.phase is Phase.CLOSE:
            return state.grasp_position
        if self.phase is Phase.LIFT:
            return np.array([state.grasp_position[0], state.grasp_position[1], options.lift_m])
        above = {Phase.APPROACH: options.hover_m, Phase.DESCEND: options.grasp_m, Phase.STAY: options.reach_m}
        height = options.reach_m if self._task.verb == "reach" else above[self.phase]
        return cube + [0.0, 0.0, height]

    def _turn(self, state: CellState) -> np.ndarray:
        """(3,) rotation vector, base axes, that turns the tool down and its fingers to the cube's sides."""
        tilt = np.cross(state.tool_rotation[:, 2], [0.0, 0.0, -1.0])
        return np.array([tilt[0], tilt[1], self._skew(state)])

    def _skew(self, state: CellState) -> float:
        """Smallest turn of the fingers to the cube's sides, within an eighth turn either way [rad]."""
        skew = state.cubes[self._task.color].yaw - state.finger_yaw
        return float((skew + np.pi / 4.0) % (np.pi / 2.0) - np.pi / 4.0)

    def _above(self, state: CellState) -> float:
        """Height of the grasp point above the cube's centre [m]."""
        return float(state.grasp_position[2] - state.cubes[self._task.color].position[2])

    def _aligned(self, state: CellState, height: float) -> bool:
        """Whether the grasp point is above the cube, near that height [m], and turned as its sides are."""
        options = self._options
        offset = state.grasp_position - state.cubes[self._task.color].position
        near = np.hypot(offset[0], offset[1]) < options.align_m and abs(offset[2] - height) < 0.015
        return bool(near and abs(self._skew(state)) < options.align_rad)


def _shortened(vector: np.ndarray, longest: float) -> np.ndarray:
    """The vector, made no longer than that, its direction kept."""
    length = float(np.linalg.norm(vector))
    return vector * (longest / length) if length > longest else vector
