"""The model of a checkpoint as frozen dataclasses, one for each official module that is supported.

Field names and defaults are the official keywords'. Those that act in training alone are kept, so
that they are known ones. `official.py` fills the dataclasses from `config.json`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Count = int
"""A whole number of at least 1."""


@dataclass(frozen=True)
class SmallStem:
    """Weight-standardised convolutions, then a patch embedding: `SmallStem` and its two sizes."""

    name: str
    use_film: bool = False
    patch_size: Count = 32
    kernel_sizes: tuple[Count, ...] = (3, 3, 3, 3)
    strides: tuple[Count, ...] = (2, 2, 2, 2)
    features: tuple[Count, ...] = (32, 96, 192, 384)
    padding: tuple[int, ...] = (1, 1, 1, 1)
    num_features: Count = 512
    img_norm_type: str = "default"


@dataclass(frozen=True)
class PatchEncoder:
    """One convolution that cuts the image into patches."""

    name: str
    use_film: bool = False
    patch_size: Count = 32
    num_features: Count = 512
    img_norm_type: str = "default"


@dataclass(frozen=True)
class ImageTokenizer:
    """Frames, and goal images stacked onto them, into one token per patch."""

    name: str
    encoder: SmallStem | PatchEncoder
    use_token_learner: bool = False
    num_tokens: Count = 8
    conditioning_type: str = "none"
    obs_stack_keys: tuple[str, ...] = ("image_.*", "depth_.*")
    task_stack_keys: tuple[str, ...] = ()
    task_film_keys: tuple[str, ...] = ()
    proper_pad_mask: bool = True


@dataclass(frozen=True)
class LowdimTokenizer:
    """Proprioception: one token per value, plain or as a one-hot bin."""

    name: str
    n_bins: Count = 256
    bin_type: str = "uniform"
    low: float = 0.0
    high: float = 1.0
    obs_keys: tuple[str, ...] = ()
    discretize: bool = False
    proper_pad_mask: bool = True


@dataclass(frozen=True)
class LanguageTokenizer:
    """An instruction through a T5 encoder."""

    name: str
    encoder: str | None = None
    finetune_encoder: bool = False
    proper_pad_mask: bool = True


@dataclass(frozen=True)
class Transformer:
    """The trunk: pre-norm blocks and a last norm."""

    num_layers: Count
    mlp_dim: Count
    num_attention_heads: Count
    dropout_rate: float = 0.1
    attention_dropout_rate: float = 0.1
    add_position_embedding: bool = False


@dataclass(frozen=True)
class ContinuousHead:
    """Actions in one pass: `ContinuousActionHead`, `MSEActionHead`, `L1ActionHead`."""

    name: str
    readout_key: str
    use_map: bool = False
    action_horizon: Count = 1
    action_dim: Count = 7
    max_action: float = 5.0
    loss_type: str = "mse"


@dataclass(frozen=True)
class DiffusionHead:
    """Actions by denoising, with an MLP as score network: `DiffusionActionHead`."""

    name: str
    readout_key: str
    use_map: bool = False
    action_horizon: Count = 1
    action_dim: Count = 7
    max_action: float = 5.0
    loss_type: str = "mse"
    time_dim: Count = 32
    num_blocks: int = 3
    dropout_rate: float = 0.0
    hidden_dim: Count = 256
    use_layer_norm: bool = True
    diffusion_steps: Count = 20
    n_diffusion_samples: Count = 1


@dataclass(frozen=True)
class TextProcessor:
    """How words become token ids."""

    name: str
    tokenizer_name: str
    tokenizer_kwargs: Mapping[str, Any] = dataclasses.field(default_factory=lambda: {"max_length": 64})
    encode_with_model: bool = False


@dataclass(frozen=True)
class OctoConfig:
    """The model of a checkpoint.

    Attributes:
        observation_tokenizers: name ("primary") to its tokenizer, in the order of the tokens.
        task_tokenizers: name ("language") to its tokenizer, in the order of the tokens.
        readouts: name ("action") to its number of tokens.
        head: the action head.
        token_embedding_size: width of the transformer.
        max_horizon: timesteps that the position embeddings cover.
        repeat_task_tokens: whether the task tokens appear again at each timestep.
        use_correct_attention: false for the 1.0 checkpoints, see `attention.py`.
        transformer: sizes of the trunk.
        text_processor: the tokenizer of instructions, or None.
    """

    observation_tokenizers: Mapping[str, ImageTokenizer | LowdimTokenizer]
    task_tokenizers: Mapping[str, LanguageTokenizer]
    readouts: Mapping[str, Count]
    head: ContinuousHead | DiffusionHead
    token_embedding_size: Count
    max_horizon: Count
    repeat_task_tokens: bool
    use_correct_attention: bool
    transformer: Transformer
    text_processor: TextProcessor | None
