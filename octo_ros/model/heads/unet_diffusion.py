"""Denoising by DDPM with a U-Net over the horizon."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from octo_ros.model.config import UNetHead
from octo_ros.model.heads.loop import repeat
from octo_ros.model.heads.schedule import cosine_betas
from octo_ros.model.heads.unet import FEATURES, UNet
from octo_ros.model.inputs import NOISE_INIT, NOISE_STEPS
from octo_ros.model.tokenizers import Tokens


class UNetActions(nn.Module):
    """Each step guesses the clean chunk, then steps back towards it.

    The last step's answer is its guess, so what bounds the actions is `clip_sample`, and nothing where
    that is not set: `max_action` is then infinite. The official head samples from one timestep alone;
    this one looks at the newest alone.

    Args:
        config: the official head's keywords.
        width: of the transformer.
        tokens: how many of each timestep the head reads.
    """

    bins = 0

    def __init__(self, config: UNetHead, width: int, tokens: int):
        super().__init__()
        self.horizon = config.action_horizon
        self.action_dim = config.action_dim
        self.clip = config.clip_sample
        self.max_action = float("inf") if config.clip_sample is None else config.clip_sample
        self.diffusion_steps = config.timesteps
        self.flatten_tokens = config.flatten_tokens
        readout = width * tokens if config.flatten_tokens else width
        self.unet = UNet(config.action_dim, readout, config.timesteps)
        self.action_projection = nn.Linear(FEATURES[0], config.action_dim)
        coefficients = torch.from_numpy(_coefficients(config.timesteps, config.variance_type))
        self.register_buffer("coefficients", coefficients, persistent=False)

    def noise_shapes(self, steps: int) -> dict[str, tuple[int, ...]]:
        """Noise for a readout of this many timesteps, name to shape."""
        chunk = (1, steps, self.horizon * self.action_dim)
        return {NOISE_INIT: chunk, NOISE_STEPS: (self.diffusion_steps, *chunk)}

    def forward(self, readout: Tokens, noise_init: Tensor, noise_steps: Tensor) -> Tensor:
        """Denoises the newest timestep's chunk.

        Args:
            readout: tokens (B, t, n, width).
            noise_init: (B, t, horizon * action_dim) float32, where denoising starts.
            noise_steps: (steps, B, t, horizon * action_dim) float32, in the order they are added; the
                last one is drawn by the official code, and not used.

        Returns:
            (B, horizon, action_dim) float32.
        """
        tokens = readout.values[:, -1]  # (B, n, width)
        embedding = tokens.flatten(1) if self.flatten_tokens else tokens.mean(dim=1)
        slices = (
            self.coefficients,
            self._chunks(noise_steps[:, :, -1]),  # (steps, B, action_dim, horizon)
            *self.unet.modulations(embedding),  # each (steps, B, 2 * features)
        )
        x = self._chunks(noise_init[:, -1])  # (B, action_dim, horizon)
        return repeat(self._denoise, x, slices).transpose(1, 2)

    def _denoise(self, x: Tensor, slices: Sequence[Tensor]) -> Tensor:
        """One step.

        Args:
            x: (B, action_dim, horizon), the noisy chunk.
            slices: of this step, the coefficients (5,), fresh noise as `x`, and each block's modulation.
        """
        coefficients, noise, *modulations = slices
        epsilon = self.action_projection(self.unet(x, modulations).transpose(1, 2)).transpose(1, 2)
        scale, of_noise, of_guess, of_chunk, deviation = coefficients.unbind()
        guess = (x - of_noise * epsilon) / scale
        if self.clip is not None:
            guess = guess.clamp(-self.clip, self.clip)
        return of_guess * guess + of_chunk * x + deviation * noise

    def _chunks(self, flat: Tensor) -> Tensor:
        """(..., horizon * action_dim) to (..., action_dim, horizon)."""
        return flat.unflatten(-1, (self.horizon, self.action_dim)).transpose(-1, -2)


def _coefficients(steps: int, variance_type: str) -> np.ndarray:
    """What the guess and the step back take of each thing, from the noisiest time to the last.

    The last step's answer is its guess: its shares of the chunk and of fresh noise are 0.

    Returns:
        (steps, 5) float32: the guess's divisor and its share of the noise; then, of the step back, the
        shares of the guess, of the chunk and of fresh noise.
    """
    alphas = 1 - cosine_betas(steps)
    kept = np.cumprod(alphas, dtype=np.float32)
    kept_before = np.concatenate([np.ones(1, np.float32), kept[:-1]])
    variance = 1 - alphas
    if variance_type == "fixed_small":
        variance = np.maximum((1 - kept_before) / (1 - kept) * (1 - alphas), np.float32(1e-20))
    columns = (
        np.sqrt(kept),
        np.sqrt(1 - kept),
        np.sqrt(kept_before) * (1 - alphas) / (1 - kept),
        np.sqrt(alphas) * (1 - kept_before) / (1 - kept),
        np.sqrt(variance),
    )
    table = np.stack(columns, axis=1)
    table[0, 2:] = 1, 0, 0
    return table[::-1].copy()
