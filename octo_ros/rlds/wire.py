"""Protocol buffers on the wire, as far as tf.train.Example needs them: varints and fields with a length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
"""Wire types."""

LONGEST = 10
"""Bytes of the longest varint."""


class WireError(ValueError):
    """Bytes that are no message; the caller says of which file."""


def varint(value: int) -> bytes:
    """A non-negative number below 2**64."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number: int, content: bytes) -> bytes:
    """A field with a length: a message, bytes, text, or packed numbers."""
    return varint(number << 3 | LENGTH) + varint(len(content)) + content


def fields(data: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """Number, wire type and content of each field of a message.

    Raises:
        WireError: a field that ends behind the message, or a wire type that is not one.
    """
    at, end = 0, len(data)
    while at < end:
        tag, at = read_varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == LENGTH:
            length, at = read_varint(data, at)
        elif kind == VARINT:
            length = read_varint(data, at)[1] - at
        elif kind in (FIXED64, FIXED32):
            length = 8 if kind == FIXED64 else 4
        else:
            raise WireError(f"field {number}: wire type {kind} is not read")
        if length > end - at:
            raise WireError(f"field {number}: expected {length} bytes, got {end - at}")
        yield number, kind, data[at : at + length]
        at += length


def read_varint(data: memoryview, at: int) -> tuple[int, int]:
    """A varint that starts at `at`, and where it ends; WireError where it does not end."""
    value = 0
    for i, byte in enumerate(data[at : at + LONGEST]):
        value |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at + i + 1
    raise WireError("a number that does not end")


def pack_int64(values: np.ndarray) -> bytes:
    """Packed varints of (n,) int64."""
    if len(values) and values.min() >= 0 and values.max() < 0x80:
        return values.astype(np.uint8).tobytes()
    return b"".join(varint(value & 0xFFFFFFFFFFFFFFFF) for value in values.tolist())


def unpack_int64(data: memoryview) -> np.ndarray:
    """(n,) int64 of packed varints."""
    raw = np.frombuffer(data, dtype=np.uint8)
    if not len(raw) or raw.max() < 0x80:
        return raw.astype(np.int64)
    return np.array(list(_varints(data)), dtype=np.uint64).astype(np.int64)


def concatenated(parts: Iterable[np.ndarray], dtype: str) -> np.ndarray:
    """Arrays one after the other, (n,) of a dtype, also where there are none."""
    return np.concatenate([np.empty(0, dtype), *parts]).astype(dtype, copy=False)


def _varints(data: memoryview) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = read_varint(data, at)
        yield value
