"""What the official weights are called and how they lie, beside ours.

`MODULES` says where each of our modules lies in the official tree; `LEAVES` says what a module of a
type calls its parameters there and how their axes are ordered.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from octo_ros.model.heads.diffusion import FourierFeatures
from octo_ros.model.t5 import RmsNorm
from octo_ros.model.tokenizers import TokenLearner
from octo_ros.model.transformer import AttentionPooling, FromHeads, ToHeads

_IMAGES = r"observation_tokenizers\.obs_(\w+)"
_TOKENIZER = r"octo_transformer/observation_tokenizers_\1"
_ENCODER = _TOKENIZER + r"/{encoder[\1]}_0"
T5_PREFIX = "octo_transformer/task_tokenizers_{language}/hf_model"
_T5_BLOCK = T5_PREFIX + r"/encoder/block/\1/layer"
_TRANSFORMER = "octo_transformer/BlockTransformer_0/Transformer_0"
_SCORE = "heads_action/diffusion_model"
_UNET = "heads_action/model"
_UNET_BLOCK = _UNET + r"/ConditionalResidualBlock1D_\1"


def _pooling(ours: str, official: str) -> tuple[tuple[str, str], ...]:
    """Rows of an `AttentionPooling`; `ours` has no group, or one."""
    attention = r"\2" if "(" in ours else r"\1"
    return (
        (ours, official),
        (ours + r"\.attention\.(\w+)", official + "/MultiHeadDotProductAttention_0/" + attention),
        (ours + r"\.norm", official + "/LayerNorm_0"),
        (ours + r"\.feed_forward\.into", official + "/MlpBlock_0/Dense_0"),
        (ours + r"\.feed_forward\.out", official + "/MlpBlock_0/Dense_1"),
    )


MODULES: tuple[tuple[str, str], ...] = (
    (r"positions", r"octo_transformer"),
    (r"projections\.(\w+)", r"octo_transformer/\1_projection"),
    (_IMAGES + r"\.encoder\.convolutions\.(\d+)", _ENCODER + r"/StdConv_\2"),
    (_IMAGES + r"\.encoder\.norms\.(\d+)", _ENCODER + r"/GroupNorm_\2"),
    (_IMAGES + r"\.encoder\.embedding", _ENCODER + r"/embedding"),
    (_IMAGES + r"\.encoder\.films\.(\d+)\.add", _ENCODER + r"/FilmConditioning_\2/Dense_0"),
    (_IMAGES + r"\.encoder\.films\.(\d+)\.multiply", _ENCODER + r"/FilmConditioning_\2/Dense_1"),
    (_IMAGES + r"\.encoder\.root", _ENCODER + r"/conv_root"),
    (_IMAGES + r"\.encoder\.root_norm", _ENCODER + r"/gn_root"),
    (_IMAGES + r"\.encoder\.stages\.(\w+)\.(\w+)\.(conv\w+)", _ENCODER + r"/\2/\3/\4"),
    (_IMAGES + r"\.encoder\.stages\.(\w+)\.(\w+)\.norm(\w+)", _ENCODER + r"/\2/\3/gn\4"),
    (_IMAGES + r"\.learner", _TOKENIZER + r"/TokenLearner_0"),
    (_IMAGES + r"\.learner\.norm", _TOKENIZER + r"/TokenLearner_0/LayerNorm_0"),
    *_pooling(_IMAGES + r"\.learner\.pooling", _TOKENIZER + r"/TokenLearner_0/MAPHead_0"),
    (r"text\.embedding", T5_PREFIX + r"/shared"),
    (r"text\.position", T5_PREFIX + r"/encoder/block/0/layer/0/SelfAttention/relative_attention_bias"),
    (r"text\.blocks\.(\d+)\.attention_norm", _T5_BLOCK + r"/0/layer_norm"),
    (r"text\.blocks\.(\d+)\.attention\.(\w)", _T5_BLOCK + r"/0/SelfAttention/\2"),
    (r"text\.blocks\.(\d+)\.feed_forward_norm", _T5_BLOCK + r"/1/layer_norm"),
    (r"text\.blocks\.(\d+)\.feed_forward\.(?:into\.)?(\w+)", _T5_BLOCK + r"/1/DenseReluDense/\2"),
    (r"text\.norm", T5_PREFIX + r"/encoder/final_layer_norm"),
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
    *_pooling(r"head\.pooling\.attention", r"heads_action/map_head"),
    (r"head\.projection", r"heads_action/mean_proj"),
    (r"head\.vocabulary", r"heads_action/vocab_proj"),
    (r"head\.score\.fourier", _SCORE + r"/time_preprocess"),
    (r"head\.score\.time_into", _SCORE + r"/cond_encoder/Dense_0"),
    (r"head\.score\.time_out", _SCORE + r"/cond_encoder/Dense_1"),
    (r"head\.score\.into", _SCORE + r"/reverse_network/Dense_0"),
    (r"head\.score\.blocks\.(\d+)\.norm", _SCORE + r"/reverse_network/MLPResNetBlock_\1/LayerNorm_0"),
    (r"head\.score\.blocks\.(\d+)\.into", _SCORE + r"/reverse_network/MLPResNetBlock_\1/Dense_0"),
    (r"head\.score\.blocks\.(\d+)\.out", _SCORE + r"/reverse_network/MLPResNetBlock_\1/Dense_1"),
    (r"head\.score\.out", _SCORE + r"/reverse_network/Dense_1"),
    (r"head\.action_projection", r"heads_action/action_proj"),
    (r"head\.unet\.time_into", _UNET + r"/Dense_0"),
    (r"head\.unet\.time_out", _UNET + r"/Dense_1"),
    (r"head\.unet\.blocks\.(\d+)\.first\.convolution", _UNET_BLOCK + r"/Conv1dBlock_0/Conv_0"),
    (r"head\.unet\.blocks\.(\d+)\.first\.norm", _UNET_BLOCK + r"/Conv1dBlock_0/GroupNorm_0"),
    (r"head\.unet\.blocks\.(\d+)\.condition", _UNET_BLOCK + r"/Dense_0"),
    (r"head\.unet\.blocks\.(\d+)\.second\.convolution", _UNET_BLOCK + r"/Conv1dBlock_1/Conv_0"),
    (r"head\.unet\.blocks\.(\d+)\.second\.norm", _UNET_BLOCK + r"/Conv1dBlock_1/GroupNorm_0"),
    (r"head\.unet\.blocks\.(\d+)\.residual", _UNET_BLOCK + r"/Conv_0"),
    (r"head\.unet\.downsamplings\.(\d+)", _UNET + r"/Downsample1d_\1/Conv_0"),
    (r"head\.unet\.upsamplings\.(\d+)", _UNET + r"/Upsample1d_\1/ConvTranspose_0"),
    (r"head\.unet\.last\.convolution", _UNET + r"/Conv1dBlock_0/Conv_0"),
    (r"head\.unet\.last\.norm", _UNET + r"/Conv1dBlock_0/GroupNorm_0"),
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
    nn.Conv1d: {
        "weight": Leaf(
            "kernel",
            lambda module, shape: (shape[2], shape[1], shape[0]),
            lambda array: array.transpose(2, 1, 0),
        ),
        "bias": _BIAS,
    },
    nn.ConvTranspose1d: {  # the official kernel is applied as it lies, PyTorch's the other way round
        "weight": Leaf(
            "kernel",
            lambda module, shape: (shape[2], shape[0], shape[1]),
            lambda array: array[::-1].transpose(1, 2, 0),
        ),
        "bias": _BIAS,
    },
    nn.LayerNorm: {"weight": _as_it_is("scale"), "bias": _BIAS},
    nn.GroupNorm: {"weight": _as_it_is("scale"), "bias": _BIAS},
    nn.Embedding: {"weight": _as_it_is("embedding")},
    RmsNorm: {"weight": _as_it_is("weight")},
    FourierFeatures: {"frequencies": _as_it_is("kernel")},
    AttentionPooling: {"probe": _as_it_is("probe")},
    TokenLearner: {"positions": _as_it_is("pos_embed")},
}
"""Type of our module, to what its parameters are called and how they lie in the official one."""


def leaf(module: nn.Module, name: str) -> Leaf:
    """What is known of a parameter of a module."""
    if isinstance(module, nn.ParameterDict):  # position embeddings, under their groups' names
        return _as_it_is(f"{name}_pos_embedding")
    kind = next(kind for kind in type(module).__mro__ if kind in LEAVES)
    return LEAVES[kind][name]


def official_module(path: str, names: Mapping[str, Any]) -> str:
    """Path of the official module that one of ours is.

    Args:
        path: of our module, parts divided by dots.
        names: what `MODULES` leaves open: "encoder" and "language".
    """
    for pattern, official in MODULES:
        if match := re.fullmatch(pattern, path):
            return match.expand(official).format(**names)
    raise KeyError(f"no row of MODULES for our module {path}")
