"""tf.train.Example and SequenceExample as bytes, and back.

The wire format is written and read here, not by the protobuf library, since a robot's installation
declares no such package and these four small messages do not change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from octo_ros.rlds.errors import DatasetError
from octo_ros.rlds.wire import (
    FIXED32,
    LENGTH,
    VARINT,
    WireError,
    concatenated,
    field,
    fields,
    pack_int64,
    read_varint,
    unpack_int64,
)

Feature = list[bytes] | np.ndarray
"""Values of one feature: byte strings, (n,) float32, or (n,) int64."""

BYTES, FLOATS, INTS = 1, 2, 3
"""Field numbers of the three kinds of values in a tf.train.Feature."""


def encode_example(features: Mapping[str, Sequence[bytes] | np.ndarray]) -> bytes:
    """A tf.train.Example, keys in sorted order so that equal features give equal bytes.

    Args:
        features: by name: byte strings, or an array that is flattened: floats become float32, integers
            and booleans int64.
    """
    return field(1, _features(features))


def encode_sequence_example(
    context: Mapping[str, Sequence[bytes] | np.ndarray],
    lists: Mapping[str, Sequence[Sequence[bytes] | np.ndarray]],
) -> bytes:
    """A tf.train.SequenceExample: features of the whole, and a list of features for each name."""
    entries = b""
    for name in sorted(lists):
        steps = b"".join(field(1, _feature(name, step)) for step in lists[name])
        entries += field(1, field(1, name.encode()) + field(2, steps))
    return field(1, _features(context)) + field(2, entries)


def decode_example(data: bytes, where: str) -> dict[str, Feature]:
    """Features of a tf.train.Example by name; a feature without a kind is an empty list of bytes.

    Args:
        where: of the record, for messages.

    Raises:
        DatasetError: bytes that are not an Example.
    """
    return _decoded(lambda: _read_features(_messages(memoryview(data)).get(1, [])), where, "Example")


def decode_sequence_example(data: bytes, where: str) -> tuple[dict[str, Feature], dict[str, list[Feature]]]:
    """Context and feature lists of a tf.train.SequenceExample; errors as `decode_example`."""

    def read() -> tuple[dict[str, Feature], dict[str, list[Feature]]]:
        parts = _messages(memoryview(data))
        entries = _entries(parts.get(2, []))
        lists = {
            name: [_read_feature(step) for step in _messages(value).get(1, [])]
            for name, value in entries.items()
        }
        return _read_features(parts.get(1, [])), lists

    return _decoded(read, where, "SequenceExample")


def _decoded(read: Callable[[], Any], where: str, kind: str) -> Any:
    try:
        return read()
    except (WireError, UnicodeDecodeError) as error:
        raise DatasetError(f"{where}: not a tf.train.{kind}: {error}") from error


def _features(features: Mapping[str, Sequence[bytes] | np.ndarray]) -> bytes:
    return b"".join(
        field(1, field(1, name.encode()) + field(2, _feature(name, features[name])))
        for name in sorted(features)
    )


def _feature(name: str, values: Sequence[bytes] | np.ndarray) -> bytes:
    if not isinstance(values, np.ndarray):
        return field(BYTES, b"".join(field(1, bytes(value)) for value in values))
    flat = values.reshape(-1)
    if flat.dtype.kind == "f":
        return field(FLOATS, field(1, flat.astype("<f4").tobytes()) if len(flat) else b"")
    if flat.dtype.kind in "iub":
        return field(INTS, field(1, pack_int64(flat.astype(np.int64))) if len(flat) else b"")
    raise DatasetError(f"feature {name}: expected bytes or an array of numbers, got {values.dtype}")


def _messages(data: memoryview) -> dict[int, list[memoryview]]:
    """The fields with a length of a message, by number; others are passed over as unknown."""
    found: dict[int, list[memoryview]] = {}
    for number, kind, content in fields(data):
        if kind == LENGTH:
            found.setdefault(number, []).append(content)
    return found


def _entries(parts: Sequence[memoryview]) -> dict[str, memoryview]:
    """Name and value of the entries of a map, which is field 1 of each part; the last of a name counts."""
    found = {}
    for part in parts:
        for entry in _messages(part).get(1, []):
            pair = _messages(entry)
            name = str(pair.get(1, [memoryview(b"")])[-1], "utf-8")
            found[name] = pair.get(2, [memoryview(b"")])[-1]
    return found


def _read_features(parts: Sequence[memoryview]) -> dict[str, Feature]:
    return {name: _read_feature(value) for name, value in _entries(parts).items()}


def _read_feature(data: memoryview) -> Feature:
    kind, lists = BYTES, []
    for number, wire, content in fields(data):
        if wire != LENGTH or number not in (BYTES, FLOATS, INTS):
            continue
        lists = [*lists, content] if number == kind else [content]
        kind = number
    values = [(wire, value) for part in lists for number, wire, value in fields(part) if number == 1]
    if kind == BYTES:
        if any(wire != LENGTH for wire, _ in values):
            raise WireError("a list of bytes holds something else")
        return [bytes(value) for _, value in values]
    if kind == FLOATS:
        return concatenated((_floats(wire, value) for wire, value in values), "float32")
    return concatenated((_ints(wire, value) for wire, value in values), "int64")


def _floats(wire: int, content: memoryview) -> np.ndarray:
    if wire not in (LENGTH, FIXED32) or len(content) % 4:
        raise WireError(f"a list of floats holds {len(content)} bytes of wire type {wire}")
    return np.frombuffer(content, dtype="<f4").astype(np.float32)


def _ints(wire: int, content: memoryview) -> np.ndarray:
    if wire == VARINT:
        return np.array([read_varint(content, 0)[0]], dtype=np.uint64).astype(np.int64)
    if wire != LENGTH:
        raise WireError(f"a list of integers holds wire type {wire}")
    return unpack_int64(content)
