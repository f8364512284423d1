"""Actions as bins: every axis of every step is a choice among a few values."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from octo_ros.model.bins import bin_centres
from octo_ros.model.config import DiscreteHead
from octo_ros.model.heads.readout import Pooling, newest
from octo_ros.model.inputs import NOISE_GUMBEL
from octo_ros.model.tokenizers import Tokens


class DiscreteActions(nn.Module):
    """Logits of every bin, and the value of the bin that wins with the noise added.

    Zeros for noise give the likeliest bin; standard Gumbel noise times a temperature draws a bin as
    the official code does at that temperature.
    """

    diffusion_steps = 0

    def __init__(self, config: DiscreteHead, width: int):
        super().__init__()
        self.horizon = config.action_horizon
        self.action_dim = config.action_dim
        self.bins = config.vocab_size
        centres = bin_centres(config.vocab_size, config.normalization_type)
        self.max_action = float(abs(centres).max())
        self.register_buffer("centres", torch.from_numpy(centres), persistent=False)
        self.pooling = Pooling(width, config.use_map, config.tokens)
        logits = config.action_horizon * config.action_dim * config.vocab_size
        self.vocabulary = nn.Linear(width, logits // config.tokens)

    def noise_shapes(self, steps: int) -> dict[str, tuple[int, ...]]:
        """Noise for a readout of this many timesteps, name to shape."""
        return {NOISE_GUMBEL: (1, steps, self.horizon, self.action_dim, self.bins)}

    def logits(self, readout: Tokens) -> Tensor:
        """Tokens (B, t, n, width) to logits (B, t, horizon, action_dim, bins)."""
        logits = self.vocabulary(self.pooling.tokens(readout))
        return logits.flatten(2).unflatten(2, (self.horizon, self.action_dim, self.bins))

    def forward(self, readout: Tokens, noise_gumbel: Tensor) -> Tensor:
        """Decides the newest timestep's chunk.

        Args:
            readout: tokens (B, t, n, width).
            noise_gumbel: (B, t, horizon, action_dim, bins) float32, added to the logits.

        Returns:
            (B, horizon, action_dim) float32.
        """
        scores = self.logits(newest(readout))[:, -1] + noise_gumbel[:, -1]
        return self.centres[scores.argmax(dim=-1)]
