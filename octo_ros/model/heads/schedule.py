"""How much noise each step of denoising takes away, and the two ways to walk down the schedule."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from torch import Tensor

from octo_ros.errors import ParameterError


def cosine_betas(steps: int, offset: float = 0.008) -> np.ndarray:
    """Variance added at each step of the cosine schedule, (steps,) float32."""
    time = np.linspace(0, steps, steps + 1, dtype=np.float32) / np.float32(steps)
    kept = np.cos((time + np.float32(offset)) / np.float32(1 + offset) * np.float32(np.pi * 0.5)) ** 2
    kept = kept / kept[0]
    return np.clip(1 - kept[1:] / kept[:-1], 0, np.float32(0.999)).astype(np.float32)


class Sampler(ABC):
    """One way from noise to actions.

    Attributes:
        name: what a bundle's manifest calls it.
        times: denoising times that are visited, in order; the score network is asked at each.
    """

    name: str

    def __init__(self, trained_steps: int, times: list[int], max_action: float):
        self.times = times
        self.max_action = max_action
        self.betas = cosine_betas(trained_steps)
        self.kept = np.cumprod(1 - self.betas, dtype=np.float32)  # of the action, at each time

    @property
    def draws(self) -> int:
        """How many times fresh noise is drawn along the way."""
        return 0

    @abstractmethod
    def step(self, index: int, x: Tensor, epsilon: Tensor, noise: Tensor | None) -> Tensor:
        """One step.

        Args:
            index: of the step in `times`.
            x: (B, n) the noisy actions.
            epsilon: (B, n) the noise that the network sees in them.
            noise: (draws, B, n) fresh noise, None where none is drawn.
        """


class Ddpm(Sampler):
    """Every step of the schedule with fresh noise, clipped at each: as Octo samples (Ho et al. 2020)."""

    name = "ddpm"

    def __init__(self, trained_steps: int, max_action: float):
        super().__init__(trained_steps, list(range(trained_steps - 1, -1, -1)), max_action)

    @property
    def draws(self) -> int:
        """One a step; the official code draws the last one too, and does not use it."""
        return len(self.times)

    def step(self, index: int, x: Tensor, epsilon: Tensor, noise: Tensor | None) -> Tensor:
        """See `Sampler.step`."""
        time = self.times[index]
        alpha = 1 - self.betas[time]
        x = float(1 / np.sqrt(alpha)) * (x - float((1 - alpha) / np.sqrt(1 - self.kept[time])) * epsilon)
        if time > 0:
            x = x + float(np.sqrt(self.betas[time])) * noise[index]
        return x.clamp(-self.max_action, self.max_action)


class Ddim(Sampler):
    """Fewer steps without fresh noise (Song et al. 2021, equation 12 with eta 0), the guess clipped.

    The steps are even and begin at the noisiest time.

    Raises:
        ParameterError: fewer than one step, or more than were trained.
    """

    name = "ddim"

    def __init__(self, trained_steps: int, steps: int, max_action: float):
        if not 1 <= steps <= trained_steps:
            raise ParameterError(f"ddim: expected 1 to {trained_steps} steps, as trained, got {steps}")
        times = np.linspace(trained_steps, 0, steps + 1)[:-1].round().astype(int) - 1
        super().__init__(trained_steps, times.tolist(), max_action)

    def step(self, index: int, x: Tensor, epsilon: Tensor, noise: Tensor | None) -> Tensor:
        """See `Sampler.step`."""
        kept = self.kept[self.times[index]]
        guess = (x - float(np.sqrt(1 - kept)) * epsilon) * float(1 / np.sqrt(kept))
        guess = guess.clamp(-self.max_action, self.max_action)
        if index == len(self.times) - 1:
            return guess
        after = self.kept[self.times[index + 1]]
        return float(np.sqrt(after)) * guess + float(np.sqrt(1 - after)) * epsilon
