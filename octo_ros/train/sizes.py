"""Models to train from scratch, as the content of an official config.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from octo_ros.errors import ParameterError
from octo_ros.train.words import FOLDER

_COMPONENTS = "octo.model.components"
HEADS: Mapping[str, str] = {
    "diffusion": "DiffusionActionHead",
    "l1": "L1ActionHead",
    "mse": "MSEActionHead",
}
"""Heads that can be asked for by a short name."""

DRAWS = 32
"""Denoising times that each sample is trained at in a step, in a diffusion head that is new; more than the
official 1 make up for small batches, and cost next to nothing."""


@dataclass(frozen=True)
class ModelSize:
    """Sizes of a model.

    Attributes:
        width, layers, heads, inner: of the transformer; `inner` of its feed-forward.
        stem: channels of the four convolutions of an image encoder, multiples of 32.
        features: of a patch.
        image: side of the main camera's frame [pixel].
        wrist: side of the frames of a camera named "wrist..." [pixel].
        hidden, blocks: of the diffusion head's score network.
        draws: see `DRAWS`.
        length: tokens of an instruction.
    """

    width: int
    layers: int
    heads: int
    inner: int
    stem: tuple[int, ...]
    features: int
    image: int
    wrist: int
    hidden: int = 256
    blocks: int = 3
    draws: int = DRAWS
    length: int = 16
    max_horizon: int = 10

    def side(self, camera: str) -> int:
        """Side of a camera's frame [pixel]."""
        return self.wrist if camera.startswith("wrist") else self.image


SIZES: Mapping[str, ModelSize] = {
    "micro": ModelSize(128, 3, 4, 256, (32, 32, 64, 96), 128, image=64, wrist=96, hidden=128, length=8),
    "tiny": ModelSize(256, 4, 4, 512, (32, 64, 96, 128), 128, image=128, wrist=64, hidden=192),
    "small": ModelSize(384, 12, 6, 1536, (32, 96, 192, 384), 512, image=256, wrist=128),
}
"""By name: "micro", 1 M parameters, which two processor cores train within an hour; "tiny", some 3 M; "small"
as Octo-Small, 27 M."""


def scratch_config(
    size: ModelSize, cameras: Sequence[str], window: int, horizon: int, head: str, proprio: bool, words: bool
) -> dict[str, Any]:
    """Content of config.json.

    Args:
        size: of the model.
        cameras: names, each with a tokenizer of its own that takes its goal image as well.
        window: steps of history.
        horizon: actions of a chunk.
        head: one of `HEADS`.
        proprio: whether it reads proprioception.
        words: whether it reads instructions, by the T5 of `words.py`.

    Raises:
        ParameterError: no such head.
    """
    tokenizers = {camera: image_tokenizer(camera, size.stem, size.features) for camera in cameras}
    if proprio:
        tokenizers["proprio"] = proprio_tokenizer()
    language = module(f"{_COMPONENTS}.tokenizers:LanguageTokenizer", encoder=FOLDER, finetune_encoder=True)
    text = {
        "tokenizer_name": FOLDER,
        "encode_with_model": False,
        "tokenizer_kwargs": {
            "max_length": size.length,
            "padding": "max_length",
            "truncation": True,
            "return_tensors": "np",
            "return_token_type_ids": False,
        },
    }
    extra = {}
    if head == "diffusion":
        extra = {"hidden_dim": size.hidden, "num_blocks": size.blocks, "n_diffusion_samples": size.draws}
    return {
        "model": {
            "observation_tokenizers": tokenizers,
            "task_tokenizers": {"language": language} if words else {},
            "heads": {"action": head_module(head, horizon, "readout_action", **extra)},
            "readouts": {"action": 1},
            "token_embedding_size": size.width,
            "max_horizon": max(size.max_horizon, window),
            "repeat_task_tokens": True,
            "use_correct_attention": True,
            "transformer_kwargs": {
                "num_layers": size.layers,
                "num_attention_heads": size.heads,
                "mlp_dim": size.inner,
                "dropout_rate": 0.0,
                "attention_dropout_rate": 0.0,
                "add_position_embedding": False,
            },
        },
        "text_processor": module("octo.data.utils.text_processing:HFTokenizer", **text) if words else None,
        "window_size": window,
    }


def head_module(head: str, horizon: int, readout: str, **extra: Any) -> dict[str, Any]:
    """An action head's entry in config.json.

    Raises:
        ParameterError: no such head.
    """
    if head not in HEADS:
        raise ParameterError(f"head: expected one of {', '.join(HEADS)}, got {head!r}")
    kwargs = {"readout_key": readout, "action_horizon": horizon, "action_dim": 7}
    if head == "diffusion":
        kwargs |= {"use_map": False, "n_diffusion_samples": DRAWS}
    kwargs |= extra
    return module(f"{_COMPONENTS}.action_heads:{HEADS[head]}", **kwargs)


def image_tokenizer(camera: str, stem: Sequence[int], features: int) -> dict[str, Any]:
    """A camera's entry in config.json."""
    key = f"image_{camera}"
    encoder = module(f"{_COMPONENTS}.vit_encoders:SmallStem16", features=list(stem), num_features=features)
    kwargs = {"obs_stack_keys": [key], "task_stack_keys": [key], "encoder": encoder}
    return module(f"{_COMPONENTS}.tokenizers:ImageTokenizer", **kwargs)


def proprio_tokenizer() -> dict[str, Any]:
    """Proprioception's entry in config.json: values in 256 bins of equal probability."""
    kwargs = {"n_bins": 256, "bin_type": "normal", "low": -2.0, "high": 2.0, "obs_keys": ["proprio"]}
    return module(f"{_COMPONENTS}.tokenizers:LowdimObsTokenizer", **kwargs, discretize=True)


def module(official: str, **kwargs: Any) -> dict[str, Any]:
    """An official module's specification, from "module:name"."""
    place, _, name = official.partition(":")
    return {"module": place, "name": name, "args": [], "kwargs": kwargs}
