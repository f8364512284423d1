"""Checkpoints of the official sizes with random weights, in the official layout.

Anyone can measure with them what the released ones would take, and the official code can load them.
The configuration is that of the released 1.5 checkpoints: two cameras, window 2, chunks of 4 actions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

from octo_ros.engine.bundle import read_bundle
from octo_ros.errors import ParameterError
from octo_ros.export.bundle import export_checkpoint
from octo_ros.export.int8 import quantize_bundle
from octo_ros.export.weights import weight_table
from octo_ros.model.inputs import read_inputs
from octo_ros.model.octo import Octo
from octo_ros.model.official import read_config
from octo_ros.model.t5 import T5Sizes

SIZES: Mapping[str, tuple[int, int, int, int]] = {
    "small": (384, 12, 6, 1536),
    "base": (768, 12, 12, 3072),
}
"""Width, layers, heads and width of the feed-forward: Octo-Small (27 M) and Octo-Base (93 M)."""

T5_BASE = T5Sizes(32128, 768, 768, 3072, layers=12, heads=12, buckets=32, gated=False)
CAMERAS = {"primary": 256, "wrist": 128}
WINDOW, HORIZON, LENGTH, STEP = 2, 4, 16, 0
SPREAD = 0.02
"""Standard deviation of the random weights."""

_COMPONENTS = "octo.model.components"


def official_config(size: str) -> dict[str, Any]:
    """Content of config.json.

    Raises:
        ParameterError: no such size.
    """
    if size not in SIZES:
        raise ParameterError(f"size: expected one of {', '.join(SIZES)}, got {size!r}")
    width, layers, heads, inner = SIZES[size]
    head = {"readout_key": "readout_action", "use_map": False, "action_horizon": HORIZON, "action_dim": 7}
    model = {
        "observation_tokenizers": {name: _images(f"image_{name}") for name in CAMERAS},
        "task_tokenizers": {
            "language": _module(f"{_COMPONENTS}.tokenizers:LanguageTokenizer", encoder="t5-base")
        },
        "heads": {"action": _module(f"{_COMPONENTS}.action_heads:DiffusionActionHead", **head)},
        "readouts": {"action": 1},
        "token_embedding_size": width,
        "max_horizon": 10,
        "repeat_task_tokens": True,
        "use_correct_attention": True,
        "transformer_kwargs": {
            "num_layers": layers,
            "num_attention_heads": heads,
            "mlp_dim": inner,
            "dropout_rate": 0.0,
            "attention_dropout_rate": 0.0,
            "add_position_embedding": False,
        },
    }
    text = {"tokenizer_name": "t5-base", "tokenizer_kwargs": {"max_length": LENGTH}}
    processor = _module("octo.data.utils.text_processing:HFTokenizer", encode_with_model=False, **text)
    return {"model": model, "text_processor": processor, "window_size": WINDOW}


def official_example(seed: int = 0) -> dict[str, Any]:
    """Content of example_batch.msgpack: random frames and an instruction of random tokens."""
    rng = np.random.default_rng(seed)
    frames = {
        f"image_{name}": rng.integers(0, 256, (1, WINDOW, side, side, 3), dtype=np.uint8)
        for name, side in CAMERAS.items()
    }
    goals = {f"image_{name}": np.zeros((1, side, side, 3), np.uint8) for name, side in CAMERAS.items()}
    ids = rng.integers(2, T5_BASE.vocabulary, (1, LENGTH))
    seen = np.ones((1, WINDOW), bool)
    return {
        "observation": {**frames, "pad_mask_dict": dict.fromkeys(frames, seen), "timestep_pad_mask": seen},
        "task": {
            **goals,
            "language_instruction": {"input_ids": ids, "attention_mask": np.ones_like(ids)},
            "pad_mask_dict": {
                **dict.fromkeys(goals, np.zeros(1, bool)),
                "language_instruction": np.ones(1, bool),
            },
        },
    }


def write_official_size(size: str, directory: Path, seed: int = 0) -> None:
    """Writes a checkpoint of this size into a new folder; for base some 800 MB.

    Raises:
        ParameterError: no such size.
    """
    config, example = official_config(size), official_example(seed)
    read = read_config(config, "config.json")
    model = Octo(read, read_inputs(read, example, "example_batch.msgpack"), T5_BASE)
    rng = np.random.default_rng(seed)
    tree: dict[str, Any] = {}
    for weight in weight_table(model, read):
        *path, leaf = weight.official.split("/")
        node = tree
        for key in path:
            node = node.setdefault(key, {})
        values = rng.standard_normal(weight.shape, dtype=np.float32) * np.float32(SPREAD)
        node[leaf] = values + np.float32(leaf in ("scale", "weight"))  # norms are about 1
    file = directory / str(STEP) / "default" / "checkpoint"
    file.parent.mkdir(parents=True)
    file.write_bytes(_pack(tree))
    (directory / "example_batch.msgpack").write_bytes(_pack(example))
    (directory / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    action = {"mean": [0.0] * 7, "std": [1.0] * 7, "mask": [True] * 6 + [False]}
    statistics = {"random_weights": {"action": action}}
    (directory / "dataset_statistics.json").write_text(json.dumps(statistics) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class PreparedSize:
    """A size, ready to be measured.

    Attributes:
        checkpoint: its folder.
        bundle: exported from it.
        int8: the bundle's int8 copy.
        checks: errors that were measured on the way.
    """

    checkpoint: Path
    bundle: Path
    int8: Path
    checks: Mapping[str, Mapping[str, float]]


def prepare_size(
    size: str, folder: Path, ddim: int | None = None, progress: Callable[[str, int, int], None] | None = None
) -> PreparedSize:
    """Writes checkpoint, bundle and int8 copy into a folder, those that are not there yet.

    Raises:
        ParameterError: no such size, or no such number of steps.
        BundleError: a bundle that is there and is damaged.
    """
    tell = progress or (lambda stage, done, total: None)
    name = size if ddim is None else f"{size}_ddim{ddim}"
    checkpoint, bundle, int8 = folder / size / "checkpoint", folder / name / "bundle", folder / name / "int8"
    tell("write checkpoint", 0, 3)
    if not checkpoint.exists():
        write_official_size(size, checkpoint)
    tell("export", 1, 3)
    if not bundle.exists():
        export_checkpoint(checkpoint, bundle, notice="Random weights, for measuring.", ddim=ddim)
    tell("quantize", 2, 3)
    if not int8.exists():
        quantize_bundle(bundle, int8)
    tell("done", 3, 3)
    return PreparedSize(checkpoint, bundle, int8, read_bundle(int8).checks)


def _images(key: str) -> dict[str, Any]:
    encoder = _module(f"{_COMPONENTS}.vit_encoders:SmallStem16")
    kwargs = {"obs_stack_keys": [key], "task_stack_keys": [key], "encoder": encoder}
    return _module(f"{_COMPONENTS}.tokenizers:ImageTokenizer", **kwargs)


def _module(official: str, **kwargs: Any) -> dict[str, Any]:
    module, _, name = official.partition(":")
    return {"module": module, "name": name, "args": [], "kwargs": kwargs}


def _pack(tree: Any) -> bytes:
    """Nested dictionaries of arrays as flax's `msgpack_serialize` writes them."""

    def packed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: packed(entry) for key, entry in value.items()}
        content = (list(value.shape), value.dtype.name, value.tobytes())
        return msgpack.ExtType(1, msgpack.packb(content, use_bin_type=True))

    return msgpack.packb(packed(tree), use_bin_type=True, strict_types=True)
