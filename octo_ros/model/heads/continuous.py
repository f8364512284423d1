"""Actions in one pass, without noise."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from octo_ros.model.config import ContinuousHead
from octo_ros.model.heads.readout import Pooling, newest
from octo_ros.model.tokenizers import Tokens


class ContinuousActions(nn.Module):
    """One linear layer, squashed to the range of actions."""

    diffusion_steps = 0
    bins = 0

    def __init__(self, config: ContinuousHead, width: int):
        super().__init__()
        self.horizon = config.action_horizon
        self.action_dim = config.action_dim
        self.max_action = config.max_action
        self.pooling = Pooling(width, config.use_map)
        self.projection = nn.Linear(width, config.action_horizon * config.action_dim)

    def noise_shapes(self, steps: int) -> dict[str, tuple[int, ...]]:
        """Noise for a readout of this many timesteps: none."""
        return {}

    def forward(self, readout: Tokens) -> Tensor:
        """Tokens (B, t, n, width) to the newest timestep's actions (B, horizon, action_dim)."""
        mean = self.projection(self.pooling(newest(readout))[:, -1])
        return (torch.tanh(mean / self.max_action) * self.max_action).unflatten(-1, (self.horizon, -1))
