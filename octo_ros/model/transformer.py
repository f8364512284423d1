"""The trunk: pre-norm transformer blocks with masked attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from octo_ros.model.support import POOLING_HEADS

EPSILON = 1e-6


class ToHeads(nn.Linear):
    """A linear layer into attention heads; the official weights keep the heads apart."""

    def __init__(self, width: int, heads: int):
        super().__init__(width, width)
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, width) to (B, heads, L, width / heads)."""
        return super().forward(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)


class FromHeads(nn.Linear):
    """A linear layer out of attention heads."""

    def __init__(self, width: int, heads: int):
        super().__init__(width, width)
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        """(B, heads, L, width / heads) to (B, L, width)."""
        return super().forward(x.transpose(1, 2).flatten(2))


class Attention(nn.Module):
    """Multi-head attention of queries over a sequence.

    A forbidden score becomes the lowest float32, not minus infinity, as in the official code: a row
    that may see nothing then attends evenly to everything, instead of giving NaN.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.query = ToHeads(width, heads)
        self.key = ToHeads(width, heads)
        self.value = ToHeads(width, heads)
        self.out = FromHeads(width, heads)
        self.scale = (width // heads) ** -0.5

    def forward(self, queries: Tensor, sequence: Tensor, mask: Tensor | None) -> Tensor:
        """(B, Q, width) over (B, L, width) with mask (B, 1, Q, L) bool or None, to (B, Q, width)."""
        scores = (self.query(queries) * self.scale) @ self.key(sequence).transpose(-1, -2)  # (B, heads, Q, L)
        if mask is not None:
            scores = torch.where(mask, scores, torch.finfo(torch.float32).min)
        return self.out(torch.softmax(scores, dim=-1) @ self.value(sequence))


class FeedForward(nn.Module):
    """Two linear layers with a GELU (tanh form) between them."""

    def __init__(self, width: int, inner: int):
        super().__init__()
        self.into = nn.Linear(width, inner)
        self.out = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) to the same shape."""
        return self.out(nn.functional.gelu(self.into(x), approximate="tanh"))


class Block(nn.Module):
    """Attention and feed-forward, each on a normed copy and added back."""

    def __init__(self, width: int, inner: int, heads: int):
        super().__init__()
        self.attention_norm = nn.LayerNorm(width, eps=EPSILON)
        self.attention = Attention(width, heads)
        self.feed_forward_norm = nn.LayerNorm(width, eps=EPSILON)
        self.feed_forward = FeedForward(width, inner)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, L, width), mask (B, 1, L, L) bool, to (B, L, width)."""
        normed = self.attention_norm(x)
        x = x + self.attention(normed, normed, mask)
        return x + self.feed_forward(self.feed_forward_norm(x))


class Transformer(nn.Module):
    """Blocks, then a last norm."""

    def __init__(self, width: int, layers: int, inner: int, heads: int):
        super().__init__()
        self.blocks = nn.ModuleList([Block(width, inner, heads) for _ in range(layers)])
        self.norm = nn.LayerNorm(width, eps=EPSILON)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, L, width), mask (B, 1, L, L) bool, row sees column, to (B, L, width)."""
        for block in self.blocks:
            x = block(x, mask)
        return self.norm(x)


class AttentionPooling(nn.Module):
    """Learned queries that gather a sequence into a few vectors (the official `MAPHead`)."""

    def __init__(self, width: int, outputs: int = 1):
        super().__init__()
        self.probe = nn.Parameter(torch.zeros(1, outputs, width))
        self.attention = Attention(width, POOLING_HEADS)
        self.norm = nn.LayerNorm(width, eps=EPSILON)
        self.feed_forward = FeedForward(width, 4 * width)

    def forward(self, sequence: Tensor, mask: Tensor | None) -> Tensor:
        """(B, L, width), mask (B, L) bool or None, to (B, outputs, width)."""
        probe = self.probe.expand(sequence.shape[0], -1, -1)
        pooled = self.attention(probe, sequence, None if mask is None else mask[:, None, None, :])
        return pooled + self.feed_forward(self.norm(pooled))
