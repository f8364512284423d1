"""Random weights to begin with, distributed as the official code's."""

from __future__ import annotations

import math
import re

import torch
from torch import Tensor, nn

from octo_ros.model.heads.diffusion import FourierFeatures
from octo_ros.model.octo import Octo
from octo_ros.model.t5 import RmsNorm
from octo_ros.model.tokenizers import ImageTokens
from octo_ros.model.transformer import Attention, AttentionPooling, FeedForward

_POSITION_STD = 0.02
_FOURIER_STD = 0.2
_FEED_FORWARD_BIAS_STD = 1e-6
_TRUNCATED_STD = 0.87962566103423978
"""Deviation of a standard normal distribution cut at -2 and 2."""

_GLOROT = re.compile(r"head\.score\.(time_into|time_out|into|out)")
_FILM = re.compile(r".*\.films\.\d+\.(add|multiply)")


@torch.no_grad()
def initialise(model: Octo, generator: torch.Generator) -> None:
    """Draws every weight of a model anew, in the order of its modules."""
    glorot = {
        f"{path}.{name}" if path else name
        for path, module in model.named_modules()
        if isinstance(module, (Attention, FeedForward))
        for name, _ in module.named_children()
    }
    rich = {
        f"{path}.{name}"
        for path, module in model.named_modules()
        if isinstance(module, FeedForward)
        for name, _ in module.named_children()
    }
    for path, module in model.named_modules():
        if path.startswith("text"):
            continue
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.Conv1d, nn.ConvTranspose1d)):
            if _FILM.fullmatch(path):
                module.weight.zero_()
            elif path in glorot or _GLOROT.fullmatch(path):
                nn.init.xavier_uniform_(module.weight, generator=generator)
            else:
                _lecun(module.weight, generator)
            if module.bias is not None:
                module.bias.zero_()
                if path in rich:
                    module.bias.normal_(0, _FEED_FORWARD_BIAS_STD, generator=generator)
        elif isinstance(module, FourierFeatures):
            module.frequencies.normal_(0, _FOURIER_STD, generator=generator)
        elif isinstance(module, AttentionPooling):
            nn.init.xavier_uniform_(module.probe[0], generator=generator)
    for name, parameter in model.named_parameters():
        if name.startswith("positions.") or name.endswith(".learner.positions"):
            parameter.normal_(0, _POSITION_STD, generator=generator)
    if model.text is not None:
        _text(model.text, generator)


@torch.no_grad()
def place_patches(model: Octo) -> None:
    """Begins the positions of an image's patches as sines and cosines of their column and row.

    The official 0.02 times noise takes long to tell places apart beside patches of unit size. Each quarter
    of the width is a sine or a cosine, of periods from the side to ten times it, as in Vaswani et al. (2017).
    """
    for name, tokenizer in model.observation_tokenizers.items():
        if not isinstance(tokenizer, ImageTokens):
            continue
        position = model.positions[name]  # (1, horizon, rows * columns, width)
        side, quarter = math.isqrt(position.shape[2]), position.shape[3] // 4
        rates = 2 * math.pi / side / 10.0 ** (torch.arange(quarter) / quarter)
        column = torch.arange(side).repeat(side)[:, None] * rates
        row = torch.arange(side).repeat_interleave(side)[:, None] * rates
        position[..., : 4 * quarter] = torch.cat([column.sin(), column.cos(), row.sin(), row.cos()], dim=1)


def _text(text: nn.Module, generator: torch.Generator) -> None:
    """T5's own: what is not scaled in its attention is scaled here."""
    width = text.width
    for path, module in text.named_modules():
        if isinstance(module, RmsNorm):
            module.weight.fill_(1.0)
        elif isinstance(module, nn.Embedding):
            module.weight.normal_(0, 1.0 if path == "embedding" else width**-0.5, generator=generator)
        elif isinstance(module, nn.Linear):
            std = module.in_features**-0.5
            if path.endswith(".q"):
                std = (width * module.out_features / text.blocks[0].attention.heads) ** -0.5
            module.weight.normal_(0, std, generator=generator)


def _lecun(weight: Tensor, generator: torch.Generator) -> None:
    fan_in, _ = nn.init._calculate_fan_in_and_fan_out(weight)
    std = math.sqrt(1 / fan_in) / _TRUNCATED_STD
    nn.init.trunc_normal_(weight, 0.0, std, -2 * std, 2 * std, generator=generator)
