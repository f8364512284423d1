"""dataset_statistics.json of a data set: what normalises its actions and states, in Octo's own form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from octo_ros.rlds.episode import Episode
from octo_ros.rlds.errors import DatasetError
from octo_ros.rlds.features import write_json
from octo_ros.types import ACTION_AXES

STATISTICS = "dataset_statistics.json"

ACTION_MASK = (True,) * (len(ACTION_AXES) - 1) + (False,)
"""Which values of an action are scaled: all but the gripper."""


class StatisticsBuilder:
    """Takes episodes one by one. Percentiles need every value, so the vectors are kept: 4 bytes a value,
    and no picture is decoded."""

    def __init__(self) -> None:
        self._vectors: dict[str, list[np.ndarray]] = {"action": [], "proprio": []}
        self._episodes = 0

    def add(self, episode: Episode) -> None:
        """Adds an episode.

        Raises:
            DatasetError: a state where the others have none, or of another width.
        """
        self._vectors["action"].append(episode.action)
        if episode.state is not None:
            self._vectors["proprio"].append(episode.state)
        self._episodes += 1
        states = self._vectors["proprio"]
        widths = {state.shape[1] for state in (states[:1] + states[-1:])}
        if len(states) not in (0, self._episodes) or len(widths) > 1:
            raise DatasetError(
                f"episode {episode.index} of {episode.source}: state: expected the same number of values in "
                "all episodes, or none in all"
            )

    def result(self) -> dict[str, Any]:
        """The data set's entry: "action", "proprio" where there are states, and the two counts.

        Each vector has mean, std (of the population), min, max, p01, p99 (linear between values), (n,)
        each, computed in float64, and mask: false for the gripper, which is not scaled.

        Raises:
            DatasetError: no episode was added.
        """
        if not self._episodes:
            raise DatasetError("statistics: expected at least one episode, got none")
        action = np.concatenate(self._vectors["action"])
        entry = {"action": vector_entry(action, ACTION_MASK)}
        if self._vectors["proprio"]:
            proprio = np.concatenate(self._vectors["proprio"])
            entry["proprio"] = vector_entry(proprio, (True,) * proprio.shape[1])
        return {**entry, "num_transitions": len(action), "num_trajectories": self._episodes}


def compute_statistics(episodes: Iterable[Episode]) -> dict[str, Any]:
    """Statistics of some episodes, as `StatisticsBuilder.result`. Octo's own are of all splits together."""
    builder = StatisticsBuilder()
    for episode in episodes:
        builder.add(episode)
    return builder.result()


def write_statistics(folder: Path, name: str, entry: Mapping[str, Any]) -> Path:
    """Writes {name: entry} to dataset_statistics.json in `folder`; returns its path."""
    path = folder / STATISTICS
    write_json(path, {name: dict(entry)})
    return path


def vector_entry(vectors: np.ndarray, mask: tuple[bool, ...]) -> dict[str, Any]:
    """mean, std, max, min, p99 and p01 of `vectors` (k, n), n numbers each, and the mask (n,)."""
    values = vectors.astype(np.float64)
    p01, p99 = np.quantile(values, (0.01, 0.99), axis=0)
    numbers = {
        "mean": values.mean(axis=0),
        "std": values.std(axis=0),
        "max": values.max(axis=0),
        "min": values.min(axis=0),
        "p99": p99,
        "p01": p01,
    }
    numbers["std"][numbers["min"] == numbers["max"]] = 0.0  # not the rounding of the mean
    return {**{key: value.tolist() for key, value in numbers.items()}, "mask": list(mask)}
