"""What may be asked of the simulated cell, in words, and when it is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from octo_ros.errors import ParameterError
from octo_ros.sim.state import RESTING_M, CellState

COLORS = ("red", "green", "blue")
"""Colours of the cubes on the table, one cube each."""

REACH_RADIUS_M = 0.03
"""Furthest from the cube's axis that the point between the fingers has reached it, sideways [m]."""

REACH_HEIGHT_M = (-0.01, 0.08)
"""Lowest and highest above the cube's centre that it has reached it [m]."""

LIFT_M = 0.05
"""How far above the table, by its centre, a cube is lifted [m]."""

HELD_STEPS = 5
"""Observations in a row, at the policy's rate, in which the goal must hold."""


@dataclass(frozen=True)
class CellTask:
    """One task.

    Attributes:
        verb: one of `RULES`.
        color: of the cube that is meant, one of `COLORS`.
    """

    verb: str
    color: str

    @property
    def instruction(self) -> str:
        """The sentence that asks for it."""
        return f"{self.verb} the {self.color} cube"

    def holds(self, state: CellState) -> bool:
        """Whether the goal is met at this instant."""
        return RULES[self.verb](state, self.color)


def _reached(state: CellState, color: str) -> bool:
    """The point between the fingers is at the cube or a little above it."""
    offset = state.grasp_position - state.cubes[color].position
    low, high = REACH_HEIGHT_M
    return bool(np.hypot(offset[0], offset[1]) <= REACH_RADIUS_M and low <= offset[2] <= high)


def _lifted(state: CellState, color: str) -> bool:
    """The cube is clear of the table."""
    return bool(state.cubes[color].position[2] >= RESTING_M + LIFT_M)


RULES: dict[str, Callable[[CellState, str], bool]] = {"reach": _reached, "lift": _lifted}
"""When a verb's goal is met, by verb."""

TASKS = tuple(CellTask(verb, color) for verb in RULES for color in COLORS)
"""Every task."""


class Judge:
    """Says whether a task is done: its goal held for `HELD_STEPS` observations in a row.

    Attributes:
        success: whether it is; stays true.
    """

    def __init__(self, task: CellTask) -> None:
        self._task = task
        self._held = 0
        self.success = False

    def look(self, state: CellState) -> bool:
        """Takes the state at one observation; returns `success`."""
        self._held = self._held + 1 if self._task.holds(state) else 0
        self.success = self.success or self._held >= HELD_STEPS
        return self.success


def chosen_tasks(name: str) -> tuple[CellTask, ...]:
    """The tasks that a name stands for: "all", a verb ("lift"), or an instruction ("lift the red cube").

    Raises:
        ParameterError: none of these.
    """
    if name == "all":
        return TASKS
    chosen = tuple(task for task in TASKS if name in (task.verb, task.instruction))
    if not chosen:
        sentences = ", ".join(repr(task.instruction) for task in TASKS)
        raise ParameterError(
            f"task: expected all, one of {', '.join(RULES)}, or one of {sentences}, got {name!r}"
        )
    return chosen


def task_for_seed(tasks: tuple[CellTask, ...], seed: int) -> CellTask:
    """The task of an episode: consecutive seeds go through all of them in turn."""
    return tasks[seed % len(tasks)]
