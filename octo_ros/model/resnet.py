"""`ViTResnet` and `ResNet26FILM`: a bottleneck ResNet whose last feature map is the patches."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from octo_ros.model.config import Resnet
from octo_ros.model.convolution import SAME, ImageConv, StandardizedConv, pads
from octo_ros.model.encoder import EPSILON, ImageEncoder, Modulation, Source
from octo_ros.model.support import NORM_GROUPS

_POOL_KERNEL, _POOL_STRIDE = 3, 2
_EXPANSION = 4


def _convolution(inputs: int, features: int, kernel: int, stride: int = 1, goals: int = 0) -> ImageConv:
    return StandardizedConv(inputs, features, kernel, stride, SAME, bias=False, goals=goals)


def _norm(features: int) -> nn.GroupNorm:
    return nn.GroupNorm(NORM_GROUPS, features, eps=EPSILON)


class ResidualUnit(nn.Module):
    """Three convolutions, narrow in the middle, added to their input.

    Args:
        inputs: channels that come in.
        features: channels in the middle; four times as many come out.
        stride: of the middle convolution.
    """

    def __init__(self, inputs: int, features: int, stride: int):
        super().__init__()
        self.projects = inputs != _EXPANSION * features or stride != 1
        if self.projects:
            self.conv_proj = _convolution(inputs, _EXPANSION * features, 1, stride)
            self.norm_proj = _norm(_EXPANSION * features)
        self.conv1 = _convolution(inputs, features, 1)
        self.norm1 = _norm(features)
        self.conv2 = _convolution(features, features, 3, stride)
        self.norm2 = _norm(features)
        self.conv3 = _convolution(features, _EXPANSION * features, 1)
        self.norm3 = _norm(_EXPANSION * features)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, 4 * features, H', W')."""
        kept = self.norm_proj(self.conv_proj(x)) if self.projects else x
        y = torch.relu(self.norm1(self.conv1(x)))
        y = torch.relu(self.norm2(self.conv2(y)))
        return torch.relu(kept + self.norm3(self.conv3(y)))


class ResnetEncoder(ImageEncoder):
    """A wide first convolution, pooling, then stages; FiLM after every stage but the first.

    Without stages FiLM comes after the pooling.

    Args:
        config: the official encoder's keywords.
        source: what it reads.
    """

    def __init__(self, config: Resnet, source: Source):
        root, stages = config.root_features, len(config.num_layers)
        later = [_EXPANSION * root * 2**stage for stage in range(1, stages)] if stages else [root]
        super().__init__(config, source, later if config.use_film else [])
        self.root = _convolution(source.frames + source.goals, root, 7, 2, source.goals)
        self.root_norm = _norm(root)
        self.stages = nn.ModuleDict()
        channels = root
        for stage, count in enumerate(config.num_layers):
            features = root * 2**stage
            units = nn.ModuleDict()
            for unit in range(max(count, 1)):  # a count of 0 is one unit, as officially
                stride = 2 if stage > 0 and unit == 0 else 1
                units[f"unit{unit + 1}"] = ResidualUnit(channels, features, stride)
                channels = _EXPANSION * features
            self.stages[f"block{stage + 1}"] = units

    @property
    def first(self) -> ImageConv:
        """See `ImageEncoder.first`."""
        return self.root

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """See `ImageEncoder.grid`."""
        halvings = 2 + max(len(self.stages) - 1, 0)  # the root, the pooling, every stage but the first
        for _ in range(halvings):
            height, width = -(-height // 2), -(-width // 2)
        return height, width

    def encode(self, x: Tensor, films: Sequence[Modulation]) -> Tensor:
        """See `ImageEncoder.encode`."""
        x = _pool(torch.relu(self.root_norm(x)))
        if not len(self.stages):
            return films[0].of(x) if films else x
        for index, units in enumerate(self.stages.values()):
            for unit in units.values():
                x = unit(x)
            if films and index > 0:
                x = films[index - 1].of(x)
        return x


def _pool(x: Tensor) -> Tensor:
    """The largest of each 3 by 3 window, every second one; padded by 0, for nothing here is below it."""
    rows, columns = (pads(size, _POOL_KERNEL, _POOL_STRIDE, SAME) for size in x.shape[-2:])
    return nn.functional.max_pool2d(nn.functional.pad(x, (*columns, *rows)), _POOL_KERNEL, _POOL_STRIDE)
