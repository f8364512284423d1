"""`SmallStem` and `PatchEncoder`: convolutions if any, then one that cuts patches."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from octo_ros.model.config import PatchEncoder, SmallStem
from octo_ros.model.convolution import ImageConv, StandardizedConv
from octo_ros.model.encoder import EPSILON, ImageEncoder, Modulation, Source
from octo_ros.model.support import NORM_GROUPS, STEM_PATCH


class Stem(ImageEncoder):
    """Convolutions, each normed and rectified, then the patch embedding and FiLM.

    Args:
        config: the official encoder's keywords.
        source: what it reads.
    """

    def __init__(self, config: SmallStem | PatchEncoder, source: Source):
        super().__init__(config, source, [config.num_features] if config.use_film else [])
        self.convolutions = nn.ModuleList()
        self.norms = nn.ModuleList()
        channels, goals, patch = source.frames + source.goals, source.goals, config.patch_size
        if isinstance(config, SmallStem):
            patch //= STEM_PATCH
            rows = zip(config.kernel_sizes, config.strides, config.features, config.padding, strict=False)
            for kernel, stride, features, padding in rows:
                convolution = StandardizedConv(channels, features, kernel, stride, padding, goals=goals)
                self.convolutions.append(convolution)
                self.norms.append(nn.GroupNorm(NORM_GROUPS, features, eps=EPSILON))
                channels, goals = features, 0
        self.embedding = ImageConv(channels, config.num_features, patch, patch, goals=goals)

    @property
    def first(self) -> ImageConv:
        """See `ImageEncoder.first`."""
        return self._all_convolutions()[0]

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """See `ImageEncoder.grid`."""
        for convolution in self._all_convolutions():
            height, width = convolution.size(height, width)
            if min(height, width) < 1:
                break
        return height, width

    def encode(self, x: Tensor, films: Sequence[Modulation]) -> Tensor:
        """See `ImageEncoder.encode`."""
        _, *later = self._all_convolutions()
        for norm, convolution in zip(self.norms, later, strict=True):
            x = convolution(torch.relu(norm(x)))
        for film in films:
            x = film.of(x)
        return x

    def _all_convolutions(self) -> list[ImageConv]:
        return [*self.convolutions, self.embedding]
