"""Reads an official Octo checkpoint directory with msgpack and numpy alone.

    config.json  dataset_statistics.json  example_batch.msgpack  <step>/default/checkpoint

The two msgpack files are written by flax: an array is extension type 1 around (shape, dtype name,
bytes); one above 2^30 bytes is a dictionary of chunks.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

from octo_ros.errors import CheckpointError
from octo_ros.export.statistics import read_statistics

_ARRAY, _SCALAR = 1, 3
_CHUNKED = "__msgpack_chunked_array__"
_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_DTYPES = frozenset(("bool", "float16", "float32", "float64", *_INTEGERS))


@dataclass(frozen=True)
class Checkpoint:
    """An official checkpoint, read.

    Attributes:
        directory: where it lies.
        step: training step of the weights.
        config: content of config.json.
        statistics: data set name to its statistics, see `read_statistics`.
        example: the example batch, nested dictionaries of arrays: "observation" (1, window, ...),
            "task" (1, ...); only the first of the batch.
        parameters: "a/b/c" to an array, float32.
    """

    directory: Path
    step: int
    config: Mapping[str, Any]
    statistics: Mapping[str, Any]
    example: Mapping[str, Any]
    parameters: Mapping[str, np.ndarray]

    @property
    def name(self) -> str:
        """Name of the directory; of its parent where it is just called "checkpoint"."""
        directory = self.directory.resolve()
        return directory.parent.name if directory.name == "checkpoint" else directory.name

    @property
    def config_path(self) -> str:
        """Path of config.json, for messages."""
        return str(self.directory / "config.json")

    @property
    def example_path(self) -> str:
        """Path of example_batch.msgpack, for messages."""
        return str(self.directory / "example_batch.msgpack")


def read_checkpoint(directory: str | Path, step: int | None = None) -> Checkpoint:
    """Reads a checkpoint directory.

    Args:
        directory: the folder with config.json.
        step: training step to take, or None for the latest.

    Raises:
        CheckpointError: anything missing, truncated, malformed or of another type; the message names
            the file and the entry.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise CheckpointError(f"{directory}: not a directory; expected an Octo checkpoint's folder")
    config = _read_json(directory / "config.json")
    statistics = read_statistics(
        _read_json(directory / "dataset_statistics.json"), str(directory / "dataset_statistics.json")
    )
    example = _read_example(directory / "example_batch.msgpack")
    step, path = _weights_file(directory, step)
    return Checkpoint(directory, step, config, statistics, example, _read_parameters(path))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        body = json.loads(_read_bytes(path).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not JSON: {error}") from error
    if not isinstance(body, dict):
        raise CheckpointError(f"{path}: expected a JSON object, got {type(body).__name__}")
    return body


def _read_bytes(path: Path) -> bytes:
    if not path.is_file():
        raise CheckpointError(f"{path}: missing; an official Octo checkpoint has this file")
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from error


def _weights_file(directory: Path, step: int | None) -> tuple[int, Path]:
    """The step to take and its file."""
    steps = sorted(
        int(entry.name) for entry in directory.iterdir() if entry.is_dir() and _is_step(entry.name)
    )
    if not steps:
        raise CheckpointError(f"{directory}: no weights: expected a folder named by a step, such as 300000")
    if step is None:
        step = steps[-1]
    elif step not in steps:
        raise CheckpointError(f"{directory}: step {step} is not there; steps found: {steps}")
    return step, directory / str(step) / "default" / "checkpoint"


def _is_step(name: str) -> bool:
    return name.isascii() and name.isdigit() and str(int(name)) == name


def _read_example(path: Path) -> dict[str, Any]:
    """The example batch under its present names: the first releases said "tasks" and "pad_mask"."""
    body = _unpack(path)
    if "tasks" in body and "task" not in body:
        body["task"] = body.pop("tasks")
    for key in ("observation", "task"):
        if not isinstance(body.get(key), dict):
            raise CheckpointError(f"{path}: expected a dictionary {key!r}, got keys {sorted(body)}")
    observation = body["observation"]
    if "timestep_pad_mask" not in observation and "pad_mask" in observation:
        observation["timestep_pad_mask"] = observation.pop("pad_mask")
    return {key: _first(body[key]) for key in ("observation", "task")}


def _first(body: Mapping[str, Any]) -> dict[str, Any]:
    """The first of the batch, of every array; what is no array with a batch axis is left out."""
    first: dict[str, Any] = {}
    for key, value in body.items():
        if isinstance(value, dict):
            first[key] = _first(value)
        elif isinstance(value, np.ndarray) and value.ndim and len(value):
            first[key] = value[:1]
    return first


def _read_parameters(path: Path) -> dict[str, np.ndarray]:
    parameters: dict[str, np.ndarray] = {}
    _flatten(_unpack(path), "", parameters, path)
    if not parameters:
        raise CheckpointError(f"{path}: holds no weights")
    return parameters


def _flatten(body: Mapping[str, Any], prefix: str, into: dict[str, np.ndarray], path: Path) -> None:
    for key, value in body.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            _flatten(value, f"{name}/", into, path)
        elif not isinstance(value, np.ndarray):
            raise CheckpointError(f"{path}: {name}: expected an array, got {repr(value)[:80]}")
        elif value.dtype != np.float32:
            raise CheckpointError(f"{path}: {name}: expected float32, got {value.dtype}")
        elif not np.isfinite(value).all():
            raise CheckpointError(f"{path}: {name}: holds values that are not finite")
        else:
            into[name] = value


def _unpack(path: Path) -> dict[str, Any]:
    """One flax msgpack file as nested dictionaries of arrays."""
    content = _read_bytes(path)
    try:
        body = msgpack.unpackb(content)
    except Exception as error:  # msgpack raises some ten kinds for malformed bytes
        reason = error or type(error).__name__
        raise CheckpointError(
            f"{path}: not a complete msgpack file ({len(content)} bytes): {reason}"
        ) from error
    if not isinstance(body, dict):
        raise CheckpointError(f"{path}: expected a dictionary, got {type(body).__name__}")
    return _decode(body, path)


def _decode(body: Any, path: Path, name: str = "") -> Any:
    """Nested dictionaries with every array decoded; anything else stays as it is."""
    if isinstance(body, msgpack.ExtType):
        return _array(body, f"{path}: {name}")
    if not isinstance(body, dict):
        return body
    decoded = {key: _decode(value, path, f"{name}/{key}" if name else key) for key, value in body.items()}
    return _join(decoded, f"{path}: {name}") if _CHUNKED in decoded else decoded


def _array(packed: msgpack.ExtType, where: str) -> np.ndarray:
    """One array out of its extension type."""
    if packed.code not in (_ARRAY, _SCALAR):
        raise CheckpointError(f"{where}: expected extension type {_ARRAY}, an array, got {packed.code}")
    try:
        shape, name, content = msgpack.unpackb(packed.data)
        sizes = [int(size) for size in shape]
        dtype = np.dtype(name if name in _DTYPES else None)
    except Exception as error:
        raise CheckpointError(f"{where}: not a packed array: {error or type(error).__name__}") from error
    if name not in _DTYPES:
        raise CheckpointError(f"{where}: expected an array of numbers, got dtype {name!r}")
    expected = math.prod(sizes) * dtype.itemsize
    got = len(content) if isinstance(content, bytes) else -1
    if min(sizes, default=0) < 0 or got != expected:
        raise CheckpointError(f"{where}: {sizes} {name}: expected {expected} bytes, got {max(got, 0)}")
    return np.frombuffer(content, dtype).reshape(sizes)


def _join(body: Mapping[str, Any], where: str) -> np.ndarray:
    """One array out of its chunks."""
    try:
        shape = [int(body["shape"][str(axis)]) for axis in range(len(body["shape"]))]
        chunks = [body["chunks"][str(index)] for index in range(len(body["chunks"]))]
        return np.concatenate(chunks).reshape(shape)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{where}: a chunked array is malformed: {error}") from error
