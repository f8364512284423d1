"""Reads dataset_statistics.json: what un-normalises actions, by data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from octo_ros.errors import CheckpointError
from octo_ros.types import ACTION_AXES

SINGLE = "default"
"""Name given to the one data set of a fine-tuned checkpoint, whose file names none."""


def read_statistics(body: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Checks the file's content and brings it to one form.

    A pretrained checkpoint has {data set: {"action": ...}}; a fine-tuned one {"action": ...}
    directly, which becomes {"default": ...}. A missing mask means that every axis is scaled, the
    gripper too, as in the official code; it is written out here.

    Args:
        body: the parsed file.
        where: the file's path, for messages.

    Raises:
        CheckpointError: action statistics that are missing or cannot be used, naming the data set and
            the entry. A standard deviation of 0 is taken where the data did not move (min = max), as in
            the official pretraining mix, and refused elsewhere.
    """
    if isinstance(body.get("action"), dict):
        body = {SINGLE: body}
    if not body:
        raise CheckpointError(f"{where}: names no data set")
    return {name: _data_set(entry, f"{where}: {name}") for name, entry in body.items()}


def _data_set(entry: Any, where: str) -> dict[str, Any]:
    if not isinstance(entry, dict) or not isinstance(entry.get("action"), dict):
        raise CheckpointError(f"{where}: expected an object with 'action', got {_keys(entry)}")
    action = dict(entry["action"])
    where = f"{where}: action"
    mean = _numbers(action, "mean", where)
    std = _numbers(action, "std", where)
    mask = action.setdefault("mask", [True] * len(ACTION_AXES))
    booleans = isinstance(mask, list) and all(isinstance(item, bool) for item in mask)
    if not booleans or len(mask) != len(ACTION_AXES):
        raise CheckpointError(f"{where}: mask: expected {len(ACTION_AXES)} booleans, got {mask!r:.200}")
    bounds = {key: _numbers(action, key, where) for key in ("min", "max", "p01", "p99") if key in action}
    for low, high in (("min", "max"), ("p01", "p99")):
        if low in bounds and high in bounds and (bounds[low] > bounds[high]).any():
            raise CheckpointError(
                f"{where}: {low}: expected at most {high} = {action[high]}, got {action[low]}"
            )
    moved = bounds["min"] < bounds["max"] if {"min", "max"} <= set(bounds) else np.ones(len(mean), bool)
    wrong = (std < 0) | ((std == 0) & moved & mask)
    if wrong.any():
        axes = [axis for axis, bad in zip(ACTION_AXES, wrong, strict=True) if bad]
        raise CheckpointError(
            f"{where}: std: expected positive numbers for {', '.join(axes)}, got {action['std']}"
        )
    return {**entry, "action": action}


def _numbers(action: Mapping[str, Any], key: str, where: str) -> np.ndarray:
    """One number for each axis of an action, (7,) float64."""
    values = action.get(key)
    numbers = isinstance(values, list) and all(
        isinstance(value, (int, float)) and not isinstance(value, bool) for value in values
    )
    if not numbers or len(values) != len(ACTION_AXES):
        raise CheckpointError(f"{where}: {key}: expected {len(ACTION_AXES)} numbers, got {values!r:.200}")
    array = np.array(values, dtype=np.float64)
    if not np.isfinite(array).all():
        raise CheckpointError(f"{where}: {key}: expected finite numbers, got {values}")
    return array


def _keys(entry: Any) -> Any:
    return sorted(entry) if isinstance(entry, dict) else type(entry).__name__
