"""TFRecord files: records of bytes, each with its length and the checksums of both."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from octo_ros.rlds.crc32c import masked_crc32c
from octo_ros.rlds.errors import DatasetError

HEAD = struct.Struct("<QI")
"""Length of a record [bytes] and the masked checksum of these eight bytes."""

TAIL = struct.Struct("<I")
"""The masked checksum of a record."""


def read_records(path: str | Path) -> Iterator[bytes]:
    """The records of a file, one by one.

    Raises:
        DatasetError: a file that cannot be read, ends within a record, or has a wrong checksum;
            the message names the file and the byte at which the record begins.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            offset = 0
            while offset < size:
                data = _record(file, path, offset, size)
                yield data
                offset += HEAD.size + len(data) + TAIL.size
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error}") from error


def framed(data: bytes) -> bytes:
    """A record as it lies in a file."""
    length = struct.pack("<Q", len(data))
    return b"".join((length, TAIL.pack(masked_crc32c(length)), data, TAIL.pack(masked_crc32c(data))))


class RecordWriter:
    """Writes a new TFRecord file; a context manager.

    Attributes:
        count: records written.
        size: bytes of the records, without their framing [bytes].
    """

    def __init__(self, path: str | Path) -> None:
        """Opens the file; OSError where that fails."""
        self._file = open(path, "wb")  # noqa: SIM115, closed on exit
        self.count = self.size = 0

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file; a second call does nothing."""
        self._file.close()

    def write(self, data: bytes) -> None:
        """Appends a record."""
        self._file.write(framed(data))
        self.count += 1
        self.size += len(data)


def _record(file: BinaryIO, path: str | Path, offset: int, size: int) -> bytes:
    where = f"{path}: record at byte {offset}"
    head = file.read(HEAD.size)
    if len(head) < HEAD.size:
        raise DatasetError(f"{where}: expected a header of {HEAD.size} bytes, got {len(head)}: truncated")
    length, length_crc = HEAD.unpack(head)
    if masked_crc32c(head[:8]) != length_crc:
        raise DatasetError(f"{where}: the length's checksum does not fit: corrupt, or not a TFRecord file")
    left = size - offset - HEAD.size
    if length + TAIL.size > left:
        raise DatasetError(f"{where}: expected {length + TAIL.size} bytes, got {left}: truncated")
    data, tail = file.read(length), file.read(TAIL.size)
    if len(data) < length or len(tail) < TAIL.size:
        raise DatasetError(f"{where}: expected {length} bytes, got {len(data)}: truncated")
    if masked_crc32c(data) != TAIL.unpack(tail)[0]:
        raise DatasetError(f"{where}: the checksum of its {length} bytes does not fit: corrupt")
    return data
