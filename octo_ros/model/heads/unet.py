"""A 1-D U-Net over the steps of a chunk of actions (the official `ConditionalUnet1D`).

Feature maps are (N, channels, horizon), with a batch of chunks N.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from octo_ros.model.transformer import EPSILON

FEATURES = (256, 512, 1024)
"""Channels at each resolution, finest first; the official head fixes these and what follows."""

TIME_FEATURES = 128
_KERNEL = 5
_MIDDLE = 2
_GROUPS = 8


class ConvBlock(nn.Module):
    """Convolution, norm, Mish."""

    def __init__(self, inputs: int, features: int):
        super().__init__()
        self.convolution = nn.Conv1d(inputs, features, _KERNEL, padding=_KERNEL // 2)
        self.norm = nn.GroupNorm(_GROUPS, features, eps=EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, horizon) to (N, features, horizon)."""
        return nn.functional.mish(self.norm(self.convolution(x)))


class ConditionalBlock(nn.Module):
    """Two convolution blocks, scaled and shifted between them by the condition, and added to the input."""

    def __init__(self, inputs: int, features: int, condition: int, projects: bool = False):
        super().__init__()
        self.first = ConvBlock(inputs, features)
        self.condition = nn.Linear(condition, 2 * features)
        self.second = ConvBlock(features, features)
        self.residual = nn.Conv1d(inputs, features, 1) if projects else nn.Identity()

    def forward(self, x: Tensor, modulation: Tensor) -> Tensor:
        """(N, inputs, horizon) and `condition`'s result (N, 2 * features), to (N, features, horizon)."""
        scale, shift = modulation[:, :, None].chunk(2, dim=1)
        return self.second(self.first(x) * scale + shift) + self.residual(x)


class UNet(nn.Module):
    """Features of a noisy chunk, given the readout and the denoising time.

    Args:
        action_dim: channels of a chunk.
        readout: values of the readout's vector.
        steps: of denoising, whose times are encoded.
    """

    def __init__(self, action_dim: int, readout: int, steps: int):
        super().__init__()
        condition = readout + TIME_FEATURES
        self.time_into = nn.Linear(TIME_FEATURES, 4 * TIME_FEATURES)
        self.time_out = nn.Linear(4 * TIME_FEATURES, TIME_FEATURES)
        self.blocks = nn.ModuleList()  # in the order of their use
        self.downsamplings = nn.ModuleList()
        self.upsamplings = nn.ModuleList()
        channels = action_dim
        for features in FEATURES:
            self.blocks.append(ConditionalBlock(channels, features, condition, projects=True))
            self.blocks.append(ConditionalBlock(features, features, condition))
            channels = features
        for features in FEATURES[:-1]:
            self.downsamplings.append(nn.Conv1d(features, features, 3, stride=2))
        for _ in range(_MIDDLE):
            self.blocks.append(ConditionalBlock(channels, channels, condition))
        for level in reversed(range(len(FEATURES) - 1)):
            features = FEATURES[level]
            self.blocks.append(
                ConditionalBlock(channels + FEATURES[level + 1], features, condition, projects=True)
            )
            self.blocks.append(ConditionalBlock(features, features, condition))
            self.upsamplings.append(nn.ConvTranspose1d(features, features, 4, stride=2, padding=1))
            channels = features
        self.last = ConvBlock(channels, channels)
        times = torch.from_numpy(encoded_times(steps)).flip(0)  # as denoising visits them
        self.register_buffer("times", times, persistent=False)

    def modulations(self, readout: Tensor) -> list[Tensor]:
        """Readout (N, readout) to what modulates each block at each step, (steps, N, 2 * features).

        Steps go from the noisiest time to time 0.
        """
        time = self.time_out(nn.functional.mish(self.time_into(self.times)))  # (steps, TIME_FEATURES)
        steps, batch = time.shape[0], readout.shape[0]
        condition = torch.cat(
            [readout[None].expand(steps, -1, -1), time[:, None].expand(-1, batch, -1)], dim=-1
        )
        condition = nn.functional.mish(condition)
        return [block.condition(condition) for block in self.blocks]

    def forward(self, x: Tensor, modulations: Sequence[Tensor]) -> Tensor:
        """A chunk (N, action_dim, horizon) and each block's modulation (N, 2 * features), to its features.

        Returns:
            (N, FEATURES[0], horizon).
        """
        blocks = iter(zip(self.blocks, modulations, strict=True))
        kept = []
        for level in range(len(FEATURES)):
            x = _run(blocks, x)
            if level > 0:  # the finest level is not kept: the official code joins one level lower
                kept.append(x)
            if level < len(FEATURES) - 1:
                x = self.downsamplings[level](nn.functional.pad(x, (0, 1)))
        x = _run(blocks, x, _MIDDLE)
        for upsampling in self.upsamplings:
            x = upsampling(_run(blocks, torch.cat([x, kept.pop()], dim=1)))
        return self.last(x)


def _run(blocks: Iterator[tuple[nn.Module, Tensor]], x: Tensor, count: int = 2) -> Tensor:
    """The next blocks, one after another."""
    for _ in range(count):
        block, modulation = next(blocks)
        x = block(x, modulation)
    return x


def encoded_times(steps: int) -> np.ndarray:
    """Sines and cosines of every denoising time 0 ... steps - 1, (steps, TIME_FEATURES) float32."""
    half = TIME_FEATURES // 2
    rate = np.log(np.float32(10000)) / np.float32(half - 1)
    frequencies = np.exp(np.arange(half, dtype=np.float32) * -rate)
    phase = np.arange(steps, dtype=np.float32)[:, None] * frequencies
    return np.concatenate([np.sin(phase), np.cos(phase)], axis=-1)
