"""What all image encoders share: pixels to numbers, goals added, FiLM by the task, patches in rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from octo_ros.model.config import Encoder
from octo_ros.model.convolution import ImageConv

EPSILON = 1e-6
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


class Modulation(NamedTuple):
    """What FiLM does to a feature map, named as the official code names it: x * (1 + add) + multiply.

    Attributes:
        add: (N, C) float32.
        multiply: (N, C) float32.
    """

    add: Tensor
    multiply: Tensor

    def of(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        return x * (1 + self.add[:, :, None, None]) + self.multiply[:, :, None, None]


class Film(nn.Module):
    """The task to the modulation of one feature map (the official `FilmConditioning`)."""

    def __init__(self, values: int, channels: int):
        super().__init__()
        self.add = nn.Linear(values, channels)
        self.multiply = nn.Linear(values, channels)

    def forward(self, task: Tensor) -> Modulation:
        """(B, values) to its modulation."""
        return Modulation(self.add(task), self.multiply(task))


class Source(NamedTuple):
    """What an encoder reads.

    Attributes:
        frames: channels of the stacked frames, a multiple of 3.
        goals: channels of the goal images after them, a multiple of 3 or 0.
        film: values of the task that condition it, 0 where none do.
    """

    frames: int
    goals: int
    film: int


class ImageEncoder(nn.Module):
    """Stacked images to one feature vector per patch.

    Args:
        config: the official encoder's keywords.
        source: what it reads.
        films: channels of each feature map that FiLM modulates, in order.
    """

    def __init__(self, config: Encoder, source: Source, films: Sequence[int]):
        super().__init__()
        self.normalization = config.img_norm_type
        self.films = nn.ModuleList([Film(source.film, channels) for channels in films])

    @property
    def first(self) -> ImageConv:
        """The convolution that reads the images."""
        raise NotImplementedError

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of patches of an image of this size [pixel]; below 1 if it is too small."""
        raise NotImplementedError

    def encode(self, x: Tensor, films: Sequence[Modulation]) -> Tensor:
        """The first convolution's result (N, C, H, W) to features (N, features, rows, columns)."""
        raise NotImplementedError

    def patches(self, height: int, width: int) -> int:
        """Number of patches of an image of this size [pixel]; 0 if it is too small."""
        rows, columns = self.grid(height, width)
        return rows * columns if min(rows, columns) > 0 else 0

    def goal(self, goals: Tensor) -> Tensor:
        """Stacked goals (B, H, W, goals) uint8 to their share of the first convolution (B, C, H', W')."""
        return self.first.goal(self._normalize(goals))

    def forward(self, frames: Tensor, goal: Tensor | None, films: Sequence[Modulation]) -> Tensor:
        """Images to patches, row by row.

        Args:
            frames: (N, H, W, frames) uint8, stacked on channels.
            goal: (N, C, H', W') as `goal` gave it, or None where the encoder reads none.
            films: one for each of `films`.

        Returns:
            (N, patches, features) float32.
        """
        x = self.first(self._normalize(frames))
        if goal is not None:
            x = x + goal
        return self.encode(x, films).flatten(2).transpose(1, 2)

    def _normalize(self, images: Tensor) -> Tensor:
        """(N, H, W, C) uint8 to (N, C, H, W) float32."""
        if self.normalization == "default":
            return (images.float() / 127.5 - 1.0).permute(0, 3, 1, 2)
        repeats = images.shape[-1] // 3
        mean = torch.tensor(_IMAGENET_MEAN * repeats)
        std = torch.tensor(_IMAGENET_STD * repeats)
        return ((images.float() / 255 - mean) / std).permute(0, 3, 1, 2)
