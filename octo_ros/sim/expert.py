"""A scripted expert: from the cell's true state to the action that a good demonstration would take.

Actions are the policy's: dx dy dz [m] and droll dpitch dyaw [rad] of the tool in the base frame for
one step at 10 Hz, then the gripper, 1 open, 0 closed. The expert needs no simulator, only states, and
what it means to do follows from the present state alone: a policy that sees the pictures of one
instant can learn it, as it could not learn a plan that the expert keeps in mind.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from octo_ros.sim.state import CellState
from octo_ros.sim.tasks import CellTask


class Phase(Enum):
    """What the expert is doing."""

    APPROACH = "approach"  # over the cube, fingers along its sides; down as far as it is over it
    CLOSE = "close"  # the fingers, around it
    LIFT = "lift"  # straight up


@dataclass(frozen=True)
class ExpertOptions:
    """How the expert moves.

    Attributes:
        gain: share of the way that is left, taken in one step.
        max_translation: longest step [m].
        max_rotation: largest turn in one step [rad].
        reach_m: height of the grasp point above the cube's centre where a reach ends [m].
        hover_m: the same while it is not yet over a cube that it will lift [m].
        grasp_m: the same when the fingers close [m].
        over_m: from the cube's axis, sideways, within which it is over the cube and goes down all the way,
            and from which on it hovers; the height is in proportion between [m].
        close_m: furthest from the cube's axis, and from `grasp_m`, at which the fingers close [m].
        lift_m: height of the grasp point above the table to which a cube is lifted [m].
        gripped_opening: opening up to which fingers around a cube hold it.
        missed_opening: opening below which the fingers hold nothing.
        open_opening: opening from which the fingers fit around a cube.
        translation_noise: standard deviation of what is added to each axis of a step [m].
        rotation_noise: the same for each angle [rad].
        noise_memory: share of the noise that the next step's keeps, so that it leads astray.
    """

    gain: float = 0.4
    max_translation: float = 0.018
    max_rotation: float = 0.04
    reach_m: float = 0.05
    hover_m: float = 0.07
    grasp_m: float = 0.004
    over_m: tuple[float, float] = (0.008, 0.035)
    close_m: tuple[float, float] = (0.012, 0.008)
    lift_m: float = 0.16
    gripped_opening: float = 0.6
    missed_opening: float = 0.2
    open_opening: float = 0.85
    translation_noise: float = 0.004
    rotation_noise: float = 0.006
    noise_memory: float = 0.7


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
        self._noise = np.zeros(6)
        self.phase = Phase.APPROACH
        self.intended = np.zeros(7)

    def act(self, state: CellState) -> np.ndarray:
        """(7,) float64 action for the state at this step."""
        options, offset = self._options, self._offset(state)
        self.phase = Phase.APPROACH if self._task.verb == "reach" else self._lifting(state, offset)
        way, turn = np.zeros(3), np.zeros(3)
        if self.phase is Phase.APPROACH:
            way, turn = [0.0, 0.0, self._height(state, offset)] - offset, self._turn(state)
        elif self.phase is Phase.LIFT:
            way = np.array([0.0, 0.0, options.lift_m - state.grasp_position[2]])
        self.intended = np.concatenate(
            (
                _shortened(options.gain * way, options.max_translation),
                _shortened(options.gain * turn, options.max_rotation),
                [float(self.phase is Phase.APPROACH)],
            )
        )
        action = self.intended.copy()
        if self.phase is not Phase.CLOSE:
            action[:6] += self._astray()
        return action

    def _lifting(self, state: CellState, offset: np.ndarray) -> Phase:
        """What a lift does in a state."""
        options = self._options
        sideways, above = np.hypot(offset[0], offset[1]), abs(offset[2] - options.grasp_m)
        between = sideways < 2.0 * options.close_m[0] and above < 3.0 * options.close_m[1]
        if between and options.missed_opening < state.opening <= options.gripped_opening:
            return Phase.LIFT
        closing = options.gripped_opening < state.opening < options.open_opening
        there = sideways < options.close_m[0] and above < options.close_m[1]
        if there and (closing or state.opening >= options.open_opening) or between and closing:
            return Phase.CLOSE
        return Phase.APPROACH

    def _height(self, state: CellState, offset: np.ndarray) -> float:
        """Of the grasp point above the cube's centre, where an approach goes from there [m]."""
        options = self._options
        if self._task.verb == "reach":
            return options.reach_m
        if state.opening < options.open_opening:
            return options.hover_m  # closed fingers do not fit around it
        near, far = options.over_m
        share = (np.hypot(offset[0], offset[1]) - near) / (far - near)
        return options.grasp_m + float(np.clip(share, 0.0, 1.0)) * (options.hover_m - options.grasp_m)

    def _offset(self, state: CellState) -> np.ndarray:
        """(3,) from the cube's centre to the point between the fingers [m]."""
        return state.grasp_position - state.cubes[self._task.color].position

    def _turn(self, state: CellState) -> np.ndarray:
        """(3,) rotation vector, base axes, that turns the tool down and its fingers to the cube's sides."""
        tilt = np.cross(state.tool_rotation[:, 2], [0.0, 0.0, -1.0])
        skew = state.cubes[self._task.color].yaw - state.finger_yaw
        skew = (skew + np.pi / 4.0) % (np.pi / 2.0) - np.pi / 4.0  # within an eighth turn either way
        return np.array([tilt[0], tilt[1], skew])

    def _astray(self) -> np.ndarray:
        """(6,) the noise of this step: a first-order autoregression, of `noise_memory`."""
        options = self._options
        deviation = np.repeat((options.translation_noise, options.rotation_noise), 3)
        fresh = np.sqrt(1.0 - options.noise_memory**2) * deviation
        self._noise = options.noise_memory * self._noise + self._random.normal(0.0, 1.0, 6) * fresh
        return self._noise


def _shortened(vector: np.ndarray, longest: float) -> np.ndarray:
    """The vector, made no longer than that, its direction kept."""
    length = float(np.linalg.norm(vector))
    return vector * (longest / length) if length > longest else vector
