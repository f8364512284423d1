"""The encoder half of T5: token ids to one vector per token.

Sizes are read off the weights' shapes. Attention is not scaled; positions enter as a bias that the
first block learns and all share. Padded positions are masked as keys, and their own outputs are
computed all the same: Octo reads them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

MAX_DISTANCE = 128
"""Distance in tokens from which all share one bucket: T5's constant, which no weight's shape shows."""

EPSILON = 1e-6


@dataclass(frozen=True)
class T5Sizes:
    """Sizes of the encoder.

    Attributes:
        vocabulary: rows of the embedding table.
        width: of the residual stream.
        inner: heads times their width.
        feed_forward: width between the two feed-forward layers.
        layers: number of blocks.
        heads: attention heads.
        buckets: of relative positions.
        gated: whether the feed-forward is a gated GELU instead of a ReLU.
    """

    vocabulary: int
    width: int
    inner: int
    feed_forward: int
    layers: int
    heads: int
    buckets: int
    gated: bool


class RmsNorm(nn.Module):
    """Division by the root mean square, no mean and no bias."""

    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) to the same shape."""
        return self.weight * (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPSILON))


class T5Attention(nn.Module):
    """Self-attention without scaling."""

    def __init__(self, sizes: T5Sizes):
        super().__init__()
        self.heads = sizes.heads
        self.q = nn.Linear(sizes.width, sizes.inner, bias=False)
        self.k = nn.Linear(sizes.width, sizes.inner, bias=False)
        self.v = nn.Linear(sizes.width, sizes.inner, bias=False)
        self.o = nn.Linear(sizes.inner, sizes.width, bias=False)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """(B, L, width), bias (B, heads, L, L), to (B, L, width)."""
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.q, self.k, self.v)
        )  # (B, heads, L, inner / heads)
        weights = torch.softmax(q @ k.transpose(-1, -2) + bias, dim=-1)
        return self.o((weights @ v).transpose(1, 2).flatten(2))


class T5FeedForward(nn.Module):
    """ReLU, or a GELU (tanh form) gated by a second layer."""

    def __init__(self, sizes: T5Sizes):
        super().__init__()
        names = ("wi_0", "wi_1") if sizes.gated else ("wi",)
        self.into = nn.ModuleDict(
            {name: nn.Linear(sizes.width, sizes.feed_forward, bias=False) for name in names}
        )
        self.wo = nn.Linear(sizes.feed_forward, sizes.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, width) to the same shape."""
        if "wi" in self.into:
            return self.wo(torch.relu(self.into["wi"](x)))
        return self.wo(nn.functional.gelu(self.into["wi_0"](x), approximate="tanh") * self.into["wi_1"](x))


class T5Block(nn.Module):
    """Attention and feed-forward, each on a normed copy and added back."""

    def __init__(self, sizes: T5Sizes):
        super().__init__()
        self.attention_norm = RmsNorm(sizes.width)
        self.attention = T5Attention(sizes)
        self.feed_forward_norm = RmsNorm(sizes.width)
        self.feed_forward = T5FeedForward(sizes)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """(B, L, width), bias (B, heads, L, L), to (B, L, width)."""
        x = x + self.attention(self.attention_norm(x), bias)
        return x + self.feed_forward(self.feed_forward_norm(x))


class T5Encoder(nn.Module):
    """Token ids to vectors, for instructions of one fixed length."""

    def __init__(self, sizes: T5Sizes, length: int):
        super().__init__()
        self.width = sizes.width
        self.vocabulary = sizes.vocabulary
        self.embedding = nn.Embedding(sizes.vocabulary, sizes.width)
        self.position = nn.Embedding(sizes.buckets, sizes.heads)
        self.blocks = nn.ModuleList([T5Block(sizes) for _ in range(sizes.layers)])
        self.norm = RmsNorm(sizes.width)
        self.register_buffer(
            "buckets", torch.from_numpy(relative_buckets(length, sizes.buckets)), persistent=False
        )

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Ids (B, L) int64 and mask (B, L) int64, 0 where padded, to (B, L, width) float32."""
        bias = self.position(self.buckets).permute(2, 0, 1)[None]  # (1, heads, L, L)
        padded = torch.finfo(torch.float32).min
        bias = bias + torch.where(attention_mask > 0, 0.0, padded)[:, None, None, :]
        x = self.embedding(input_ids)
        for block in self.blocks:
            x = block(x, bias)
        return self.norm(x)


def relative_buckets(length: int, buckets: int) -> np.ndarray:
    """Bucket of key j as query i sees it: half for keys after, near distances exact, far ones by logarithm.

    Returns:
        (length, length) int64.
    """
    offset = np.arange(length)[None, :] - np.arange(length)[:, None]
    half = buckets // 2
    exact = half // 2
    distance = np.abs(offset)
    ratio = np.log(np.maximum(distance, 1).astype(np.float32) / exact) / np.log(
        np.float32(MAX_DISTANCE / exact)
    )
    far = np.minimum(exact + (ratio * (half - exact)).astype(np.int64), half - 1)
    return np.where(offset > 0, half, 0) + np.where(distance < exact, distance, far)
