"""Which episodes are for validation: an eighth of them, and each task in both parts where that can be."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

from octo_ros.errors import ParameterError

VALIDATION = 0.125
"""Share of the episodes that is for validation unless another is asked for."""

MOST = 1.6
"""Up to this many times the share is taken, so that no task is missing from validation: a fifth of all."""


def validation_episodes(
    instructions: Sequence[str], share: float = VALIDATION, seed: int = 0
) -> frozenset[int]:
    """Indices of the episodes for validation; the same in every run with the same arguments.

    Tasks are told apart by their instruction, letters' case and outer blanks aside. Of each task with
    two episodes or more one is for validation, the most frequent tasks first, while that is no more
    than `MOST` times the share; then tasks give episodes by their frequency until the share is
    reached. A task keeps at least one episode for training; those with a single one are taken last.

    Args:
        instructions: of each episode, in order.
        share: of the episodes, in [0, 0.5]; 0 takes none.
        seed: decides which episodes of a task are taken.

    Raises:
        ParameterError: a share outside its range.
    """
    if not 0.0 <= share <= 0.5:
        raise ParameterError(f"validation: expected a share of 0 to 0.5, got {share}")
    total = len(instructions)
    if not share or total < 2:
        return frozenset()
    tasks: dict[str, list[int]] = {}
    for index, instruction in enumerate(instructions):
        tasks.setdefault(instruction.strip().casefold(), []).append(index)
    groups = [sorted(indices, key=lambda index: _draw(seed, task, index)) for task, indices in tasks.items()]
    groups.sort(key=lambda group: (-len(group), _draw(seed, "", group[0])))
    repeated = sum(len(group) > 1 for group in groups)
    wanted = max(1, round(share * total))
    wanted = max(wanted, min(repeated, math.floor(MOST * share * total)))
    return frozenset(_taken(groups, wanted))


def _taken(groups: Sequence[Sequence[int]], wanted: int) -> list[int]:
    """One of each group with more than one, then by frequency, then of those with one."""
    counts = [0] * len(groups)
    for index, group in enumerate(groups):
        if len(group) > 1 and sum(counts) < wanted:
            counts[index] = 1
    while sum(counts) < wanted:
        able = [i for i, group in enumerate(groups) if counts[i] < len(group) - 1]
        able = able or [i for i, group in enumerate(groups) if len(group) == 1 and not counts[i]]
        if not able:
            break
        best = max(able, key=lambda i: (len(groups[i]) / (counts[i] + 1), -i))
        counts[best] += 1
    return [index for group, count in zip(groups, counts, strict=True) for index in group[:count]]


def _draw(seed: int, task: str, index: int) -> bytes:
    """A number that looks random and is the same on every machine."""
    return hashlib.sha256(f"{seed}/{task}/{index}".encode()).digest()
