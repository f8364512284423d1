"""From the tokens that a head reads to the vectors that it works with."""

from __future__ import annotations

from torch import Tensor, nn

from octo_ros.model.tokenizers import Tokens
from octo_ros.model.transformer import AttentionPooling


def newest(readout: Tokens) -> Tokens:
    """The newest timestep alone: (B, t, n, width) to (B, 1, n, width)."""
    mask = None if readout.mask is None else readout.mask[:, -1:]
    return Tokens(readout.values[:, -1:], mask)


class Pooling(nn.Module):
    """The readout's tokens to fewer, by attention, or as they are.

    Args:
        width: of a token.
        use_map: whether by attention.
        outputs: tokens after attention.
    """

    def __init__(self, width: int, use_map: bool, outputs: int = 1):
        super().__init__()
        self.attention = AttentionPooling(width, outputs) if use_map else None

    def tokens(self, readout: Tokens) -> Tensor:
        """Tokens (B, t, n, width) to (B, t, outputs, width); without attention as they are."""
        if self.attention is None:
            return readout.values
        batch = readout.values.shape[0]
        mask = None if readout.mask is None else readout.mask.flatten(0, 1)
        return self.attention(readout.values.flatten(0, 1), mask).unflatten(0, (batch, -1))

    def forward(self, readout: Tokens) -> Tensor:
        """Tokens (B, t, n, width) to one vector a timestep (B, t, width); without attention the mean."""
        tokens = self.tokens(readout)
        return tokens.mean(dim=2) if self.attention is None else tokens[:, :, 0]
