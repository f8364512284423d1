"""One episode of the simulated cell: what is asked for, how it goes, and when it is over."""

from __future__ import annotations

from octo_ros.sim.approach import Approach
from octo_ros.sim.cell import CONTROL_S
from octo_ros.sim.state import CellState
from octo_ros.sim.tasks import CellTask, Judge

LOOK_STEPS = 10
"""The task's rule is looked at every so many steps of `CONTROL_S`: at 10 Hz, as the policy sees."""


class Trial:
    """An episode from its begin to its end.

    Args:
        task: what is asked for.
        longest_s: simulated time after which it has failed [s].

    Attributes:
        task: as given.
        steps: that have passed.
    """

    def __init__(self, task: CellTask, longest_s: float) -> None:
        self.task, self.steps = task, 0
        self._longest_s = longest_s
        self._judge, self._approach = Judge(task), Approach()

    @property
    def seconds(self) -> float:
        """Simulated time that has passed [s]."""
        return self.steps * CONTROL_S

    def step(self, state: CellState) -> str:
        """A step has led to that state. Returns how the episode ends with it: success, failure, or ""."""
        self.steps += 1
        if self.steps % LOOK_STEPS:
            return ""
        self._approach.look(state)
        if self._judge.look(state):
            return "success"
        return "failure" if self.seconds >= self._longest_s else ""

    def approached(self, state: CellState) -> str:
        """Colour of the cube that was approached, or "none", where it ends in that state."""
        return self._approach.color(state)
