"""The model of a checkpoint as frozen dataclasses, one for each kind of official module.

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
class Resnet:
    """A bottleneck ResNet with weight-standardised convolutions: `ViTResnet`, `ResNet26FILM`."""

    name: str
    use_film: bool = False
    width: float = 1.0
    num_layers: tuple[int, ...] = ()
    img_norm_type: str = "default"

    @property
    def root_features(self) -> int:
        """Channels after the first convolution."""
        return int(64 * self.width)

    @property
    def num_features(self) -> int:
        """Channels of the result: four times the width of the last stage, which doubles at each."""
        stages = len(self.num_layers)
        return 4 * self.root_features * 2 ** (stages - 1) if stages else self.root_features


Encoder = SmallStem | PatchEncoder | Resnet
"""An image encoder; each has `use_film`, `img_norm_type` and `num_features`."""


@dataclass(frozen=True)
class ImageTokenizer:
    """Frames, and goal images stacked onto them, into one token per patch or a few learned ones."""

    name: str
    encoder: Encoder
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
    """An instruction: token ids through a T5 encoder, or vectors as they come."""

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
class DiscreteHead:
    """Actions as bins, each a choice among `vocab_size`: `DiscreteActionHead`, `TokenPerDimActionHead`."""

    name: str
    readout_key: str
    use_map: bool = False
    token_per: str = "action_dim_and_action_horizon"
    action_horizon: Count = 1
    action_dim: Count = 7
    vocab_size: Count = 256
    normalization_type: str = "uniform"

    @property
    def tokens(self) -> int:
        """Tokens of a timestep from which the actions are decoded."""
        counts = {"": 1, "action_horizon": self.action_horizon}
        return counts.get(self.token_per, self.action_horizon * self.action_dim)


@dataclass(frozen=True)
class UNetHead:
    """Actions by denoising, with a 1-D U-Net over the horizon: `UNetDDPMActionHead`.

    The official defaults of `use_map` and `flatten_tokens` are the tuple `(False,)`, which Python
    takes as true; so left out they are true here. `max_action` bounds actions in training alone.
    """

    name: str
    readout_key: str
    action_dim: Count
    action_horizon: Count
    use_map: bool = True
    flatten_tokens: bool = True
    timesteps: Count = 100
    max_action: float = 1.0
    clip_sample: float | None = None
    variance_type: str = "fixed_large"


Head = ContinuousHead | DiffusionHead | DiscreteHead | UNetHead
"""An action head; each has `readout_key`, `use_map`, `action_horizon` and `action_dim`."""


@dataclass(frozen=True)
class TextProcessor:
    """How words become token ids, or, with `encode_with_model`, vectors: `HFTokenizer`."""

    name: str
    tokenizer_name: str
    tokenizer_kwargs: Mapping[str, Any] = dataclasses.field(default_factory=lambda: {"max_length": 64})
    encode_with_model: bool = False


@dataclass(frozen=True)
class SentenceEmbedding:
    """How a sentence becomes one vector, outside the checkpoint: `MuseEmbedding`."""

    name: str


@dataclass(frozen=True)
class ClipText:
    """How words become the token ids of CLIP: `CLIPTextProcessor`."""

    name: str
    tokenizer_kwargs: Mapping[str, Any] = dataclasses.field(default_factory=lambda: {"max_length": 64})


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
        text_processor: what makes ids or vectors of an instruction, or None.
    """

    observation_tokenizers: Mapping[str, ImageTokenizer | LowdimTokenizer]
    task_tokenizers: Mapping[str, LanguageTokenizer]
    readouts: Mapping[str, Count]
    head: Head
    token_embedding_size: Count
    max_horizon: Count
    repeat_task_tokens: bool
    use_correct_attention: bool
    transformer: Transformer
    text_processor: TextProcessor | SentenceEmbedding | ClipText | None
