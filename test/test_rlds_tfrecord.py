"""TFRecord files: checksums, what is written comes back, and damage is told with its place."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octo_ros.rlds.crc32c import crc32c, masked_crc32c
from octo_ros.rlds.errors import DatasetError
from octo_ros.rlds.tfrecord import RecordWriter, framed, read_records


def slow_crc32c(data: bytes) -> int:
    """Bit by bit, as the definition says."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0x00000000),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ],
    ids=["nothing", "check value", "zeros", "ones", "rising"],
)
def test_checksums_of_rfc_3720(data, expected):
    assert crc32c(data) == expected


@pytest.mark.parametrize("size", [511, 512, 513, 767, 1024, 1025, 5000, 65537])
def test_the_checksum_of_lanes_is_that_of_bits(size):
    data = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8).tobytes()
    assert crc32c(data) == slow_crc32c(data)
    assert crc32c(bytes(size)) == slow_crc32c(bytes(size))


def test_a_record_is_framed_as_tensorflow_frames_it():
    """Length, its masked checksum, data, its masked checksum, as TensorFlow's format is described."""
    data = b"hello"
    crc = slow_crc32c(data)
    rotated = (crc >> 15 | crc << 17) & 0xFFFFFFFF
    tail = struct.pack("<I", (rotated + 0xA282EAD8) & 0xFFFFFFFF)
    assert framed(data)[:8] == struct.pack("<Q", 5)
    assert framed(data)[12:] == data + tail
    assert masked_crc32c(data) == struct.unpack("<I", tail)[0]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.binary(max_size=2000), max_size=8))
def test_what_is_written_is_read(tmp_path_factory, records):
    path = tmp_path_factory.mktemp("records") / "file"
    with RecordWriter(path) as writer:
        for record in records:
            writer.write(record)
    assert list(read_records(path)) == records
    assert (writer.count, writer.size) == (len(records), sum(map(len, records)))


def test_the_official_files_checksums_fit(shared):
    (path,) = (shared / "bridge_debug").rglob("*.tfrecord-*")
    assert len(list(read_records(path))) == 25


@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data())
def test_a_changed_bit_or_a_cut_is_an_error_at_its_record(tmp_path_factory, data):
    records = data.draw(st.lists(st.binary(min_size=1, max_size=600), min_size=1, max_size=4))
    starts = np.cumsum([0, *(len(framed(record)) for record in records)]).tolist()
    content = bytearray(b"".join(map(framed, records)))
    at = data.draw(st.integers(0, len(content) - 1))
    record = int(np.searchsorted(starts, at, side="right")) - 1
    if data.draw(st.booleans()):
        content[at] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del content[at:]
    path = tmp_path_factory.mktemp("damaged") / "file"
    path.write_bytes(content)
    read = []
    if len(content) == starts[record]:  # cut between two records, which only the count of records tells
        assert list(read_records(path)) == records[:record]
        return
    with pytest.raises(DatasetError) as caught:
        read.extend(iter_into(read, path))
    assert str(caught.value).startswith(f"{path}: record at byte {starts[record]}: ")
    assert read == records[:record]


def iter_into(read, path):
    """Reads into a list, so that what came before an error is kept."""
    for record in read_records(path):
        read.append(record)
    return []


def test_a_length_beyond_the_file_is_no_memory_error(tmp_path):
    length = struct.pack("<Q", 1 << 60)
    path = tmp_path / "file"
    path.write_bytes(length + struct.pack("<I", masked_crc32c(length)) + bytes(100))
    with pytest.raises(DatasetError, match=r"byte 0: expected \d+ bytes, got 100: truncated"):
        list(read_records(path))


def test_a_compressed_or_missing_file_is_named(tmp_path):
    (tmp_path / "packed").write_bytes(zlib.compress(framed(b"data") * 10))
    with pytest.raises(DatasetError, match="packed: record at byte 0: .* not a TFRecord file"):
        list(read_records(tmp_path / "packed"))
    with pytest.raises(DatasetError, match="absent: cannot be read"):
        list(read_records(tmp_path / "absent"))
