"""AdamW as the official training sets it: what decays, what is frozen, how far one step may go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatch

import torch
from torch import Tensor, nn

from octo_ros.errors import ParameterError
from octo_ros.export.weights import weight_table
from octo_ros.model.config import OctoConfig
from octo_ros.model.octo import Octo

FREEZES: Mapping[str, tuple[str, ...]] = {
    "none": (),
    "head": ("octo_transformer.*",),
    "head_mlp": (
        "octo_transformer.*",
        "heads_*.map_head.probe",
        "heads_*.map_head.MultiHeadDotProductAttention_0.*",
    ),
}
"""What the official fine-tuning freezes in its modes full, head_only and head_mlp_only."""

TEXT_KEYS = ("*hf_model*",)
"""The language encoder, frozen unless the configuration has `finetune_encoder`."""


def official_keys(model: Octo, config: OctoConfig) -> dict[str, str]:
    """Our name of each parameter to the official one, its parts divided by dots as frozen keys are."""
    return {weight.ours: weight.official.replace("/", ".") for weight in weight_table(model, config)}


def frozen_parameters(model: Octo, config: OctoConfig, patterns: Sequence[str]) -> set[str]:
    """Our names of the parameters that one of the official patterns matches, and of a language encoder
    that is not to be trained."""
    if not any(tokenizer.finetune_encoder for tokenizer in config.task_tokenizers.values()):
        patterns = [*patterns, *TEXT_KEYS]
    return {
        name
        for name, key in official_keys(model, config).items()
        if any(fnmatch(key, pattern) for pattern in patterns)
    }


def make_optimiser(
    model: Octo, config: OctoConfig, frozen: Iterable[str], weight_decay: float
) -> torch.optim.AdamW:
    """AdamW over what is not frozen; only what is officially called a kernel decays.

    Raises:
        ParameterError: nothing is left to train.
    """
    frozen = set(frozen)
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    keys = official_keys(model, config)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in frozen)
        if name not in frozen:
            groups["kernel" in keys[name]].append(parameter)
    if not groups[True] and not groups[False]:
        raise ParameterError("freeze: nothing is left to train")
    return torch.optim.AdamW(
        [
            {"params": groups[True], "weight_decay": weight_decay},
            {"params": groups[False], "weight_decay": 0.0},
        ],
        lr=0.0,
        betas=(0.9, 0.999),
        eps=1e-8,
    )


class Average:
    """A slow copy of the weights (exponential moving average), which saving and validation then use.

    Args:
        parameters: our name to tensor, at the start.
        decay: share that a step keeps of it; less in the first steps, when there is little to keep.
    """

    def __init__(self, parameters: Mapping[str, Tensor], decay: float):
        if not 0 < decay < 1:
            raise ParameterError(f"ema: expected a number between 0 and 1, got {decay}")
        self.decay = decay
        self.values = {name: tensor.detach().clone() for name, tensor in parameters.items()}

    @torch.no_grad()
    def update(self, parameters: Mapping[str, Tensor], step: int) -> None:
        """Takes in the weights after a step."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in self.values.items():
            value.lerp_(parameters[name].detach(), 1 - decay)
