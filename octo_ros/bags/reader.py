"""Reads a rosbag2, MCAP or sqlite3, and turns whatever is wrong with it into one clear error."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rosbags.rosbag2 import Reader
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_typestore

from octo_ros.errors import BagError
from octo_ros.types import NANOSECONDS

STORAGES = (".mcap", ".db3")
"""Endings of the bag files that can be read without a metadata.yaml."""

DISORDER_NS = NANOSECONDS
"""How far log times may go back between messages, as they do where the files of a split bag meet [ns]."""

TYPESTORE = get_typestore(Stores.ROS2_JAZZY)
"""Definitions of the standard messages; those used here are the same in Humble, Jazzy and Kilted."""


LEFT_OVER = (0, 4, 8, 12)
"""Bytes that may follow a message: Fast DDS leaves up to four for each empty array, of which joint states
have three at most."""


@dataclass(frozen=True)
class Topic:
    """One topic of a bag: its type as "sensor_msgs/msg/Image", and its number of messages."""

    type: str
    count: int


@dataclass(frozen=True)
class Record:
    """One message as it lies in the bag.

    Attributes:
        topic: where it was published.
        type: its type, as "sensor_msgs/msg/Image".
        log_ns: when it was recorded [ns]; never less than the record's before it.
        data: the message in CDR.
    """

    topic: str
    type: str
    log_ns: int
    data: bytes


class Bag:
    """An open bag, used as a context manager.

    Args:
        path: a rosbag2 directory, or a single .mcap or .db3 file.

    Attributes:
        path: as given.
        topics: topic name to its `Topic`, sorted by name.

    Raises:
        BagError: no such bag, no metadata.yaml, a storage that is not supported, or a file that is
            truncated or corrupt.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        _check_path(self.path)
        with _reading(self.path, "open"):
            self._reader = Reader(self.path)
            self._reader.open()
        self.topics: Mapping[str, Topic] = _topics(self._reader)

    def __enter__(self) -> Bag:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the files; a second call does nothing."""
        if self._reader.is_open:
            self._reader.close()

    def records(self, topics: Collection[str] | None = None) -> Iterator[Record]:
        """Messages by log time, of some topics or of all.

        Raises:
            BagError: an unknown topic, a corrupt file, or log times that go back by more than a second.
        """
        for topic in topics or ():
            if topic not in self.topics:
                raise BagError(f"{self.path}: no topic {topic}; it has {listed(self.topics)}")
        connections = [c for c in self._reader.connections if topics is None or c.topic in topics]
        if not connections:
            return
        last_ns, read = 0, 0
        with _reading(self.path, "read") as at:
            for connection, log_ns, data in self._reader.messages(connections):
                if last_ns - log_ns > DISORDER_NS:
                    back_s = (last_ns - log_ns) / NANOSECONDS
                    raise BagError(
                        f"{self.path}: log times go back by {back_s:.3f} s at message {read + 1}, "
                        f"on {connection.topic}; write one file in order with `ros2 bag convert`"
                    )
                last_ns, read = max(last_ns, log_ns), read + 1
                at[:] = [f"after {read} messages, the last one on {connection.topic}"]
                yield Record(connection.topic, connection.msgtype, last_ns, bytes(data))

    def decode(self, record: Record) -> Any:
        """The message of a record, with the fields of its ROS type.

        Raises:
            BagError: a type that is not known, or bytes that are not that type.
        """
        where = f"{self.path}: {record.topic} at {record.log_ns} ns"
        if record.type not in TYPESTORE.fielddefs:
            raise BagError(f"{where}: type {record.type} is not one of the standard ROS 2 messages")
        try:
            return _deserialize(record.data, record.type)
        except Exception as error:  # the library raises what its parsing runs into
            what = f"{len(record.data)} bytes are not a {record.type}"
            raise BagError(f"{where}: {what}: {_reason(error)}") from error


def listed(topics: Mapping[str, Topic]) -> str:
    """Topics with their types, in one line."""
    return ", ".join(f"{name} ({topic.type})" for name, topic in topics.items()) or "no topic"


def _check_path(path: Path) -> None:
    if not path.exists():
        raise BagError(f"{path}: no such bag; expected a rosbag2 directory, or an .mcap or .db3 file")
    if path.is_dir() and not (path / "metadata.yaml").is_file():
        hint = (
            "`ros2 bag reindex` writes one" if any(path.glob("*" + s) for s in STORAGES) else "is it a bag?"
        )
        raise BagError(f"{path}: expected a rosbag2 directory, got one without metadata.yaml; {hint}")
    if path.is_file() and path.suffix not in STORAGES:
        raise BagError(f"{path}: expected a rosbag2 directory, or a file ending in {' or '.join(STORAGES)}")


def _topics(reader: Reader) -> dict[str, Topic]:
    topics: dict[str, Topic] = {}
    for connection in sorted(reader.connections, key=lambda c: c.topic):
        earlier = topics.get(connection.topic)
        if earlier and earlier.type != connection.msgtype:
            reader.close()
            raise BagError(
                f"{reader.path}: {connection.topic}: expected one type, "
                f"got {earlier.type} and {connection.msgtype}"
            )
        count = connection.msgcount + (earlier.count if earlier else 0)
        topics[connection.topic] = Topic(connection.msgtype, count)
    return topics


@contextmanager
def _reading(path: Path, verb: str) -> Iterator[list[str]]:
    """Turns what the library raises on a bad file into a BagError; yields a list to put the place in."""
    at: list[str] = []
    try:
        yield at
    except (BagError, GeneratorExit):
        raise
    except Exception as error:  # corrupt bytes reach its parsers, which raise anything
        where = f" {at[0]}" if at else ""
        raise BagError(
            f"{path}: cannot {verb} the bag{where}: truncated, corrupt or not supported: {_reason(error)}"
        ) from error


def _deserialize(data: bytes, kind: str) -> Any:
    """A message from CDR, whatever Fast DDS has left behind its end."""
    for left_over in LEFT_OVER:
        with suppress(SerdeError, AssertionError):  # the latter in older versions of the library
            return TYPESTORE.deserialize_cdr(data[: len(data) - left_over], kind)
    return TYPESTORE.deserialize_cdr(data, kind)  # raises the first error again


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
