"""Small copies of the frames that were acted on: a few of each episode, evenly spread, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

HEIGHT = 192
"""Rows of a thumbnail [pixel]."""

KEPT = 8
"""Most thumbnails of an episode; at least half as many where it has that many actions."""


@dataclass(frozen=True)
class Thumbnail:
    """A small frame and the action it led to.

    Attributes:
        stamp_ns: of the action [ns].
        step: index of the action in the whole replay.
        image: (HEIGHT, W, 3) uint8 RGB.
    """

    stamp_ns: int
    step: int
    image: np.ndarray


class Thumbnails:
    """Thumbnails by episode. Where an episode outgrows its share, every second one is dropped."""

    def __init__(self) -> None:
        self.episodes: dict[int, list[Thumbnail]] = {}
        self._seen: dict[int, int] = {}
        self._stride: dict[int, int] = {}

    def add(self, episode: int, step: int, stamp_ns: int, frame: np.ndarray) -> None:
        """Offers a frame, (H, W, 3) uint8 RGB, any size."""
        kept = self.episodes.setdefault(episode, [])
        seen, stride = self._seen.get(episode, 0), self._stride.get(episode, 1)
        self._seen[episode] = seen + 1
        if seen % stride:
            return
        if len(kept) == KEPT:
            del kept[1::2]
            self._stride[episode] = stride = 2 * stride
            if seen % stride:
                return
        kept.append(Thumbnail(stamp_ns, step, _small(frame)))


def _small(frame: np.ndarray) -> np.ndarray:
    height, width = frame.shape[:2]
    size = max(1, round(width * HEIGHT / height)), HEIGHT
    method = cv2.INTER_AREA if height > HEIGHT else cv2.INTER_CUBIC
    return cv2.resize(frame, size, interpolation=method)
