"""The one table from our parameters to the official ones, and the loading it drives.

`MODULES` says where each of our modules lies in the official tree; `LEAVES` says what a module of a
type calls its parameters there and how their axes are ordered. Every parameter of the model must be
found with its shape, and every array of the file must be used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from octo_ros.errors import CheckpointError
from octo_ros.model.config import ImageTokenizer, OctoConfig
from octo_ros.model.heads import FourierFeatures
from octo_ros.model.octo import Octo
from octo_ros.model.t5 import RmsNorm, T5Sizes
from octo_ros.model.transformer import AttentionPooling, FromHeads, ToHeads

_IMAGES = r"octo_transformer/observation_tokenizers_\1/{encoder[\1]}_0"
_T5 = "octo_transformer/task_tokenizers_{language}/hf_model"
_T5_BLOCK = _T5 + r"/encoder/block/\1/layer"
_TRANSFORMER = "octo_transformer/BlockTransformer_0/Transformer_0"
_SCORE = "heads_action/diffusion_model"

MODULES: tuple[tuple[str, str], ...] = (
    (r"positions", r"octo_transformer"),
    (r"projections\.(\w+)", r"octo_transformer/\1_projection"),
    (r"observation_tokenizers\.obs_(\w+)\.stem\.convolutions\.(\d+)", _IMAGES + r"/StdConv_\2"),
    (r"observation_tokenizers\.obs_(\w+)\.stem\.norms\.(\d+)", _IMAGES + r"/GroupNorm_\2"),
    (r"observation_tokenizers\.obs_(\w+)\.stem\.embedding", _IMAGES + r"/embedding"),
    (r"text\.embedding", _T5 + r"/shared"),
    (r"text\.position", _T5 + r"/encoder/block/0/layer/0/SelfAttention/relative_attention_bias"),
    (r"text\.blocks\.(\d+)\.attention_norm", _T5_BLOCK + r"/0/layer_norm"),
    (r"text\.blocks\.(\d+)\.attention\.(\w)", _T5_BLOCK + r"/0/SelfAttention/\2"),
    (r"text\.blocks\.(\d+)\.feed_forward_norm", _T5_BLOCK + r"/1/layer_norm"),
    (r"text\.blocks\.(\d+)\.feed_forward\.(?:into\.)?(\w+)", _T5_BLOCK + r"/1/DenseReluDense/\2"),
    (r"text\.norm", _T5 + r"/encoder/final_layer_norm"),
    (r"transformer\.blocks\.(\d+)\.attention_norm", _TRANSFORMER + r"/encoderblock_\1/LayerNorm_0"),
    (
        r"transformer\.blocks\.(\d+)\.attention\.(\w+)",
        _TRANSFORMER + r"/encoderblock_\1/MultiHeadDotProductAttention_0/\2",
    ),
    (r"transformer\.blocks\.(\d+)\.feed_forward_norm", _TRANSFORMER + r"/encoderblock_\1/LayerNorm_1"),
    (
        r"transformer\.blocks\.(\d+)\.feed_forward\.into",
        _TRANSFORMER + r"/encoderblock_\1/MlpBlock_0/Dense_0",
    ),
    (r"transformer\.blocks\.(\d+)\.feed_forward\.out", _TRANSFORMER + r"/encoderblock_\1/MlpBlock_0/Dense_1"),
    (r"transformer\.norm", _TRANSFORMER + r"/encoder_norm"),
    (r"head\.pooling\.attention", r"heads_action/map_head"),
    (
        r"head\.pooling\.attention\.attention\.(\w+)",
        r"heads_action/map_head/MultiHeadDotProductAttention_0/\1",
    ),
    (r"head\.pooling\.attention\.norm", r"heads_action/map_head/LayerNorm_0"),
    (r"head\.pooling\.attention\.feed_forward\.into", r"heads_action/map_head/MlpBlock_0/Dense_0"),
    (r"head\.pooling\.attention\.feed_forward\.out", r"heads_action/map_head/MlpBlock_0/Dense_1"),
    (r"head\.projection", r"heads_action/mean_proj"),
    (r"head\.score\.fourier", _SCORE + r"/time_preprocess"),
    (r"head\.score\.time_into", _SCORE + r"/cond_encoder/Dense_0"),
    (r"head\.score\.time_out", _SCORE + r"/cond_encoder/Dense_1"),
    (r"head\.score\.into", _SCORE + r"/reverse_network/Dense_0"),
    (r"head\.score\.blocks\.(\d+)\.norm", _SCORE + r"/reverse_network/MLPResNetBlock_\1/LayerNorm_0"),
    (r"head\.score\.blocks\.(\d+)\.into", _SCORE + r"/reverse_network/MLPResNetBlock_\1/Dense_0"),
    (r"head\.score\.blocks\.(\d+)\.out", _SCORE + r"/reverse_network/MLPResNetBlock_\1/Dense_1"),
    (r"head\.score\.out", _SCORE + r"/reverse_network/Dense_1"),
)
"""Path of our module (a regular expression) to the path of the official one.

