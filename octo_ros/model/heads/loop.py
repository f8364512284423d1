"""A loop whose number of turns is fixed: in Python, and in a graph one `Scan` instead of all its turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch._higher_order_ops import scan

Turn = Callable[[Tensor, Sequence[Tensor]], Tensor]


def repeat(turn: Turn, x: Tensor, slices: Sequence[Tensor]) -> Tensor:
    """Passes `x` through every turn, each with its own slices.

    An exported graph holds the turn once, so that it stays small and quick to load however many turns
    there are; the turn's parameters stay with the graph's others.

    Args:
        turn: `x` and the slices of one turn to the next `x`, of the same shape and type.
        x: what the first turn takes.
        slices: tensors (turns, ...), of which each turn takes its row.

    Returns:
        What the last turn gave.
    """
    if torch.compiler.is_exporting():
        return scan(lambda carried, own: (turn(carried, own), ()), x, tuple(slices))[0]
    for own in zip(*slices, strict=True):
        x = turn(x, own)
    return x
