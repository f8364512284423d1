"""Bins of values, even or of equal probability: those of proprioception and of discrete actions."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

EPSILON = 1e-6


def bin_edges(bins: int, kind: str, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """Edges of the bins, (bins + 1,) float32.

    Args:
        bins: how many.
        kind: "uniform", from low to high, or "normal", of equal probability under a normal distribution.
        low: of uniform bins.
        high: of uniform bins.
    """
    if kind == "uniform":
        return np.linspace(low, high, bins + 1, dtype=np.float32)
    quantiles = np.linspace(EPSILON, 1 - EPSILON, bins + 1, dtype=np.float32)  # float32 as official
    return np.array([NormalDist().inv_cdf(float(quantile)) for quantile in quantiles], dtype=np.float32)


def bin_centres(bins: int, kind: str) -> np.ndarray:
    """What a bin of actions stands for, the middle of its edges, (bins,) float32."""
    edges = bin_edges(bins, kind)
    return (edges[1:] + edges[:-1]) / np.float32(2)
