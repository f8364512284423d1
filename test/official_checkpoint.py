"""Writes a tiny checkpoint in the official layout, with random weights, for tests that break it."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

msgpack = pytest.importorskip("msgpack", reason="msgpack is not installed (extra 'export')")

STEP = 7
LENGTH = 6
VOCABULARY = 40

_MODEL = {
    "observation_tokenizers": {
        "primary": {
            "module": "octo.model.components.tokenizers",
            "name": "ImageTokenizer",
            "args": [],
            "kwargs": {
                "obs_stack_keys": ["image_primary"],
                "task_stack_keys": ["image_primary"],
                "encoder": {
                    "module": "octo.model.components.vit_encoders",
                    "name": "SmallStem16",
                    "args": [],
                    "kwargs": {"features": [32, 32, 32, 32], "num_features": 8},
                },
            },
        },
        "wrist": {
            "module": "octo.model.components.tokenizers",
            "name": "ImageTokenizer",
            "args": [],
            "kwargs": {
                "obs_stack_keys": ["image_wrist"],
                "encoder": {
                    "module": "octo.model.components.vit_encoders",
                    "name": "PatchEncoder",
                    "args": [],
                    "kwargs": {"patch_size": 16, "num_features": 8},
                },
            },
        },
    },
    "task_tokenizers": {
        "language": {
            "module": "octo.model.components.tokenizers",
            "name": "LanguageTokenizer",
            "args": [],
            "kwargs": {"encoder": "t5-base", "finetune_encoder": False},
        }
    },
    "heads": {
        "action": {
            "module": "octo.model.components.action_heads",
            "name": "DiffusionActionHead",
            "args": [],
            "kwargs": {
                "readout_key": "readout_action",
                "action_horizon": 3,
                "time_dim": 4,
                "num_blocks": 1,
                "hidden_dim": 16,
                "diffusion_steps": 4,
            },
        }
    },
    "readouts": {"action": 1},
    "token_embedding_size": 16,
    "max_horizon": 4,
    "repeat_task_tokens": True,
    "use_correct_attention": True,
    "transformer_kwargs": {"num_layers": 2, "mlp_dim": 24, "num_attention_heads": 2},
}

_TEXT_PROCESSOR = {
    "module": "octo.data.utils.text_processing",
    "name": "HFTokenizer",
    "args": [],
    "kwargs": {"tokenizer_name": "t5-base", "tokenizer_kwargs": {"max_length": LENGTH}},
}


def tiny_config() -> dict[str, Any]:
    """Content of config.json: two cameras (32 and 16 pixels), language, diffusion, horizon 3."""
    model = copy.deepcopy(_MODEL)
    return {"model": model, "text_processor": copy.deepcopy(_TEXT_PROCESSOR), "window_size": 2}


def tiny_statistics() -> dict[str, Any]:
    """Content of dataset_statistics.json: two data sets."""
    axes = np.arange(7)
    return {
        name: {
            "action": {
                "mean": (scale * axes).tolist(),
                "std": (scale * (axes + 1)).tolist(),
                "mask": [True] * 6 + [False],
                "min": (-scale * (axes + 1)).tolist(),
                "max": (scale * (axes + 2)).tolist(),
            },
            "num_trajectories": 3,
        }
        for name, scale in (("first", 0.01), ("second", 0.02))
    }


def tiny_example(window: int = 2) -> dict[str, Any]:
    """Content of example_batch.msgpack."""
    rng = np.random.default_rng(1)
    cameras = {"image_primary": 32, "image_wrist": 16}
    observation: dict[str, Any] = {
        key: rng.integers(0, 256, (1, window, side, side, 3), dtype=np.uint8) for key, side in cameras.items()
    }
    observation["timestep"] = np.arange(window, dtype=np.int32)[None]
    observation["pad_mask_dict"] = {key: np.ones((1, window), bool) for key in observation}
    observation["timestep_pad_mask"] = np.ones((1, window), bool)
    task: dict[str, Any] = {
        key: rng.integers(0, 256, (1, side, side, 3), dtype=np.uint8) for key, side in cameras.items()
    }
    ids = rng.integers(2, VOCABULARY, (1, LENGTH))
    task["language_instruction"] = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    task["pad_mask_dict"] = {key: np.ones(1, bool) for key in task}
    return {"observation": observation, "task": task, "action": np.zeros((1, window, 3, 7), np.float32)}


def tiny_weights(config: Mapping[str, Any], example: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Random weights under their official names, by the table that export reads them with."""
    from octo_ros.export.weights import weight_table
    from octo_ros.model.inputs import read_inputs
    from octo_ros.model.octo import Octo
    from octo_ros.model.official import read_config
    from octo_ros.model.t5 import T5Sizes

    read = read_config(config, "config.json")
    inputs = read_inputs(read, example, "example_batch.msgpack")
    t5 = (
        T5Sizes(VOCABULARY, 12, 8, 20, layers=2, heads=2, buckets=8, gated=False) if inputs.language else None
    )
    rng = np.random.default_rng(2)
    return {
        weight.official: rng.normal(scale=0.2, size=weight.shape).astype(np.float32)
        for weight in weight_table(Octo(read, inputs, t5), read)
    }


def pack_array(array: np.ndarray) -> Any:
    """An array as flax packs it."""
    content = (list(array.shape), array.dtype.name, array.tobytes())
    return msgpack.ExtType(1, msgpack.packb(content, use_bin_type=True))


def pack_chunked(array: np.ndarray, chunk: int) -> dict[str, Any]:
    """An array as flax packs it when it is too large for one piece."""
    flat = array.reshape(-1)
    pieces = [flat[start : start + chunk] for start in range(0, flat.size, chunk)]
    return {
        "__msgpack_chunked_array__": True,
        "shape": {str(axis): size for axis, size in enumerate(array.shape)},
        "chunks": {str(index): pack_array(piece) for index, piece in enumerate(pieces)},
    }


def pack(tree: Any) -> bytes:
    """Nested dictionaries of arrays as one flax msgpack file; packed entries pass through."""

    def packed(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return pack_array(value)
        return {key: packed(entry) for key, entry in value.items()} if isinstance(value, dict) else value

    return msgpack.packb(packed(tree), use_bin_type=True, strict_types=True)


def nested(weights: Mapping[str, Any]) -> dict[str, Any]:
    """{"a/b": x} to {"a": {"b": x}}."""
    tree: dict[str, Any] = {}
    for name, value in weights.items():
        *path, leaf = name.split("/")
        node = tree
        for key in path:
            node = node.setdefault(key, {})
        node[leaf] = value
    return tree


def write_checkpoint(
    directory: Path,
    *,
    config: Mapping[str, Any] | None = None,
    statistics: Mapping[str, Any] | None = None,
    example: Mapping[str, Any] | None = None,
    weights: Mapping[str, Any] | None = None,
    step: int = STEP,
) -> Path:
    """Writes a whole checkpoint directory; parts not given are the tiny ones above."""
    config = tiny_config() if config is None else config
    example = tiny_example() if example is None else example
    weights = tiny_weights(config, example) if weights is None else weights
    file = directory / str(step) / "default" / "checkpoint"
    file.parent.mkdir(parents=True)
    file.write_bytes(pack(nested(weights)))
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "dataset_statistics.json").write_text(
        json.dumps(tiny_statistics() if statistics is None else statistics)
    )
    (directory / "example_batch.msgpack").write_bytes(pack(example))
    return directory
