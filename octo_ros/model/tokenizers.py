"""From the network's inputs to tokens, before they are projected to the transformer's width."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from octo_ros.model.bins import EPSILON, bin_edges
from octo_ros.model.config import Encoder, ImageTokenizer, LanguageTokenizer, LowdimTokenizer, Resnet
from octo_ros.model.encoder import ImageEncoder, Modulation, Source
from octo_ros.model.inputs import INSTRUCTION, PROPRIO, ImageStack, goal_name, pad_mask_name, vector_name
from octo_ros.model.resnet import ResnetEncoder
from octo_ros.model.stem import Stem
from octo_ros.model.transformer import AttentionPooling

GOAL = "goal"


class Tokens(NamedTuple):
    """Tokens of one group.

    Attributes:
        values: (B, n, d) for a task, (B, t, n, d) for observations of t timesteps, float32.
        mask: (B, n) or (B, t, n) bool, False where the token is padding; None where none is.
    """

    values: Tensor
    mask: Tensor | None


class ImageTokens(nn.Module):
    """Frames and goal images of one tokenizer, stacked and encoded.

    Args:
        config: the official tokenizer's keywords.
        stack: its images.
        vectors: task key to the shape of its array, of all that `config` names for FiLM.
    """

    def __init__(self, config: ImageTokenizer, stack: ImageStack, vectors: Mapping[str, tuple[int, ...]]):
        super().__init__()
        self.stack = stack
        self.film_keys = config.task_film_keys
        self.proper_pad_mask = config.proper_pad_mask
        film = sum(math.prod(vectors[key]) for key in config.task_film_keys)
        self.encoder = build_encoder(
            config.encoder, Source(3 * len(stack.frames), 3 * len(stack.goals), film)
        )
        self.width = config.encoder.num_features
        self.count = self.encoder.patches(stack.height, stack.width)
        self.learner = None
        if config.use_token_learner and self.count:
            self.learner = TokenLearner(config.num_tokens, self.count, self.width)
            self.count = config.num_tokens

    def condition_names(self) -> list[str]:
        """What `condition` gives."""
        goal = [GOAL] if self.stack.goals else []
        return goal + [name for index in range(len(self.encoder.films)) for name in _film_names(index)]

    def condition(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the encoder needs of the task, from the task's inputs alone.

        Returns:
            "goal": the goal images' share of the first convolution (B, C, H', W'), where the stack has
            goals; "film_0_add" and "film_0_multiply" (B, C) and so on, where FiLM modulates.
        """
        result = {}
        if self.stack.goals:
            goals = torch.cat([inputs[goal_name(key)] for key in self.stack.goals], dim=-1)
            result[GOAL] = self.encoder.goal(goals)
        if len(self.encoder.films):
            vectors = [inputs[vector_name(key)] for key in self.film_keys]
            task = torch.cat(vectors, dim=-1).flatten(1)  # (B, values)
            for index, film in enumerate(self.encoder.films):
                result |= dict(zip(_film_names(index), film(task), strict=True))
        return result

    def forward(self, inputs: Mapping[str, Tensor], condition: Mapping[str, Tensor]) -> Tokens:
        """Tokens of the timesteps given; masked where every frame of the stack is padding.

        Args:
            inputs: frames (B, t, H, W, 3) uint8 and their masks (B, t), of any number of timesteps.
            condition: as `condition` gave it.

        Returns:
            Tokens (B, t, count, width).
        """
        frames = torch.cat([inputs[key] for key in self.stack.frames], dim=-1)  # (B, t, H, W, C)
        batch, steps = frames.shape[:2]
        task = {name: _at_each_step(value, steps) for name, value in condition.items()}
        films = [
            Modulation(*(task[name] for name in _film_names(index)))
            for index in range(len(self.encoder.films))
        ]
        values = self.encoder(frames.flatten(0, 1), task.get(GOAL), films)
        if self.learner is not None:
            values = self.learner(values)
        values = values.unflatten(0, (batch, steps))
        if not self.proper_pad_mask:
            return Tokens(values, None)
        seen = inputs[pad_mask_name(self.stack.frames[0])]  # (B, t)
        for key in self.stack.frames[1:]:
            seen = seen | inputs[pad_mask_name(key)]
        return Tokens(values, seen[:, :, None].expand(-1, -1, self.count))


