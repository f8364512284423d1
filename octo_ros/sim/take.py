"""The approach of a recorded episode, kept to be written again under other words.

Which cube to go to is told by the words alone. Under other words the same pictures are another
demonstration: the expert says what it would do for them in the same states.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from octo_ros.bags.build import numbers, text
from octo_ros.sim.expert import Expert, Phase
from octo_ros.sim.state import CellState
from octo_ros.sim.tasks import TASKS, CellTask

RECORDED = "/recorded/action"
"""Topic of the action that is to be learned."""

WORDS = ("/octo/instruction", "/octo/episode")
"""Topics that carry an episode's words."""

Messages = list[tuple[int, str, Any]]
"""Time [ns], topic and message, in order."""


def other_tasks(task: CellTask, seed: int) -> list[CellTask]:
    """A task of each other colour, its verb and their order drawn by the seed."""
    random = np.random.default_rng(seed)
    colors = sorted({other.color for other in TASKS} - {task.color})
    verbs = sorted({other.verb for other in TASKS})
    return [CellTask(verbs[random.integers(len(verbs))], colors[i]) for i in random.permutation(len(colors))]


class Take:
    """One episode until its expert has come to the cube.

    Args:
        task: of the episode.
        others: whose words the copies have.
    """

    def __init__(self, task: CellTask = TASKS[0], others: Sequence[CellTask] = ()) -> None:
        self._task, self._others = task, list(others)
        self._experts = [Expert(other, 0) for other in others]
        self._actions: list[list[np.ndarray]] = [[] for _ in others]
        self._messages: Messages = []
        self._open = bool(others)

    def look(self, state: CellState, phase: Phase) -> None:
        """The expert acted in a state, in a phase: the take ends where it no longer approaches."""
        self._open = self._open and phase is Phase.APPROACH
        if self._open:
            for expert, actions in zip(self._experts, self._actions, strict=True):
                expert.act(state)
                actions.append(expert.intended)

    def add(self, at_ns: int, topic: str, message: object) -> None:
        """A message of the episode."""
        if self._open:
            self._messages.append((at_ns, topic, message))

    def copies(self) -> Iterator[Messages]:
        """The messages under each of the other words, at their old times; its end is not told."""
        self._open = False
        for other, actions in zip(self._others, self._actions, strict=True):
            if not actions:
                continue
            left, copy = iter(actions), []
            for at_ns, topic, message in self._messages:
                if topic == RECORDED:
                    message = numbers(next(left))
                elif topic in WORDS:
                    if message.data.startswith("end"):
                        continue
                    message = text(message.data.replace(self._task.instruction, other.instruction))
                copy.append((at_ns, topic, message))
            yield copy
