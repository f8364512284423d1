"""Writes an official Octo checkpoint directory: the inverse of `checkpoint.py` and `weights.py`.

    config.json  dataset_statistics.json  example_batch.msgpack  <step>/default/checkpoint

What is written, the official `OctoModel.load_pretrained` loads, and `octo_ros export` takes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
from torch import Tensor

from octo_ros.errors import CheckpointError
from octo_ros.export.weights import Weight, weight_table
from octo_ros.model.config import OctoConfig
from octo_ros.model.octo import Octo
from octo_ros.staging import temporary_sibling

CHUNK = 2**30
"""Bytes of an array above which flax writes it in pieces."""

_ARRAY = 1


def official_parameters(
    model: Octo, config: OctoConfig, values: Mapping[str, Tensor] | None = None
) -> dict[str, np.ndarray]:
    """The model's weights under their official names, as they lie in the official file.

    Args:
        model: whose parameters they are.
        config: what it was built from.
        values: our name to tensor, to be written in place of the model's own; None for those.

    Returns:
        "a/b/c" to an array, float32.
    """
    own = dict(model.named_parameters()) if values is None else values
    return {weight.official: _official(weight, own[weight.ours]) for weight in weight_table(model, config)}


def write_metadata(
    directory: Path, config: Mapping[str, Any], statistics: Mapping[str, Any], example: Mapping[str, Any]
) -> None:
    """Writes what a checkpoint says beside its weights, into an existing folder.

    Args:
        directory: of the checkpoint.
        config: content of config.json.
        statistics: data set name to its statistics.
        example: the example batch, nested dictionaries of arrays.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    _write(directory / "config.json", _json(config))
    _write(directory / "dataset_statistics.json", _json(statistics))
    _write(directory / "example_batch.msgpack", pack(example))


def write_weights(directory: Path, step: int, parameters: Mapping[str, np.ndarray]) -> Path:
    """Writes the weights of a step; they appear complete or not at all.

    Args:
        directory: of the checkpoint, an existing folder.
        step: training step; one that is there already is replaced.
        parameters: official name to array, see `official_parameters`.

    Returns:
        The folder of the step.

    Raises:
        CheckpointError: weights that are not finite, by their official name, or a folder that cannot be
            written.
    """
    for name, array in parameters.items():
        if not np.isfinite(array).all():
            raise CheckpointError(f"{directory}: step {step}: {name}: holds values that are not finite")
    target = directory / str(step)
    with temporary_sibling(target, CheckpointError) as folder:
        (folder / "default").mkdir()
        _write(folder / "default" / "checkpoint", pack(nested(parameters)))
        try:
            if target.exists():
                os.replace(folder / "default" / "checkpoint", target / "default" / "checkpoint")
            else:
                os.replace(folder, target)
        except OSError as error:
            raise CheckpointError(f"{target}: cannot be written: {error}") from error
    return target


def nested(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """{"a/b": x} to {"a": {"b": x}}, keys in order as flax keeps them."""
    tree: dict[str, Any] = {}
    for name in sorted(arrays, key=lambda name: name.split("/")):
        *path, leaf = name.split("/")
        node = tree
        for key in path:
            node = node.setdefault(key, {})
        node[leaf] = arrays[name]
    return tree


def pack(tree: Mapping[str, Any]) -> bytes:
    """Nested dictionaries of arrays as one flax msgpack file."""
    return msgpack.packb(_packed(tree), use_bin_type=True, strict_types=True)


def _packed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _packed(entry) for key, entry in value.items()}
    if value.nbytes <= CHUNK:
        content = (list(value.shape), value.dtype.name, value.tobytes())
        return msgpack.ExtType(_ARRAY, msgpack.packb(content, use_bin_type=True))
    flat, length = value.reshape(-1), CHUNK // value.itemsize
    pieces = [flat[start : start + length] for start in range(0, flat.size, length)]
    return {
        "__msgpack_chunked_array__": True,
        "shape": {str(axis): size for axis, size in enumerate(value.shape)},
        "chunks": {str(index): _packed(piece) for index, piece in enumerate(pieces)},
    }


def _official(weight: Weight, tensor: Tensor) -> np.ndarray:
    """Our tensor as the official array: loading moves values, so it is undone by watching where each goes."""
    ours = tensor.detach().cpu().float().numpy()
    places = weight.load(np.arange(ours.size).reshape(weight.shape))
    array = np.empty(ours.size, dtype=np.float32)
    array[places.reshape(-1)] = ours.reshape(-1)
    return array.reshape(weight.shape)


def _json(body: Mapping[str, Any]) -> bytes:
    return (json.dumps(body, indent=1) + "\n").encode("utf-8")


def _write(path: Path, content: bytes) -> None:
    """Writes a file in one move, on the disk when this returns."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise CheckpointError(f"{path}: cannot be written: {error}") from error
