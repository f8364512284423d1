"""The diffusion head's random numbers, drawn here because no graph draws any."""

from __future__ import annotations

import numpy as np

from octo_ros.engine.bundle import Manifest


def generator(seed: int | None) -> np.random.Generator:
    """A source of noise; the same seed gives the same numbers."""
    return np.random.Generator(np.random.PCG64(seed))


def draw_noise(manifest: Manifest, source: np.random.Generator) -> dict[str, np.ndarray]:
    """Standard normal noise of one inference, float32; nothing for a head without noise.

    Returns:
        "noise_init" (1, window, horizon * action_dim) and "noise_steps" (steps, 1, window, ...),
        drawn in that order.
    """
    steps = manifest.head.diffusion_steps
    if steps == 0:
        return {}
    chunk = (1, manifest.window, manifest.horizon * manifest.action_dim)
    return {
        "noise_init": source.standard_normal(chunk, dtype=np.float32),
        "noise_steps": source.standard_normal((steps, *chunk), dtype=np.float32),
    }
