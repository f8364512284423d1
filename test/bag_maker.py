"""Writes small bags for the tests of reading and replaying: any messages, any storage."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from octo_ros.bags.reader import TYPESTORE, Bag
from octo_ros.types import NANOSECONDS

START_NS = 1_700_000_000 * NANOSECONDS
FRAMES = "/camera/primary/image_raw"
INSTRUCTIONS = "/octo/instruction"
RECORDED = "/recorded/action"
JOINTS = "/joint_states"

Entry = tuple[str, int, Any]
"""Topic, log time [ns], and a message or, for one that is broken, (type, bytes)."""


def new(kind: str, *fields: Any) -> Any:
    """A message of a type such as "std_msgs/msg/String"."""
    return TYPESTORE.types[kind](*fields)


def header(stamp_ns: int) -> Any:
    """A std_msgs/Header."""
    time = new("builtin_interfaces/msg/Time", stamp_ns // NANOSECONDS, stamp_ns % NANOSECONDS)
    return new("std_msgs/msg/Header", time, "camera")


def words(text: str) -> Any:
    """A std_msgs/String."""
    return new("std_msgs/msg/String", text)


def picture(stamp_ns: int, shade: int, encoding: str = "rgb8") -> Any:
    """A sensor_msgs/Image of 32 x 24 pixels, a gradient that depends on `shade`."""
    pixels = (np.arange(24 * 32 * 3) * 7 + shade * 13).astype(np.uint8)
    return new("sensor_msgs/msg/Image", header(stamp_ns), 24, 32, encoding, 0, 32 * 3, pixels)


def compressed_picture(stamp_ns: int, data: np.ndarray) -> Any:
    """A sensor_msgs/CompressedImage of JPEG data, (n,) uint8."""
    return new("sensor_msgs/msg/CompressedImage", header(stamp_ns), "jpeg", data)


def numbers(values: Sequence[float]) -> Any:
    """A std_msgs/Float64MultiArray."""
    layout = new("std_msgs/msg/MultiArrayLayout", [], 0)
    return new("std_msgs/msg/Float64MultiArray", layout, np.array(values, dtype=np.float64))


def joint_state(stamp_ns: int, names: Sequence[str], positions: Sequence[float]) -> Any:
    """A sensor_msgs/JointState without velocities."""
    none = np.empty(0)
    return new(
        "sensor_msgs/msg/JointState", header(stamp_ns), list(names), np.array(positions, float), none, none
    )


def episodes(
    count: int = 2, frames: int = 5, pause_s: float = 1.0, rate_hz: float = 5.0, lag_ns: int = 3_000_000
) -> list[Entry]:
    """Episodes with an instruction, frames that are logged a little late, and recorded actions."""
    entries: list[Entry] = []
    begin_ns = START_NS
    for episode in range(count):
        entries.append((INSTRUCTIONS, begin_ns, words(f"put block {episode} away")))
        for i in range(frames):
            stamp_ns = begin_ns + round(i * NANOSECONDS / rate_hz)
            entries.append((FRAMES, stamp_ns + lag_ns, picture(stamp_ns, 10 * episode + i)))
            action = [0.01 * i, -0.01, 0.002 * episode, 0.0, 0.1, -0.1, float(i % 2)]
            entries.append((RECORDED, stamp_ns + 5_000_000, numbers(action)))
        begin_ns = stamp_ns + round((pause_s + 1.0 / rate_hz) * NANOSECONDS)
    return entries


def write_bag(
    path: Path,
    entries: Iterable[Entry],
    storage: StoragePlugin = StoragePlugin.MCAP,
    compression: CompressionMode = CompressionMode.NONE,
    topics: dict[str, str] | None = None,
) -> Path:
    """Writes entries, sorted by log time, and returns the path; `topics` are declared without messages."""
    with _writer(path, storage, compression) as writer:
        connections = {
            topic: writer.add_connection(topic, kind, typestore=TYPESTORE)
            for topic, kind in (topics or {}).items()
        }
        for topic, log_ns, message in sorted(entries, key=lambda entry: entry[1]):
            kind, data = message if isinstance(message, tuple) else (message.__msgtype__, None)
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=TYPESTORE)
            data = TYPESTORE.serialize_cdr(message, kind) if data is None else data
            writer.write(connections[topic], log_ns, bytes(data))
    return path


def _writer(path: Path, storage: StoragePlugin, compression: CompressionMode) -> Writer:
    writer = Writer(path, version=9, storage_plugin=storage)
    writer.set_compression(compression, CompressionFormat.ZSTD)
    return writer


def contents(path: Path) -> list[tuple[str, int, bytes]]:
    """Topic, log time [ns] and bytes of every message of a bag."""
    with Bag(path) as bag:
        return [(record.topic, record.log_ns, record.data) for record in bag.records()]
