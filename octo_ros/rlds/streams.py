"""Reads everything of a recording but its pictures, and the pictures' times."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from octo_ros.bags.reader import Bag, Topic, listed
from octo_ros.bags.stamps import HeaderClock
from octo_ros.bags.topics import IMAGES, INPUTS
from octo_ros.errors import BagError, ParameterError
from octo_ros.rlds.series import Series
from octo_ros.types import ACTION_AXES

STRING, FLOAT, JOINTS = ("std_msgs/msg/String",), ("std_msgs/msg/Float64",), ("sensor_msgs/msg/JointState",)

SOURCES = {
    "episode": ("/octo/episode", STRING),
    "instruction": INPUTS["instruction"],
    "joint_states": INPUTS["joint_states"],
    "action": ("/octo/action", JOINTS),
    "gripper_command": ("/octo/gripper_command", FLOAT),
    "gripper_state": ("/gripper_state", FLOAT),
    "recorded_action": INPUTS["recorded_action"],
    "recorded_state": ("/recorded/state", INPUTS["recorded_action"][1]),
}
"""What is read besides cameras: default topic, and the types that are read."""

CAMERA = re.compile(r"/camera/([A-Za-z_][A-Za-z0-9_]*)/image_raw(/compressed)?")
"""Topics that are cameras unless they are mapped, raw before compressed."""


@dataclass(frozen=True)
class Streams:
    """A recording, without its pictures.

    Attributes:
        cameras: camera to its topic. camera_times: camera to the times of its messages.
        markers, instructions: log time [ns] and text, in order; markers None where the bag has no topic.
        vectors: name as in `SOURCES` to its values, those that the bag has.
        start_ns, end_ns: log times of the first and the last message read [ns].
        warnings: what was done to clocks, and messages that could not be read.
    """

    cameras: Mapping[str, str]
    camera_times: Mapping[str, Series]
    markers: list[tuple[int, str]] | None
    instructions: list[tuple[int, str]]
    vectors: Mapping[str, Series]
    start_ns: int
    end_ns: int
    warnings: list[str]


def read_streams(bag: Bag, given: Mapping[str, str], actions: str, joint_names: tuple[str, ...]) -> Streams:
    """Reads a recording once; of recorded actions and of what else tells actions, only what is asked for.

    Args:
        given: camera or name in `SOURCES` to topic, the user's map; where it names a camera, only those
            named are read.
        actions: one of `octo_ros.rlds.options.ACTIONS`.
        joint_names: whose positions are taken from joint states, in this order; () leaves those out.

    Raises:
        BagError: a mapped topic that is missing or of another type, or no camera.
    """
    cameras, sources = _topics(bag, given)
    if actions == "auto":
        actions = "recorded" if "recorded_action" in sources else "poses"
    sources = {name: topic for name, topic in sources.items() if name in (*_TEXTS, *_READ_FOR[actions])}
    if not joint_names:
        sources.pop("joint_states", None)
    takers = {topic: _Taker(f"camera {camera}", lambda _: None) for camera, topic in cameras.items()}
    for name, topic in sources.items():
        takers[topic] = _Taker(name.replace("_", " "), _value_of(name, joint_names))
    clocks = {
        topic: HeaderClock(bag, topic)
        for topic in (*cameras.values(), *(sources[name] for name in _STAMPED if name in sources))
    }
    warnings = [clock.warning for clock in clocks.values() if clock.warning]
    first_ns = last_ns = 0
    for record in bag.records(takers):
        first_ns, last_ns = first_ns or record.log_ns, record.log_ns
        takers[record.topic].take(bag, record, clocks.get(record.topic))
    warnings += [warning for taker in takers.values() for warning in taker.warnings()]
    vectors = {name: takers[topic].series() for name, topic in sources.items() if name not in _TEXTS}
    return Streams(
        cameras=cameras,
        camera_times={camera: takers[topic].series() for camera, topic in cameras.items()},
        markers=takers[sources["episode"]].texts() if "episode" in sources else None,
        instructions=takers[sources["instruction"]].texts() if "instruction" in sources else [],
        vectors={name: series for name, series in vectors.items() if len(series.times_ns)},
        start_ns=first_ns,
        end_ns=last_ns,
        warnings=warnings,
    )


_READ_FOR = {
    "recorded": ("recorded_action", "recorded_state"),
    "commanded": ("action", "joint_states", "gripper_state"),
    "poses": ("joint_states", "gripper_command", "gripper_state"),
}
_STAMPED = ("joint_states", "action")
_TEXTS = ("episode", "instruction")


class _Taker:
    """Collects the messages of one topic."""

    def __init__(self, name: str, value: Callable[[Any], Any]) -> None:
        self._name, self._value = name, value
        self._rows: list[tuple[int, int, int]] = []  # time, place among the topic's messages, log time
        self._values: list[Any] = []
        self._seen, self._faults, self._stamped = 0, [], False

    def take(self, bag: Bag, record: Any, clock: HeaderClock | None) -> None:
        place = self._seen
        self._seen += 1
        try:
            message = bag.decode(record)
            value = self._value(message)
        except (BagError, ValueError) as error:
            self._faults.append(str(error))
            return
        self._stamped = clock is not None and clock.stamped
        time_ns = clock.stamp_ns(message, record.log_ns) if clock is not None else record.log_ns
        self._rows.append((time_ns, place, record.log_ns))
        self._values.append(value)

    def texts(self) -> list[tuple[int, str]]:
        return [(log_ns, text) for (_, _, log_ns), text in zip(self._rows, self._values, strict=True)]

    def series(self) -> Series:
        rows = np.array(self._rows, dtype=np.int64).reshape(-1, 3)
        order = np.argsort(rows[:, 0], kind="stable")
        times, places, logs = rows[order].T
        vectors = [self._values[i] for i in order]
        values = None if not vectors or vectors[0] is None else np.array(vectors)
        return Series(self._name, times, places, values, logs, self._stamped)

    def warnings(self) -> list[str]:
        if not self._faults:
            return []
        return [f"{self._name}: {len(self._faults)} messages were not used; the first: {self._faults[0]}"]


def _value_of(name: str, joint_names: tuple[str, ...]) -> Callable[[Any], Any]:
    if name in _TEXTS:
        return lambda message: message.data
    if name == "joint_states":
        return lambda message: _joints(message, joint_names)
    if name == "action":
        return lambda message: _joints(message, ACTION_AXES)
    width: list[int] = []

    def vector(message: Any) -> np.ndarray:
        values = np.atleast_1d(np.asarray(message.data, dtype=np.float64))
        width.append(len(values))
        if len(values) != width[0]:
            raise ValueError(f"expected {width[0]} values as in the first message, got {len(values)}")
        return values

    return vector


def _joints(message: Any, names: tuple[str, ...]) -> np.ndarray:
    """(n,) positions of some joints; ValueError where the message, say a gripper's, lacks one.

    The same for physical actions: those in network units have other names, and are not taken.
    """
    positions = dict(zip(message.name, message.position, strict=False))
    missing = [name for name in names if name not in positions]
    if missing:
        raise ValueError(f"no position of {', '.join(missing)}; it has {', '.join(positions) or 'none'}")
    return np.array([positions[name] for name in names], dtype=np.float64)


def _topics(bag: Bag, given: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Topics of the cameras and of the other sources."""
    mapped = {name: topic for name, topic in given.items() if name not in SOURCES}
    cameras = {}
    for name, topic in mapped.items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ParameterError(f"topics: expected a camera's name of letters, digits and _, got {name!r}")
        cameras[name] = _checked(bag, name, topic, IMAGES)
    if not mapped:
        for topic in sorted(bag.topics, key=len):
            match = CAMERA.fullmatch(topic)
            if match and bag.topics[topic].count and bag.topics[topic].type in IMAGES:
                cameras.setdefault(match[1], topic)
    if not cameras:
        raise BagError(
            f"{bag.path}: no camera: no images on /camera/NAME/image_raw or its /compressed; map one with "
            f"primary=/topic (--topic primary=/topic); it has {listed(bag.topics)}"
        )
    sources = {}
    for name, (default, types) in SOURCES.items():
        if name in given:
            sources[name] = _checked(bag, name, given[name], types)
        elif bag.topics.get(default, Topic("", 0)).count:
            sources[name] = _checked(bag, name, default, types)
    return dict(sorted(cameras.items())), sources


def _checked(bag: Bag, name: str, topic: str, types: tuple[str, ...]) -> str:
    found = bag.topics.get(topic)
    if found is None or not found.count or found.type not in types:
        got = "no such topic" if found is None else f"{found.count} messages of type {found.type}"
        raise BagError(
            f"{bag.path}: {name}: topic {topic}: expected messages of type {' or '.join(types)}, got {got}; "
            f"it has {listed(bag.topics)}"
        )
    return topic
