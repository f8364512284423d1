"""What training makes smaller: the official losses of the heads, over every timestep of the window.

Random numbers come in, as everywhere in this package; `draw` makes them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from octo_ros.errors import ParameterError
from octo_ros.model.config import ContinuousHead, DiffusionHead, DiscreteHead, OctoConfig
from octo_ros.model.heads.continuous import ContinuousActions
from octo_ros.model.heads.diffusion import DiffusionActions
from octo_ros.model.heads.discrete import DiscreteActions
from octo_ros.model.inputs import LANGUAGE_TOKENS, TIMESTEP_MASK
from octo_ros.model.octo import Octo
from octo_ros.model.tokenizers import Tokens
from octo_ros.train.batches import ATTENTION_MASK, INPUT_IDS

LEAST_MASK = 1e-5
"""Share of actions that count, at least, as the official masked mean has it."""

_BIN_MARGIN = 1e-6


class Objective(nn.Module):
    """The loss of a model; one module, so that it can be wrapped for several devices.

    Args:
        model: with its weights.
        config: what it was built from.

    Raises:
        ParameterError: a head or an input that cannot be trained here.
    """

    def __init__(self, model: Octo, config: OctoConfig):
        super().__init__()
        if not isinstance(config.head, (ContinuousHead, DiffusionHead, DiscreteHead)):
            raise ParameterError(f"head: {config.head.name} cannot be trained here; give another by --head")
        if model.inputs.vectors:
            raise ParameterError(
                f"inputs: arrays of the task, {sorted(model.inputs.vectors)}, cannot be trained here: "
                "the data has words"
            )
        self.model = model
        self.kind = config.head
        finetuned = [tokenizer.finetune_encoder for tokenizer in config.task_tokenizers.values()]
        self.trains_text = any(finetuned)
        if isinstance(config.head, DiffusionHead):
            kept = torch.from_numpy(model.head.sampler.kept)
            self.register_buffer("kept", kept, persistent=False)
        if isinstance(config.head, DiscreteHead):
            from octo_ros.model.bins import bin_edges

            edges = bin_edges(config.head.vocab_size, config.head.normalization_type)
            self.register_buffer("edges", torch.from_numpy(edges), persistent=False)

    def draw(self, rng: np.random.Generator, batch: int) -> dict[str, np.ndarray]:
        """The random numbers of one loss: denoising times and noise, nothing for the other heads."""
        if not isinstance(self.kind, DiffusionHead):
            return {}
        shape = (self.kind.n_diffusion_samples, batch, self.model.inputs.window)
        actions = self.kind.action_horizon * self.kind.action_dim
        return {
            "time": rng.integers(0, self.kind.diffusion_steps, (*shape, 1)),
            "noise": rng.standard_normal((*shape, actions), dtype=np.float32),
        }

    def readout(self, inputs: Mapping[str, Tensor]) -> Tokens:
        """A batch's inputs, see `Batch`, to the tokens that the head reads (B, window, n, width)."""
        model, given = self.model, dict(inputs)
        if model.text is not None:
            tokens = model.encode_language(given.pop(INPUT_IDS), given.pop(ATTENTION_MASK))
            given[LANGUAGE_TOKENS] = tokens if self.trains_text else tokens.detach()
        task = model.task_tokens(given)
        timestep = model.timestep_tokens(given, model.conditions(given), task)
        return model.readout(model.run_transformer(task, timestep))

    def forward(
        self,
        inputs: Mapping[str, Tensor],
        actions: Tensor,
        action_pad_mask: Tensor,
        draws: Mapping[str, Tensor],
    ) -> tuple[Tensor, Tensor]:
        """The loss of a batch.

        Args:
            inputs: see `Batch`.
            actions: (B, window, horizon, 7) float32, normalized.
            action_pad_mask: the same shape, bool.
            draws: as `draw` made them.

        Returns:
            The loss, and the squared error beside it, both () float32; as in the official code summed over
            the axes of an action, but for the loss over bins.
        """
        head, readout = self.model.head, self.readout(inputs)
        mask = inputs[TIMESTEP_MASK][:, :, None, None] & action_pad_mask  # (B, window, horizon, 7)
        if isinstance(head, DiffusionActions):
            return self._diffusion(head, readout, actions, mask, draws["time"], draws["noise"])
        if isinstance(head, DiscreteActions):
            return self._discrete(head, readout, actions, mask)
        return self._continuous(head, readout, actions, mask)

    def _diffusion(
        self,
        head: DiffusionActions,
        readout: Tokens,
        actions: Tensor,
        mask: Tensor,
        time: Tensor,
        noise: Tensor,
    ) -> tuple[Tensor, Tensor]:
        clean = actions.flatten(2).clamp(-head.max_action, head.max_action)  # (B, window, horizon * 7)
        kept = self.kept[time]  # (samples, B, window, 1)
        noisy = kept.sqrt() * clean + (1 - kept).sqrt() * noise  # (samples, B, window, horizon * 7)
        embedding = head.pooling(readout).expand(len(time), -1, -1, -1)
        said = head.score(embedding, noisy, head.score.encode_time(time.float()))
        return self._regression(said, noise, mask.flatten(2)[None], head.action_dim)

    def _continuous(
        self, head: ContinuousActions, readout: Tokens, actions: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        mean = head.projection(head.pooling(readout))  # (B, window, horizon * 7)
        said = (torch.tanh(mean / head.max_action) * head.max_action).unflatten(-1, (head.horizon, -1))
        return self._regression(said, actions, mask, head.action_dim)

    def _discrete(
        self, head: DiscreteActions, readout: Tokens, actions: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        logits = head.logits(readout)  # (B, window, horizon, 7, bins)
        values = actions
        if self.kind.normalization_type == "uniform":
            values = values.clamp(_BIN_MARGIN, 1 - _BIN_MARGIN)
        bins = (values[..., None] >= self.edges[:-1]) & (values[..., None] < self.edges[1:])
        labels = bins.int().argmax(dim=-1)  # (B, window, horizon, 7); outside all bins the first
        losses = nn.functional.cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="none")
        squares = (head.centres[logits.argmax(dim=-1)] - actions).square()
        return masked_mean(losses.view_as(actions), mask), masked_mean(squares, mask) * head.action_dim

    def _regression(self, said: Tensor, true: Tensor, mask: Tensor, axes: int) -> tuple[Tensor, Tensor]:
        squares = masked_mean((said - true).square(), mask) * axes
        if self.kind.loss_type == "mse":
            return squares, squares
        if self.kind.loss_type == "l1":
            return masked_mean((said - true).abs(), mask) * axes, squares
        raise ParameterError(f"loss_type: expected 'mse' or 'l1', got {self.kind.loss_type!r}")


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """The mean over what counts, as the official code takes it; 0 where nothing does."""
    counted = mask.expand_as(values).to(values.dtype)
    return (values * counted).mean() / counted.mean().clamp(min=LEAST_MASK)
