"""Statistics of the training data, as the official code takes them: what scales actions and state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from octo_ros.errors import StatisticsError
from octo_ros.export.statistics import read_statistics
from octo_ros.policy.normalization import Statistics
from octo_ros.rlds.statistics import ACTION_MASK, vector_entry
from octo_ros.train.episodes import TrainingEpisode


def data_statistics(episodes: Sequence[TrainingEpisode]) -> dict[str, Any]:
    """Statistics of one data set, as an entry of dataset_statistics.json."""
    actions = np.concatenate([episode.action for episode in episodes])
    entry: dict[str, Any] = {"action": vector_entry(actions, ACTION_MASK)}
    states = [episode.state for episode in episodes if episode.state is not None]
    if states:
        together = np.concatenate(states)
        entry["proprio"] = vector_entry(together, (True,) * together.shape[1])
    entry["num_transitions"] = sum(len(episode.action) for episode in episodes)
    entry["num_trajectories"] = len(episodes)
    return entry


def vector_statistics(entry: Mapping[str, Any], vector: str, size: int, where: str) -> Statistics:
    """Statistics of "action" or "proprio" out of a data set's entry.

    Args:
        entry: of one data set.
        vector: its name.
        size: values it has.
        where: the data set and its file, for messages.

    Raises:
        StatisticsError: they are missing or have another size.
    """
    given = entry.get(vector)
    if not isinstance(given, Mapping) or not {"mean", "std"} <= set(given):
        raise StatisticsError(f"{where}: no statistics of {vector} (mean and std); it has {sorted(entry)}")
    mean, std = (np.array(given[key], dtype=np.float64) for key in ("mean", "std"))
    mask = np.array(given.get("mask", [True] * size), dtype=bool)
    for key, values in (("mean", mean), ("std", std), ("mask", mask)):
        if values.shape != (size,):
            raise StatisticsError(f"{where}: {vector}: {key}: expected {size} values, got {values.shape}")
    return Statistics(f"{where}/{vector}", mask, mean, std, None, None)


def choose_statistics(body: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    """One data set's entry out of the content of a dataset_statistics.json.

    Raises:
        StatisticsError: no such data set; the message lists those there are.
        CheckpointError: statistics that cannot be used.
    """
    known = read_statistics(body, where)
    if name in known:
        return known[name]
    if len(known) == 1:
        return next(iter(known.values()))
    raise StatisticsError(f"{where}: no data set {name!r}; it has {', '.join(sorted(known))}")
