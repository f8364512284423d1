"""The one table from our parameters to the official ones, and the loading it drives.

The table's rules are in `official_names.py`. Every parameter of the model must be found with its
shape, and every array of the file must be used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from octo_ros.errors import CheckpointError
from octo_ros.export.official_names import T5_PREFIX, leaf, official_module
from octo_ros.model.config import ImageTokenizer, OctoConfig
from octo_ros.model.octo import Octo
from octo_ros.model.t5 import T5Sizes


@dataclass(frozen=True)
class Weight:
    """One parameter of the model as the official file holds it.

    Attributes:
        ours: name in our model.
        official: name in the file.
        shape: shape in the file.
        load: official array to ours.
    """

    ours: str
    official: str
    shape: tuple[int, ...]
    load: Callable[[np.ndarray], np.ndarray]


def weight_table(model: Octo, config: OctoConfig) -> list[Weight]:
    """What the official file of this model must hold, entry by entry."""
    names = {
        "encoder": {
            name: tokenizer.encoder.name
            for name, tokenizer in config.observation_tokenizers.items()
            if isinstance(tokenizer, ImageTokenizer)
        },
        "language": next(iter(model.inputs.language), ""),
    }
    table = []
    for path, module in model.named_modules():
        for leaf_name, parameter in module.named_parameters(recurse=False):
            rule = leaf(module, leaf_name)
            official = f"{official_module(path, names)}/{rule.official}"
            shape = rule.shape(module, tuple(parameter.shape))
            table.append(Weight(f"{path}.{leaf_name}", official, shape, rule.load))
    return table


def load_weights(model: Octo, config: OctoConfig, parameters: Mapping[str, np.ndarray], where: str) -> None:
    """Fills the model with the official weights.

    Args:
        model: filled in place.
        config: what it was built from.
        parameters: official name to array, float32.
        where: the checkpoint, for messages.

    Raises:
        CheckpointError: weights missing, left over or misshapen, by their official names.
    """
    table = weight_table(model, config)
    expected = {weight.official: weight for weight in table}
    missing = sorted(set(expected) - set(parameters))
    left_over = sorted(set(parameters) - set(expected))
    if missing or left_over:
        raise CheckpointError(
            f"{where}: weights missing: {_some(missing)}; left over: {_some(left_over)}; "
            "the weights, config.json and example_batch.msgpack do not belong together"
        )
    for name, weight in expected.items():
        if parameters[name].shape != weight.shape:
            raise CheckpointError(
                f"{where}: {name}: expected shape {weight.shape}, got {parameters[name].shape}"
            )
    state = {
        weight.ours: torch.from_numpy(np.array(weight.load(parameters[weight.official]), order="C"))
        for weight in table
    }
    model.load_state_dict(state, strict=True)


def t5_sizes(language: str, parameters: Mapping[str, np.ndarray], where: str) -> T5Sizes:
    """Reads the T5 encoder's sizes off the shapes of its weights.

    Args:
        language: the language tokenizer's name.
        parameters: official name to array.
        where: the checkpoint, for messages.

    Raises:
        CheckpointError: a weight that is missing or whose shape cannot be a T5 encoder's.
    """
    prefix = T5_PREFIX.format(language=language)
    block = f"{prefix}/encoder/block/0/layer"

    def shape(name: str) -> tuple[int, int]:
        if name not in parameters:
            raise CheckpointError(f"{where}: {name}: missing; the language encoder's sizes are read from it")
        if parameters[name].ndim != 2 or 0 in parameters[name].shape:
            raise CheckpointError(f"{where}: {name}: expected a matrix, got shape {parameters[name].shape}")
        return parameters[name].shape

    gated = f"{block}/1/DenseReluDense/wi_0/kernel" in parameters
    vocabulary, width = shape(f"{prefix}/shared/embedding")
    buckets, heads = shape(f"{block}/0/SelfAttention/relative_attention_bias/embedding")
    inner = shape(f"{block}/0/SelfAttention/q/kernel")[1]
    feed_forward = shape(f"{block}/1/DenseReluDense/{'wi_0' if gated else 'wi'}/kernel")[1]
    if inner % heads or buckets < 4:
        raise CheckpointError(
            f"{where}: {block}: expected 4 position buckets or more and a width of attention that its heads "
            f"divide, got {buckets} buckets, {heads} heads, width {inner}"
        )
    pattern = re.compile(re.escape(prefix) + r"/encoder/block/(\d+)/")
    layers = 1 + max(int(match[1]) for name in parameters if (match := pattern.match(name)))
    return T5Sizes(vocabulary, width, inner, feed_forward, layers, heads, buckets, gated)


def _some(names: list[str]) -> str:
    """The first few names, and how many more there are."""
    shown = ", ".join(names[:5]) or "none"
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown
