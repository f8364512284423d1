"""The head's random numbers, drawn here because no graph draws any."""

from __future__ import annotations

import numpy as np

from octo_ros.engine.graphs import NOISE_GUMBEL, noise_tensors
from octo_ros.engine.manifest import Manifest


def generator(seed: int | None) -> np.random.Generator:
    """A source of noise; the same seed gives the same numbers."""
    return np.random.Generator(np.random.PCG64(seed))


def draw_noise(
    manifest: Manifest, source: np.random.Generator, temperature: float = 1.0
) -> dict[str, np.ndarray]:
    """Noise of one inference, of every timestep of the window, float32; nothing for a head without noise.

    Args:
        manifest: says which noise the head takes.
        source: of the numbers.
        temperature: of a head that chooses among discrete values; 0 takes the likeliest.

    Returns:
        By `noise_tensors`, drawn in that order: standard normal for a head that denoises; Gumbel
        noise times the temperature for a discrete one, since the largest of logits / temperature +
        Gumbel noise is a sample of their softmax.
    """
    drawn = {}
    for name, tensor in noise_tensors(manifest, manifest.window).items():
        if name == NOISE_GUMBEL:
            drawn[name] = (temperature * source.gumbel(size=tensor.shape)).astype(np.float32)
        else:
            drawn[name] = source.standard_normal(tensor.shape, dtype=np.float32)
    return drawn
