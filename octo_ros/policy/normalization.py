"""Normalized network units to metres and radians, and back: the one place that knows how.

A bundle holds the statistics of every data set its checkpoint was trained on. Which one is
right is the robot's (the user's) choice, so a wrong or missing name is an error that lists them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from octo_ros.engine.manifest import Manifest
from octo_ros.errors import ParameterError, StatisticsError
from octo_ros.policy.options import NORMALIZATIONS

EPSILON = 1e-8
"""Added to a deviation or range before dividing by it, as in the official training."""

FINE_TUNED = "fine_tuned"
"""Name given to the one data set of a fine-tuned checkpoint, whose statistics come without a name."""


@dataclass(frozen=True)
class Statistics:
    """One data set's statistics of a vector; all (n,), float64, in the vector's own units.

    Attributes:
        source: data set and entry ("bridge_dataset/action"), for messages.
        mask: (n,) bool; where False the value is passed unscaled (the gripper).
        p01, p99: first and last percentile; None where the data set has none.
    """

    source: str
    mask: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    p01: np.ndarray | None
    p99: np.ndarray | None


ActionStatistics = Statistics
"""Statistics of an action: metres, radians and the gripper, axes as `octo_ros.types.ACTION_AXES`."""


def data_sets(manifest: Manifest) -> Mapping[str, Any]:
    """Statistics by data set's name.

    The official fine-tuning writes the statistics of its one data set without a name around them;
    they are then called `FINE_TUNED`.
    """
    action = manifest.statistics.get("action")
    if isinstance(action, Mapping) and "mean" in action:
        return {FINE_TUNED: manifest.statistics}
    return manifest.statistics


def choose_dataset(manifest: Manifest, dataset: str | None) -> str:
    """The data set to scale by: the one named, else the manifest's default, else the only one.

    Raises:
        StatisticsError: listing the data sets the bundle has.
    """
    known = sorted(data_sets(manifest))
    if dataset is None:
        dataset = manifest.default_dataset if manifest.default_dataset is not None else _only(known)
    if dataset not in known:
        raise StatisticsError(
            f"dataset: the bundle has no statistics of {dataset!r}; it has {_listed(known)}"
        )
    return dataset


def action_statistics(manifest: Manifest, dataset: str | None = None) -> ActionStatistics:
    """Statistics of a data set's actions, (action_dim,) each.

    Raises:
        StatisticsError: no such data set (the message lists those there are), or statistics that are
            missing, of the wrong length or not finite.
    """
    return _statistics(manifest, choose_dataset(manifest, dataset), "action", manifest.action_dim)


def proprio_statistics(manifest: Manifest, dataset: str | None = None) -> Statistics:
    """Statistics of a data set's proprioception, (proprio_size,) each; errors as `action_statistics`."""
    name = choose_dataset(manifest, dataset)
    if manifest.proprio_size is None:
        raise StatisticsError(f"{name}/proprio: this bundle's network takes no proprioception")
    return _statistics(manifest, name, "proprio", manifest.proprio_size)


def unnormalize(normalized: np.ndarray, statistics: Statistics, mode: str = "mean_std") -> np.ndarray:
    """Network units to physical ones, float64, same shape.

    Args:
        normalized: (..., n); the gripper is last in an action.
        statistics: as `action_statistics` gives them.
        mode: "mean_std" (value * std + mean) or "bounds" ([-1, 1] to p01..p99). A value beyond the
            range is scaled like any other: bounding motion is the safety filter's work.
    """
    value = _vector(normalized, statistics)
    offset, scale = _affine(statistics, mode)
    return np.where(statistics.mask, value * scale + offset, value)


def normalize(physical: np.ndarray, statistics: Statistics, mode: str = "mean_std") -> np.ndarray:
    """Physical units to the network's, (..., n) float64: what `unnormalize` undoes.

    Divides as the official training does, with 1e-8 added to the deviation or range.
    """
    value = _vector(physical, statistics)
    offset, scale = _affine(statistics, mode)
    if mode == "bounds":
        low = offset - scale
        return np.where(statistics.mask, 2.0 * (value - low) / (2.0 * scale + EPSILON) - 1.0, value)
    return np.where(statistics.mask, (value - offset) / (scale + EPSILON), value)