class TokenLearner(nn.Module):
    """All patches of an image gathered into a few tokens, by attention."""

    def __init__(self, tokens: int, patches: int, width: int):
        super().__init__()
        self.positions = nn.Parameter(torch.zeros(patches, width))
        self.norm = nn.LayerNorm(width, eps=EPSILON)
        self.pooling = AttentionPooling(width, tokens)

    def forward(self, patches: Tensor) -> Tensor:
        """(N, patches, width) to (N, tokens, width)."""
        return self.pooling(self.norm(patches + self.positions), None)


class ProprioTokens(nn.Module):
    """One token per value of proprioception; the official code never masks them."""

    def __init__(self, config: LowdimTokenizer, size: int):
        super().__init__()
        self.discretize = config.discretize
        self.uniform_range = (config.low, config.high) if config.bin_type == "uniform" else None
        self.count = size
        self.width = config.n_bins if config.discretize else 1
        edges = bin_edges(config.n_bins, config.bin_type, config.low, config.high)
        self.register_buffer("edges", torch.from_numpy(edges), persistent=False)

    def condition_names(self) -> list[str]:
        """What `condition` gives: nothing."""
        return []

    def condition(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What it needs of the task: nothing."""
        return {}

    def forward(self, inputs: Mapping[str, Tensor], condition: Mapping[str, Tensor]) -> Tokens:
        """Values (B, t, count) float32, of any number of timesteps, to tokens (B, t, count, width)."""
        values = inputs[PROPRIO][..., None]  # (B, t, count, 1)
        if not self.discretize:
            return Tokens(values, None)
        if self.uniform_range is not None:
            low, high = self.uniform_range
            values = values.clamp(low + EPSILON, high - EPSILON)
        bins = (values >= self.edges[:-1]) & (values < self.edges[1:])  # (B, t, count, n_bins)
        outside = ~bins.any(-1, keepdim=True)  # counts as the first bin, as the official argmax does
        first = torch.arange(self.width) == 0
        return Tokens((bins | (outside & first)).float(), None)


class LanguageTokens(nn.Module):
    """The encoded instruction.

    Args:
        config: the official tokenizer's keywords.
        source: name of the input that holds it, (B, count, width), or (B, width) where it is one vector.
        count: tokens.
        width: values of each.
    """

    def __init__(self, config: LanguageTokenizer, source: str, count: int, width: int):
        super().__init__()
        self.proper_pad_mask = config.proper_pad_mask
        self.source = source
        self.count = count
        self.width = width

    def forward(self, inputs: Mapping[str, Tensor]) -> Tokens:
        """Tokens (B, count, width), all masked where there is no instruction."""
        values = inputs[self.source]
        if values.ndim == 2:
            values = values[:, None]
        if not self.proper_pad_mask:
            return Tokens(values, None)
        given = inputs[pad_mask_name(INSTRUCTION)]  # (B,)
        return Tokens(values, given[:, None].expand(-1, self.count))


def build_encoder(config: Encoder, source: Source) -> ImageEncoder:
    """The encoder of a configuration."""
    return ResnetEncoder(config, source) if isinstance(config, Resnet) else Stem(config, source)


def _film_names(index: int) -> tuple[str, str]:
    """Names of the modulation of one feature map."""
    return f"film_{index}_add", f"film_{index}_multiply"


def _at_each_step(value: Tensor, steps: int) -> Tensor:
    """(B, ...) of a task to (B * steps, ...), the same at every timestep."""
    return value if steps == 1 else value[:, None].expand(-1, steps, *value.shape[1:]).flatten(0, 1)
