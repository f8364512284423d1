"""Action heads: the readout to a chunk of normalized actions. Noise comes in; nothing draws it here."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from octo_ros.model.config import ContinuousHead, DiffusionHead
from octo_ros.model.tokenizers import Tokens
from octo_ros.model.transformer import EPSILON, AttentionPooling


class Pooling(nn.Module):
    """The readout's tokens to one vector: attention pooling or the mean."""

    def __init__(self, width: int, use_map: bool):
        super().__init__()
        self.attention = AttentionPooling(width) if use_map else None

    def forward(self, readout: Tokens) -> Tensor:
        """Tokens (B, window, n, width) to (B, window, width)."""
        if self.attention is None:
            return readout.values.mean(dim=2)
        batch = readout.values.shape[0]
        mask = None if readout.mask is None else readout.mask.flatten(0, 1)
        return self.attention(readout.values.flatten(0, 1), mask)[:, 0].unflatten(0, (batch, -1))


class ContinuousActions(nn.Module):
    """One linear layer, squashed to the range of actions."""

    diffusion_steps = 0

    def __init__(self, config: ContinuousHead, width: int):
        super().__init__()
        self.horizon = config.action_horizon
        self.action_dim = config.action_dim
        self.max_action = config.max_action
        self.pooling = Pooling(width, config.use_map)
        self.projection = nn.Linear(width, config.action_horizon * config.action_dim)

    def forward(self, readout: Tokens) -> Tensor:
        """Tokens (B, window, n, width) to the newest timestep's actions (B, horizon, action_dim)."""
        mean = self.projection(self.pooling(readout)[:, -1])
        return (torch.tanh(mean / self.max_action) * self.max_action).unflatten(-1, (self.horizon, -1))


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
    """Denoising by DDPM: every step of the cosine schedule, from the last to the first."""

    def __init__(self, config: DiffusionHead, width: int):
        super().__init__()
        self.horizon = config.action_horizon
        self.action_dim = config.action_dim
        self.max_action = config.max_action
        self.diffusion_steps = config.diffusion_steps
        self.pooling = Pooling(width, config.use_map)
        self.score = ScoreNetwork(config, width)
        self.betas = cosine_betas(config.diffusion_steps)

    def predict_noise(self, readout: Tokens, noisy: Tensor, time: Tensor) -> Tensor:
        """One call of the score network at every timestep of the window.

        Args:
            readout: tokens (B, window, n, width).
            noisy: (B, window, horizon * action_dim) float32.
            time: (B, window, 1) float32, the denoising step.
        """
        return self.score(self.pooling(readout), noisy, self.score.encode_time(time))

    def forward(self, readout: Tokens, noise_init: Tensor, noise_steps: Tensor) -> Tensor:
        """Denoises the newest timestep's chunk; timesteps do not mix, so the others are left out.

        Args:
            readout: tokens (B, window, n, width).
            noise_init: (B, window, horizon * action_dim) float32, where denoising starts.
            noise_steps: (steps, B, window, horizon * action_dim) float32, in the order they are added;
                the last one is drawn by the official code, and not used.

        Returns:
            (B, horizon, action_dim) float32.
        """
        embedding = self.pooling(readout)[:, -1]  # (B, width)
        times = torch.arange(self.diffusion_steps, dtype=torch.float32)[:, None]
        times = self.score.encode_time(times)  # (steps, time_dim)
        alphas = 1 - self.betas
        alpha_hats = np.cumprod(alphas, dtype=np.float32)
        x = noise_init[:, -1]  # (B, horizon * action_dim)
        for index in range(self.diffusion_steps):
            step = self.diffusion_steps - 1 - index
            noise = self.score(embedding, x, times[step : step + 1].expand(x.shape[0], -1))
            x = float(1 / np.sqrt(alphas[step])) * (
                x - float((1 - alphas[step]) / np.sqrt(1 - alpha_hats[step])) * noise
            )
            if step > 0:
                x = x + float(np.sqrt(self.betas[step])) * noise_steps[index, :, -1]
            x = x.clamp(-self.max_action, self.max_action)
        return x.unflatten(-1, (self.horizon, -1))


def cosine_betas(steps: int, offset: float = 0.008) -> np.ndarray:
    """Variance added at each step of the cosine schedule, (steps,) float32."""
    time = np.linspace(0, steps, steps + 1, dtype=np.float32) / np.float32(steps)
    kept = np.cos((time + np.float32(offset)) / np.float32(1 + offset) * np.float32(np.pi * 0.5)) ** 2
    kept = kept / kept[0]
    return np.clip(1 - kept[1:] / kept[:-1], 0, np.float32(0.999)).astype(np.float32)


def build_head(config: ContinuousHead | DiffusionHead, width: int) -> ContinuousActions | DiffusionActions:
    """The head of a configuration, on a transformer of this width."""
    if isinstance(config, DiffusionHead):
        return DiffusionActions(config, width)
    return ContinuousActions(config, width)