`{encoder[name]}` stands for the class of that tokenizer's encoder, `{language}` for the language
tokenizer's name.
"""


@dataclass(frozen=True)
class Leaf:
    """One parameter of a type of module.

    Attributes:
        official: its name in the official module.
        shape: (our module, our shape) to the official shape.
        load: official array to ours.
    """

    official: str
    shape: Callable[[Any, tuple[int, ...]], tuple[int, ...]]
    load: Callable[[np.ndarray], np.ndarray]


def _as_it_is(name: str) -> Leaf:
    return Leaf(name, lambda module, shape: shape, lambda array: array)


_DENSE = Leaf("kernel", lambda module, shape: (shape[1], shape[0]), lambda array: array.T)
_BIAS = _as_it_is("bias")

LEAVES: Mapping[type, Mapping[str, Leaf]] = {
    nn.Linear: {"weight": _DENSE, "bias": _BIAS},
    ToHeads: {
        "weight": Leaf(
            "kernel",
            lambda module, shape: (shape[1], module.heads, shape[0] // module.heads),
            lambda array: array.reshape(array.shape[0], -1).T,
        ),
        "bias": Leaf(
            "bias",
            lambda module, shape: (module.heads, shape[0] // module.heads),
            lambda array: array.reshape(-1),
        ),
    },
    FromHeads: {
        "weight": Leaf(
            "kernel",
            lambda module, shape: (module.heads, shape[1] // module.heads, shape[0]),
            lambda array: array.reshape(-1, array.shape[-1]).T,
        ),
        "bias": _BIAS,
    },
    nn.Conv2d: {
        "weight": Leaf(
            "kernel",
            lambda module, shape: (shape[2], shape[3], shape[1], shape[0]),
            lambda array: array.transpose(3, 2, 0, 1),
        ),
        "bias": _BIAS,
    },
    nn.LayerNorm: {"weight": _as_it_is("scale"), "bias": _BIAS},
    nn.GroupNorm: {"weight": _as_it_is("scale"), "bias": _BIAS},
    nn.Embedding: {"weight": _as_it_is("embedding")},
    RmsNorm: {"weight": _as_it_is("weight")},
    FourierFeatures: {"frequencies": _as_it_is("kernel")},
    AttentionPooling: {"probe": _as_it_is("probe")},
}
"""Type of our module, to what its parameters are called and how they lie in the official one."""


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
            leaf = _leaf(module, leaf_name)
            official = f"{_official_module(path, names)}/{leaf.official}"
            shape = leaf.shape(module, tuple(parameter.shape))
            table.append(Weight(f"{path}.{leaf_name}", official, shape, leaf.load))
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
            "the file and config.json do not belong together"
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
    prefix = _T5.format(language=language)
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


def _leaf(module: nn.Module, name: str) -> Leaf:
    if isinstance(module, nn.ParameterDict):  # position embeddings, under their groups' names
        return _as_it_is(f"{name}_pos_embedding")
    kind = next(kind for kind in type(module).__mro__ if kind in LEAVES)
    return LEAVES[kind][name]


def _official_module(path: str, names: Mapping[str, Any]) -> str:
    for pattern, official in MODULES:
        if match := re.fullmatch(pattern, path):
            return match.expand(official).format(**names)
    raise KeyError(f"no row of MODULES for our module {path}")


def _some(names: list[str]) -> str:
    """The first few names, and how many more there are."""
    shown = ", ".join(names[:5]) or "none"
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown
