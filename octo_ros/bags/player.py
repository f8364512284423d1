"""Plays a bag's messages one by one, and cuts the first episodes out of one."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from octo_ros.bags.output import new_bag
from octo_ros.bags.reader import TYPESTORE, Bag, listed
from octo_ros.bags.topics import INPUTS
from octo_ros.errors import BagError, ParameterError

INSTRUCTIONS = INPUTS["instruction"][0]


def messages(bag: str | Path, topics: Collection[str]) -> Iterator[tuple[str, int, Any]]:
    """Topic, log time [ns] and message of everything on some topics, by log time.

    Messages have the fields of their ROS types, arrays as numpy; to publish one through rclpy,
    copy its fields.

    Raises:
        BagError: no such bag, a topic it lacks, a corrupt file, or a message that cannot be read.
    """
    with Bag(bag) as opened:
        for record in opened.records(topics):
            yield record.topic, record.log_ns, opened.decode(record)


def copy_episodes(bag: str | Path, out: str | Path, count: int, instructions: str = INSTRUCTIONS) -> int:
    """Writes the first episodes of a bag, all topics, to a new MCAP bag; returns how many there were.

    An episode starts with a message on `instructions` and ends at the next one. What lies before
    the first is left out.

    Args:
        bag: the bag to read.
        out: directory to write; must not exist.
        count: most episodes to copy, at least 1.

    Raises:
        ParameterError: a count below 1.
        BagError: no episode in the bag, a message type of its own, or a directory that exists.
    """
    if count < 1:
        raise ParameterError(f"count: expected at least 1 episode, got {count}")
    with Bag(bag) as opened:
        if instructions not in opened.topics:
            raise BagError(f"{opened.path}: no topic {instructions}; it has {listed(opened.topics)}")
        starts = [record.log_ns for record in opened.records([instructions])]
        if not starts:
            raise BagError(
                f"{opened.path}: {instructions}: expected messages that start an episode, got none"
            )
        _check_types(opened)
        end_ns = starts[count] if len(starts) > count else None
        with new_bag(Path(out)) as writer:
            connections = {
                name: writer.add_connection(name, topic.type, typestore=TYPESTORE)
                for name, topic in opened.topics.items()
            }
            for record in opened.records():
                if record.log_ns < starts[0]:
                    continue
                if end_ns is not None and record.log_ns >= end_ns:
                    break
                writer.write(connections[record.topic], record.log_ns, record.data)
    return min(count, len(starts))


def _check_types(bag: Bag) -> None:
    for name, topic in bag.topics.items():
        if topic.type not in TYPESTORE.fielddefs:
            raise BagError(f"{bag.path}: {name}: type {topic.type} is not one of the standard ROS 2 messages")
