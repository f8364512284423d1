"""From overlapping chunks of actions to one action a step.

A chunk says what to do now and in the next steps; its entry i is for the i-th step after it was
made. Steps are counted, not timed: a caller who leaves steps out gets answers that older chunks
meant for an earlier moment, up to `horizon` - 1 steps late. What is averaged is normalized actions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable

import numpy as np

from octo_ros.errors import ParameterError
from octo_ros.policy.options import ActOptions

Chunk = np.ndarray
"""(horizon, action_dim) float32, normalized."""


class Chunking(ABC):
    """One way to turn chunks into actions."""

    @abstractmethod
    def step(self, infer: Callable[[], Chunk]) -> tuple[np.ndarray, Chunk]:
        """One step on.

        Args:
            infer: makes the chunk of this step; called only where one is needed. If it raises,
                nothing is changed.

        Returns:
            The step's action, (action_dim,) float32, and the newest chunk.
        """

    @abstractmethod
    def clear(self) -> None:
        """Forgets every chunk."""


class TemporalEnsemble(Chunking):
    """Weighted mean of what the last `horizon` chunks say of this step; one inference a step."""

    def __init__(self, horizon: int, weight: float = 0.0) -> None:
        """Args: horizon, of a chunk; weight, 0 for a plain mean, positive to favour older chunks."""
        self._weight = weight
        self._chunks: deque[Chunk] = deque(maxlen=horizon)

    def clear(self) -> None:
        self._chunks.clear()

    def step(self, infer: Callable[[], Chunk]) -> tuple[np.ndarray, Chunk]:
        self._chunks.append(infer())
        count = len(self._chunks)
        # Oldest first; the oldest chunk's answer is its last one.
        answers = np.stack([chunk[count - 1 - made] for made, chunk in enumerate(self._chunks)])
        exponents = -self._weight * np.arange(count)
        weights = np.exp(exponents - exponents.max())
        action = (weights / weights.sum()) @ answers.astype(np.float64)
        return action.astype(np.float32), self._chunks[-1]


class RecedingHorizon(Chunking):
    """The first `execute` actions of a chunk, then a new chunk; one inference each `execute` steps."""

    def __init__(self, horizon: int, execute: int) -> None:
        """Args: horizon, of a chunk; execute, actions played of each, at most the horizon."""
        if not 1 <= execute <= horizon:
            raise ParameterError(f"execute: expected 1 to {horizon}, the chunk's horizon, got {execute}")
        self._execute = execute
        self.clear()

    def clear(self) -> None:
        self._chunk: Chunk | None = None
        self._played = 0

    def step(self, infer: Callable[[], Chunk]) -> tuple[np.ndarray, Chunk]:
        if self._chunk is None or self._played == self._execute:
            self._chunk, self._played = infer(), 0
        self._played += 1
        return self._chunk[self._played - 1], self._chunk


def make_chunking(options: ActOptions, horizon: int) -> Chunking:
    """The way the options name, for chunks of `horizon` actions."""
    if options.execution == "receding":
        return RecedingHorizon(horizon, options.execute)
    return TemporalEnsemble(horizon, options.ensemble_weight)