def normalize_proprio(proprio: np.ndarray, statistics: Statistics, mode: str = "mean_std") -> np.ndarray:
    """Proprioception as the network takes it, (..., n) float32.

    As `normalize`, but with "bounds" clipped to [-1, 1], as the official training does.
    """
    value = normalize(proprio, statistics, mode)
    if mode == "bounds":
        value = np.where(statistics.mask, np.clip(value, -1.0, 1.0), value)
    return value.astype(np.float32)


def _affine(statistics: Statistics, mode: str) -> tuple[np.ndarray, np.ndarray]:
    """Offset and scale (n,) of `unnormalize`."""
    if mode == "mean_std":
        return statistics.mean, statistics.std
    if mode != "bounds":
        raise ParameterError(f"normalization: expected one of {NORMALIZATIONS}, got {mode!r}")
    if statistics.p01 is None or statistics.p99 is None:
        raise StatisticsError(
            f"{statistics.source}: normalization by bounds needs p01 and p99; not both are there"
        )
    half = (statistics.p99 - statistics.p01) / 2.0
    return statistics.p01 + half, half


def _vector(value: np.ndarray, statistics: Statistics) -> np.ndarray:
    array = np.asarray(value, dtype=np.float64)
    size = len(statistics.mean)
    if array.ndim == 0 or array.shape[-1] != size:
        raise StatisticsError(f"{statistics.source}: has {size} values, got an array of shape {array.shape}")
    return array


def _statistics(manifest: Manifest, dataset: str, vector: str, size: int) -> Statistics:
    source = f"{dataset}/{vector}"
    of_dataset = data_sets(manifest)[dataset]
    entry = of_dataset.get(vector) if isinstance(of_dataset, Mapping) else None
    if not isinstance(entry, Mapping):
        raise StatisticsError(f"{source}: expected statistics with mean and std, got {type(entry).__name__}")
    mean, std = _values(entry, "mean", source, size), _values(entry, "std", source, size)
    if np.any(std < 0.0):
        raise StatisticsError(f"{source}: std: expected values of at least 0, got {std.min()}")
    p01 = p99 = None
    if "p01" in entry and "p99" in entry:
        p01, p99 = _values(entry, "p01", source, size), _values(entry, "p99", source, size)
        if np.any(p99 < p01):
            raise StatisticsError(f"{source}: p99 lies below p01 at index {int(np.argmax(p99 < p01))}")
    mask = np.ones(size, dtype=bool)
    if "mask" in entry:
        given = entry["mask"]
        if not isinstance(given, (list, tuple)) or not all(isinstance(value, bool) for value in given):
            raise StatisticsError(f"{source}: mask: expected a list of true and false, got {given!r}")
        mask = np.array(given, dtype=bool)
        if mask.shape != (size,):
            raise StatisticsError(f"{source}: mask: expected {size} values, got {len(given)}")
    return Statistics(source, mask, mean, std, p01, p99)


def _values(entry: Mapping[str, Any], key: str, source: str, size: int) -> np.ndarray:
    given = entry.get(key)
    try:
        values = np.array(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise StatisticsError(f"{source}: {key}: expected {size} numbers, got {given!r}") from error
    if values.shape != (size,):
        raise StatisticsError(f"{source}: {key}: expected {size} numbers, got shape {values.shape}")
    if not all(map(math.isfinite, values)):
        raise StatisticsError(f"{source}: {key}: not finite: {values.tolist()}")
    return values


def _only(known: list[str]) -> str:
    if len(known) == 1:
        return known[0]
    raise StatisticsError(f"dataset: none is named and the bundle has {_listed(known)}; name one")


def _listed(known: list[str]) -> str:
    return ", ".join(known) if known else "no data set"
