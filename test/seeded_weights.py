"""Weights made from their names and shapes alone, for references too large to keep.

The official code answered with the same ones: `data/official/write_references.py` makes them by this
file too. numpy alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

SEED = 7


def seeded_weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Official name to weights, float32: even random numbers, drawn in the order of the names.

    A kernel has the deviation 1 / sqrt(inputs), so that activations keep their size; a norm's scale
    lies about 1, everything else about 0, with the deviation 0.1.
    """
    rng = np.random.default_rng(SEED)
    weights = {}
    for name in sorted(shapes):
        even = (rng.random(shapes[name]) - 0.5) * math.sqrt(12)  # mean 0, deviation 1
        leaf = name.rsplit("/", 1)[-1]
        deviation = math.prod(shapes[name][:-1]) ** -0.5 if leaf == "kernel" else 0.1
        weights[name] = (even * deviation + (leaf == "scale")).astype(np.float32)
    return weights
