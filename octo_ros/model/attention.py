"""Which token may see which: the official rules, as one static boolean matrix.

The sequence is [prefix groups, then at each timestep all timestep groups]. Task tokens see task
tokens; observation tokens see the task and observations of the same or an earlier timestep; a
readout sees those and itself; nothing sees a later timestep.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch

import numpy as np

PREFIX = -1
"""The timestep of prefix tokens: before all others."""


@dataclass(frozen=True)
class Group:
    """Tokens that act together.

    Attributes:
        name: "task_...", "obs_..." or "readout_...".
        tokens: how many, at each timestep for a timestep group.
    """

    name: str
    tokens: int

    @property
    def visible(self) -> tuple[str, ...]:
        """Patterns of the names of groups that this one sees, at its own timestep and before."""
        if self.name.startswith("task_"):
            return ("task_*",)
        if self.name.startswith("obs_"):
            return ("task_*", "obs_*")
        return ("task_*", "obs_*", self.name)

    def sees(self, other: Group) -> bool:
        """Whether this group sees the other at all."""
        return any(fnmatch(other.name, pattern) for pattern in self.visible)


def attention_mask(
    prefix: Sequence[Group], timestep: Sequence[Group], window: int, correct: bool
) -> np.ndarray:
    """The matrix of who sees whom, padding left aside.

    Args:
        prefix: groups before the first timestep.
        timestep: groups that appear at each timestep.
        window: number of timesteps.
        correct: False reproduces the released 1.0 checkpoints, which were trained with a token's
            group found off by one: the first token of each group but the first counts as one of
            the group before it.

    Returns:
        (total, total) bool, row sees column.
    """
    groups = [*prefix, *timestep]
    sees = np.array([[group.sees(other) for other in groups] for group in groups], dtype=bool)
    prefix_of_token = _group_of_token(prefix, correct)
    step_of_token = _group_of_token(timestep, correct) + len(prefix)
    group = np.concatenate([prefix_of_token, np.tile(step_of_token, window)])
    time = np.concatenate(
        [np.full(len(prefix_of_token), PREFIX), np.repeat(np.arange(window), len(step_of_token))]
    )
    return sees[group[:, None], group[None, :]] & (time[None, :] <= time[:, None])


def _group_of_token(groups: Sequence[Group], correct: bool) -> np.ndarray:
    """Index of the group of each token, (tokens,) int."""
    ends = np.cumsum([group.tokens for group in groups], dtype=int)
    tokens = np.arange(ends[-1] if len(ends) else 0)
    return np.searchsorted(ends, tokens, side="right" if correct else "left")
