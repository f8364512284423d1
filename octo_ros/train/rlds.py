"""RLDS data sets as training data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from octo_ros.rlds.dataset import Episode, read_episodes
from octo_ros.rlds.frames import Frames


@dataclass(frozen=True)
class RldsEpisode:
    """An episode of a data set as a `TrainingEpisode`; its frames stay compressed until they are needed."""

    episode: Episode

    @property
    def cameras(self) -> Mapping[str, Frames]:
        """Camera to its frames."""
        return self.episode.images

    @property
    def action(self) -> np.ndarray:
        """(T, 7) float32."""
        return self.episode.action

    @property
    def state(self) -> np.ndarray | None:
        """(T, P) float32, or None."""
        return self.episode.state

    @property
    def instruction(self) -> str:
        """A sentence, or nothing."""
        return self.episode.instruction


def read_split(folder: Path, split: str) -> list[RldsEpisode]:
    """The episodes of a split.

    Raises:
        DatasetError: as `octo_ros.rlds.dataset.read_episodes`.
    """
    return [RldsEpisode(episode) for episode in read_episodes(folder, split)]
