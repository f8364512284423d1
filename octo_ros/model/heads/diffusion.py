"""Denoising with an MLP as score network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from octo_ros.model.config import DiffusionHead
from octo_ros.model.heads.readout import Pooling, newest
from octo_ros.model.heads.schedule import Ddpm, Sampler
from octo_ros.model.inputs import NOISE_INIT, NOISE_STEPS
from octo_ros.model.tokenizers import Tokens
from octo_ros.model.transformer import EPSILON


class FourierFeatures(nn.Module):
    """A time to cosines and sines of learned frequencies."""

    def __init__(self, size: int):
        super().__init__()
        self.frequencies = nn.Parameter(torch.zeros(size // 2, 1))

    def forward(self, time: Tensor) -> Tensor:
        """(..., 1) to (..., size)."""
        phase = 2 * torch.pi * time @ self.frequencies.T
        return torch.cat([phase.cos(), phase.sin()], dim=-1)


class ResidualBlock(nn.Module):
    """A block of the score network."""

    def __init__(self, width: int, use_layer_norm: bool):
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=EPSILON) if use_layer_norm else nn.Identity()
        self.into = nn.Linear(width, 4 * width)
        self.out = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) to the same shape."""
        return x + self.out(nn.functional.silu(self.into(self.norm(x))))


class ScoreNetwork(nn.Module):
    """The noise in noisy actions, given the readout and the denoising time."""

    def __init__(self, config: DiffusionHead, width: int):
        super().__init__()
        actions = config.action_horizon * config.action_dim
        self.fourier = FourierFeatures(config.time_dim)
        self.time_into = nn.Linear(2 * (config.time_dim // 2), 2 * config.time_dim)
        self.time_out = nn.Linear(2 * config.time_dim, config.time_dim)
        self.into = nn.Linear(config.time_dim + width + actions, config.hidden_dim)
        self.blocks = nn.ModuleList(
            [ResidualBlock(config.hidden_dim, config.use_layer_norm) for _ in range(config.num_blocks)]
        )
        self.out = nn.Linear(config.hidden_dim, actions)

    def encode_time(self, time: Tensor) -> Tensor:
        """(..., 1) float32 to (..., time_dim)."""
        return self.time_out(nn.functional.silu(self.time_into(self.fourier(time))))

    def forward(self, embedding: Tensor, noisy: Tensor, time: Tensor) -> Tensor:
        """Embedding (..., width), actions (..., horizon * 7) and encoded time (..., time_dim) to noise."""
        x = self.into(torch.cat([time, embedding, noisy], dim=-1))
        for block in self.blocks:
            x = block(x)
        return self.out(nn.functional.silu(x))


class DiffusionActions(nn.Module):
    """Every step that the sampler takes; `sampler` may be replaced by another."""

    bins = 0

    def __init__(self, config: DiffusionHead, width: int):
        super().__init__()
        self.horizon = config.action_horizon
        self.action_dim = config.action_dim
        self.max_action = config.max_action
        self.pooling = Pooling(width, config.use_map)
        self.score = ScoreNetwork(config, width)
        self.trained_steps = config.diffusion_steps
        self.sampler: Sampler = Ddpm(config.diffusion_steps, config.max_action)

    @property
    def diffusion_steps(self) -> int:
        """Steps of denoising."""
        return len(self.sampler.times)

    def noise_shapes(self, steps: int) -> dict[str, tuple[int, ...]]:
        """Noise for a readout of this many timesteps, name to shape."""
        chunk = (1, steps, self.horizon * self.action_dim)
        fresh = {NOISE_STEPS: (self.sampler.draws, *chunk)} if self.sampler.draws else {}
        return {NOISE_INIT: chunk, **fresh}

    def predict_noise(self, readout: Tokens, noisy: Tensor, time: Tensor) -> Tensor:
        """One call of the score network at every timestep.

        Args:
            readout: tokens (B, t, n, width).
            noisy: (B, t, horizon * action_dim) float32.
            time: (B, t, 1) float32, the denoising step.
        """
        return self.score(self.pooling(readout), noisy, self.score.encode_time(time))

    def forward(self, readout: Tokens, noise_init: Tensor, noise_steps: Tensor | None = None) -> Tensor:
        """Denoises the newest timestep's chunk; timesteps do not mix, so the others are left out.

        Args:
            readout: tokens (B, t, n, width).
            noise_init: (B, t, horizon * action_dim) float32, where denoising starts.
            noise_steps: (draws, B, t, horizon * action_dim) float32, in the order they are added, where
                the sampler draws any.

        Returns:
            (B, horizon, action_dim) float32.
        """
        embedding = self.pooling(newest(readout))[:, -1]  # (B, width)
        times = torch.tensor(self.sampler.times, dtype=torch.float32)[:, None]
        times = self.score.encode_time(times)  # (steps, time_dim)
        fresh = None if noise_steps is None else noise_steps[:, :, -1]
        x = noise_init[:, -1]  # (B, horizon * action_dim)
        for index in range(self.diffusion_steps):
            epsilon = self.score(embedding, x, times[index : index + 1].expand(x.shape[0], -1))
            x = self.sampler.step(index, x, epsilon, fresh)
        return x.unflatten(-1, (self.horizon, -1))
