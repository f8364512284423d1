"""Which of a bag's topics is which input: by the user's map, else by the names the nodes use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from octo_ros.bags.reader import Bag, Topic
from octo_ros.engine.manifest import Manifest
from octo_ros.errors import BagError, ParameterError

RAW_IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
IMAGES = (RAW_IMAGE, COMPRESSED_IMAGE)

INPUTS = {
    "instruction": ("/octo/instruction", ("std_msgs/msg/String",)),
    "goal_image": ("/octo/goal_image", IMAGES),
    "joint_states": ("/joint_states", ("sensor_msgs/msg/JointState",)),
    "recorded_action": (
        "/recorded/action",
        ("std_msgs/msg/Float64MultiArray", "std_msgs/msg/Float32MultiArray"),
    ),
}
"""Inputs other than cameras: default topic, and the types that are read."""


@dataclass(frozen=True)
class TopicMap:
    """The topics a replay reads.

    Attributes:
        cameras: camera's name in the manifest to its topic; at least one.
        masked: cameras of the manifest that the bag does not have.
        inputs: input's name as in `INPUTS` to its topic, those that the bag has.
    """

    cameras: Mapping[str, str]
    masked: tuple[str, ...]
    inputs: Mapping[str, str]

    def all(self) -> tuple[str, ...]:
        """Every topic that is read, sorted, each once."""
        return tuple(sorted({*self.cameras.values(), *self.inputs.values()}))


def camera_topic(camera: str) -> str:
    """The topic a camera is on unless it is mapped."""
    return f"/camera/{camera}/image_raw"


def resolve_topics(bag: Bag, manifest: Manifest, given: Mapping[str, str]) -> TopicMap:
    """Finds the topic of every camera and input.

    A camera that is not mapped is looked for as raw images, then below "/compressed". What is not
    mapped may be absent or without messages; what is mapped may not.

    Args:
        given: camera or input to topic, the user's map.

    Raises:
        ParameterError: a name that is neither a camera of the manifest nor an input.
        BagError: a mapped topic that the bag lacks, a topic of another type, or no camera at all.
    """
    unknown = sorted(set(given) - set(manifest.cameras) - set(INPUTS))
    if unknown:
        raise ParameterError(
            f"topics: {', '.join(unknown)}: expected a camera of the bundle "
            f"({', '.join(manifest.cameras)}) or one of {', '.join(INPUTS)}"
        )
    cameras = {}
    for camera in manifest.cameras:
        default = camera_topic(camera)
        names = (given[camera],) if camera in given else (default, f"{default}/compressed")
        topic = _present(bag, camera, names, IMAGES, must_exist=camera in given)
        if topic is not None:
            cameras[camera] = topic
    if not cameras:
        raise _no_frames(bag, manifest)
    inputs = {}
    for name, (default, types) in INPUTS.items():
        topic = _present(bag, name, (given.get(name, default),), types, must_exist=name in given)
        if topic is not None:
            inputs[name] = topic
    masked = tuple(camera for camera in manifest.cameras if camera not in cameras)
    return TopicMap(cameras, masked, inputs)


def _present(
    bag: Bag, name: str, topics: tuple[str, ...], types: tuple[str, ...], must_exist: bool
) -> str | None:
    """The first of the topics that the bag has, its type checked; None where it has none of them."""
    for topic in topics:
        if topic not in bag.topics:
            continue
        if not bag.topics[topic].count:
            if must_exist:
                raise BagError(f"{bag.path}: {name}: topic {topic}: expected messages, got none")
            continue
        if bag.topics[topic].type not in types:
            raise BagError(
                f"{bag.path}: {name}: topic {topic}: expected type {' or '.join(types)}, "
                f"got {bag.topics[topic].type}; map another topic with {name}=/topic"
            )
        return topic
    if must_exist:
        fitting = _of_types(bag.topics, types)
        raise BagError(f"{bag.path}: {name}: no topic {topics[0]}; topics of a fitting type: {fitting}")
    return None


def _no_frames(bag: Bag, manifest: Manifest) -> BagError:
    looked_for = ", ".join(camera_topic(camera) for camera in manifest.cameras)
    first = next(iter(manifest.cameras))
    return BagError(
        f"{bag.path}: no frames of any of the bundle's cameras: looked for {looked_for}, raw and compressed; "
        f"image topics in the bag: {_of_types(bag.topics, IMAGES)}; "
        f"map one with {first}=/topic (--topic {first}=/topic)"
    )


def _of_types(topics: Mapping[str, Topic], types: tuple[str, ...]) -> str:
    fitting = [f"{name} ({topic.count} messages)" for name, topic in topics.items() if topic.type in types]
    return ", ".join(fitting) or "none"
