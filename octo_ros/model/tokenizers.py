"""From the network's inputs to tokens, before they are projected to the transformer's width."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from octo_ros.model.config import ImageTokenizer, LanguageTokenizer, LowdimTokenizer
from octo_ros.model.inputs import INSTRUCTION, LANGUAGE_TOKENS, PROPRIO, ImageStack, goal_name, pad_mask_name
from octo_ros.model.stem import Stem

EPSILON = 1e-6


class Tokens(NamedTuple):
    """Tokens of one group.

    Attributes:
        values: (B, n, d) for a task, (B, window, n, d) for observations, float32.
        mask: (B, n) or (B, window, n) bool, False where the token is padding; None where none is.
    """

    values: Tensor
    mask: Tensor | None


class ImageTokens(nn.Module):
    """Frames and goal images of one tokenizer, stacked and encoded."""

    def __init__(self, config: ImageTokenizer, stack: ImageStack):
        super().__init__()
        self.stack = stack
        self.proper_pad_mask = config.proper_pad_mask
        self.stem = Stem(config.encoder, 3 * (len(stack.frames) + len(stack.goals)))
        self.count = self.stem.patches(stack.height, stack.width)
        self.width = config.encoder.num_features

    def forward(self, inputs: Mapping[str, Tensor]) -> Tokens:
        """Tokens (B, window, count, width); masked where every frame of the stack is padding."""
        frames = [inputs[key] for key in self.stack.frames]  # (B, window, H, W, 3) uint8
        batch, window = frames[0].shape[:2]
        goals = [inputs[goal_name(key)][:, None].expand(-1, window, -1, -1, -1) for key in self.stack.goals]
        patches = self.stem(torch.cat([*frames, *goals], dim=-1).flatten(0, 1))
        values = patches.unflatten(0, (batch, window))
        if not self.proper_pad_mask:
            return Tokens(values, None)
        seen = inputs[pad_mask_name(self.stack.frames[0])]  # (B, window)
        for key in self.stack.frames[1:]:
            seen = seen | inputs[pad_mask_name(key)]
        return Tokens(values, seen[:, :, None].expand(-1, -1, self.count))


class ProprioTokens(nn.Module):
    """One token per value of proprioception; the official code never masks them."""

    def __init__(self, config: LowdimTokenizer, size: int):
        super().__init__()
        self.discretize = config.discretize
        self.uniform_range = (config.low, config.high) if config.bin_type == "uniform" else None
        self.count = size
        self.width = config.n_bins if config.discretize else 1
        self.register_buffer("edges", torch.from_numpy(bin_edges(config)), persistent=False)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tokens:
        """Tokens (B, window, count, width)."""
        values = inputs[PROPRIO][..., None]  # (B, window, count, 1)
        if not self.discretize:
            return Tokens(values, None)
        if self.uniform_range is not None:
            low, high = self.uniform_range
            values = values.clamp(low + EPSILON, high - EPSILON)
        bins = (values >= self.edges[:-1]) & (values < self.edges[1:])  # (B, window, count, n_bins)
        outside = ~bins.any(-1, keepdim=True)  # counts as the first bin, as the official argmax does
        first = torch.arange(self.width) == 0
        return Tokens((bins | (outside & first)).float(), None)


class LanguageTokens(nn.Module):
    """The encoded instruction."""

    def __init__(self, config: LanguageTokenizer, count: int, width: int):
        super().__init__()
        self.proper_pad_mask = config.proper_pad_mask
        self.count = count
        self.width = width

    def forward(self, inputs: Mapping[str, Tensor]) -> Tokens:
        """Tokens (B, count, width), all masked where there is no instruction."""
        if not self.proper_pad_mask:
            return Tokens(inputs[LANGUAGE_TOKENS], None)
        given = inputs[pad_mask_name(INSTRUCTION)]  # (B,)
        return Tokens(inputs[LANGUAGE_TOKENS], given[:, None].expand(-1, self.count))


def bin_edges(config: LowdimTokenizer) -> np.ndarray:
    """Edges of the bins, even or of equal probability under a normal distribution, (n_bins + 1,) float32."""
    if config.bin_type == "uniform":
        return np.linspace(config.low, config.high, config.n_bins + 1, dtype=np.float32)
    quantiles = np.linspace(EPSILON, 1 - EPSILON, config.n_bins + 1, dtype=np.float32)  # float32 as official
    return np.array([NormalDist().inv_cdf(float(quantile)) for quantile in quantiles], dtype=np.float32)
