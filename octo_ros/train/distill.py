"""A head of one pass that learns from a diffusion head what it would sample, instead of from the data."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from octo_ros.errors import ParameterError
from octo_ros.export.bundle import build_model
from octo_ros.export.checkpoint import Checkpoint
from octo_ros.model.heads.diffusion import DiffusionActions
from octo_ros.model.heads.readout import newest
from octo_ros.train.device import moved
from octo_ros.train.objective import Objective
from octo_ros.train.start import Start
from octo_ros.train.validate import head_noise


class Teacher:
    """A checkpoint's own model, which answers and does not learn.

    Args:
        checkpoint: the teacher.
        start: the pupil, made from the same checkpoint.
        device: of both.

    Raises:
        ParameterError: the teacher does not denoise, the pupil does, or they read or answer differently.
    """

    def __init__(self, checkpoint: Checkpoint, start: Start, device: torch.device):
        model, config = build_model(checkpoint)
        if not isinstance(model.head, DiffusionActions) or isinstance(start.model.head, DiffusionActions):
            raise ParameterError(
                f"distill: expected a diffusion head to learn from and another to learn, "
                f"got {config.head.name} and {start.config.head.name}: give --head l1"
            )
        if model.inputs != start.inputs or model.head.horizon != start.model.head.horizon:
            raise ParameterError(
                "distill: expected the checkpoint's own cameras, window and horizon, got others"
            )
        self._objective = Objective(model, config).to(device).requires_grad_(False)
        self._device = device

    @torch.no_grad()
    def lesson(
        self, inputs: Mapping[str, Tensor], actions: Tensor, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """What the teacher samples for the newest timestep of a batch.

        Args:
            inputs: see `Batch`.
            actions: (B, window, horizon, 7), the data's.
            rng: of the noise.

        Returns:
            Actions of the same shape, and a mask that counts the newest timestep's alone.
        """
        head = self._objective.model.head
        noise = moved(head_noise(head, 1, len(actions), rng), self._device)
        sampled = head(newest(self._objective.readout(inputs)), **noise)
        taught, counted = actions.clone(), torch.zeros_like(actions, dtype=torch.bool)
        taught[:, -1], counted[:, -1] = sampled, True
        return taught, counted
