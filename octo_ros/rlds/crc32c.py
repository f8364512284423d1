"""CRC-32C, the checksum of TFRecord files, in numpy: no package of the base installation has it.

A CRC is linear over bits, so that data is cut into lanes which advance side by side, a word at a
time, and are then joined two by two.
"""

from __future__ import annotations

import functools

import numpy as np

POLYNOMIAL = 0x82F63B78
"""Castagnoli's polynomial, bits reversed."""

LANE = 256
"""Bytes in a lane; a multiple of 4."""

SHORT = 512
"""Below this many bytes a plain loop is faster."""

MASK_DELTA = 0xA282EAD8
"""What TFRecord adds to a rotated checksum."""


def crc32c(data: bytes) -> int:
    """Checksum of `data`, 32 bits."""
    if len(data) < SHORT:
        crc = 0xFFFFFFFF
        table = _byte_list()
        for byte in data:
            crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
        return crc ^ 0xFFFFFFFF
    start = np.array([0xFFFFFFFF], dtype=np.uint32)
    for power in range(len(data).bit_length()):
        if len(data) >> power & 1:
            start = _apply(_zeros(power), start)
    return int(start[0]) ^ _linear(data) ^ 0xFFFFFFFF


def masked_crc32c(data: bytes) -> int:
    """Checksum as it stands in a TFRecord file: rotated and shifted, so that it may be summed again."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + MASK_DELTA) & 0xFFFFFFFF


def _linear(data: bytes) -> int:
    """The checksum without the ones it starts and ends with; zeros before the data do not change it."""
    lanes = 1 << (-(-len(data) // LANE) - 1).bit_length()
    padded = np.zeros(lanes * LANE, dtype=np.uint8)
    padded[len(padded) - len(data) :] = np.frombuffer(data, dtype=np.uint8)
    words = np.ascontiguousarray(padded.view("<u4").astype(np.uint32, copy=False).reshape(lanes, -1).T)
    low, high = _word_tables()
    state = np.zeros(lanes, dtype=np.uint32)
    for word in words:
        mixed = state ^ word
        state = low[mixed & 0xFFFF] ^ high[mixed >> 16]
    power = LANE.bit_length() - 1
    while len(state) > 1:
        state = _apply(_zeros(power), state[0::2]) ^ state[1::2]
        power += 1
    return int(state[0])


@functools.lru_cache(maxsize=1)
def _byte_table() -> np.ndarray:
    """(256,) uint32, what a byte leaves behind."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(POLYNOMIAL), table >> 1)
    return table


@functools.lru_cache(maxsize=1)
def _byte_list() -> list[int]:
    return _byte_table().tolist()


@functools.lru_cache(maxsize=1)
def _word_tables() -> tuple[np.ndarray, np.ndarray]:
    """(65536,) uint32 twice: what the low and the high half of a word leave behind."""
    halves = np.arange(65536, dtype=np.uint32)
    tables = []
    for value in (halves, halves << 16):
        for _ in range(4):
            value = _byte_table()[value & 0xFF] ^ value >> 8
        tables.append(value)
    return tables[0], tables[1]


@functools.cache
def _zeros(power: int) -> np.ndarray:
    """(32,) uint32: what 2**power bytes of zeros make of each bit of a checksum."""
    if power:
        half = _zeros(power - 1)
        return _apply(half, half)
    bits = np.uint32(1) << np.arange(32, dtype=np.uint32)
    return _byte_table()[bits & 0xFF] ^ bits >> 8


def _apply(images: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The linear map that takes bit i to `images[i]`, of (n,) uint32 values."""
    result = np.zeros_like(values)
    for bit in range(32):
        result ^= (values >> np.uint32(bit) & np.uint32(1)) * images[bit]
    return result
