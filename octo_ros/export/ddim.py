"""Fewer steps of denoising, and what they cost: DDIM in place of the DDPM that the head was trained for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from octo_ros.errors import ParameterError
from octo_ros.export.self_check import example_tensors
from octo_ros.model.heads.diffusion import DiffusionActions
from octo_ros.model.heads.schedule import Ddim, Ddpm, Sampler
from octo_ros.model.octo import Octo
from octo_ros.model.tokenizers import Tokens

DRAWS = 64
"""Chunks that are compared."""


def use_ddim(model: Octo, steps: int) -> None:
    """Lets a model's head denoise in this many steps.

    Raises:
        ParameterError: the head does not denoise, or not in that many steps.
    """
    head = model.head
    if not isinstance(head, DiffusionActions):
        raise ParameterError(
            "ddim: expected a checkpoint with a DiffusionActionHead, got one whose head is another"
        )
    head.sampler = Ddim(head.trained_steps, steps, head.max_action)


def ddim_deviation(model: Octo, example: Mapping[str, Any], seed: int = 0) -> dict[str, dict[str, float]]:
    """How far the head's chunks are from those of DDPM, on the checkpoint's own example.

    Each pair starts from the same noise. DDPM draws fresh noise on its way, so two chunks of DDPM from
    one start differ as well: that spread is given beside the deviation, to judge it by.

    Args:
        model: its head set by `use_ddim`.
        example: the checkpoint's example batch.
        seed: of the noise.

    Returns:
        For "DDIM against DDPM" and "DDPM against DDPM": "mean", "p95" and "largest" absolute difference
        of normalized actions.
    """
    head = model.head
    assert isinstance(head, DiffusionActions)
    ddim, ddpm = head.sampler, Ddpm(head.trained_steps, head.max_action)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        readout = _readout(model, example)
        pairs = {"DDIM against DDPM": [], "DDPM against DDPM": []}
        for _ in range(DRAWS):
            chunk = (1, readout.values.shape[1], head.horizon * head.action_dim)
            start = torch.randn(chunk, generator=generator)
            first, second, fewer = (
                _sample(head, sampler, readout, start, generator) for sampler in (ddpm, ddpm, ddim)
            )
            pairs["DDIM against DDPM"].append(fewer - first)
            pairs["DDPM against DDPM"].append(second - first)
    head.sampler = ddim
    return {name: _statistics(np.abs(np.concatenate(differences))) for name, differences in pairs.items()}


def _readout(model: Octo, example: Mapping[str, Any]) -> Tokens:
    inputs = example_tensors(model, example)
    task = model.task_tokens(inputs)
    return model.readout(
        model.run_transformer(task, model.timestep_tokens(inputs, model.conditions(inputs), task))
    )


def _sample(
    head: DiffusionActions,
    sampler: Sampler,
    readout: Tokens,
    start: torch.Tensor,
    generator: torch.Generator,
) -> np.ndarray:
    head.sampler = sampler
    fresh = torch.randn((sampler.draws, *start.shape), generator=generator) if sampler.draws else None
    return head(readout, start, fresh).numpy()


def _statistics(differences: np.ndarray) -> dict[str, float]:
    return {
        "mean": float(differences.mean()),
        "p95": float(np.percentile(differences, 95)),
        "largest": float(differences.max()),
    }
