"""Subscriptions to cameras, each as reliable as its publishers are.

Sensor QoS (best effort) hears every camera, but Fast DDS on default settings loses most frames
larger than its shared-memory segment of 0.5 MB. Where all publishers of a topic offer reliable
delivery it is asked for, so that lost parts are sent again; config/fastdds_images.xml cures the
loss itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from rclpy.qos import QoSProfile, ReliabilityPolicy, qos_profile_sensor_data

from octo_ros.engine.manifest import Manifest
from octo_ros.errors import ParameterError
from octo_ros.nodes.lifecycle import ManagedNode

RELIABLE = QoSProfile(depth=qos_profile_sensor_data.depth, reliability=ReliabilityPolicy.RELIABLE)


def chosen_cameras(manifest: Manifest, names: Sequence[str]) -> tuple[str, ...]:
    """The cameras this robot has: those named, or all of the bundle's where no name is given.

    Raises:
        ParameterError: a name that the bundle does not have.
    """
    known = tuple(manifest.cameras)
    chosen = tuple(name for name in names if name) or known
    for name in chosen:
        if name not in known:
            raise ParameterError(f"cameras: {name!r} is not in the bundle; it has {', '.join(known)}")
    return chosen


class CameraSubscriptions:
    """One subscription per camera; `follow_publishers` is to be called now and then.

    Args:
        node: that subscribes, until it releases everything.
        kind: message type of the frames.
        topics: camera name to its topic.
        on_frame: called with the camera's name and a message.
    """

    def __init__(
        self, node: ManagedNode, kind: type, topics: Mapping[str, str], on_frame: Callable[[str, Any], None]
    ) -> None:
        self._node = node
        self._kind = kind
        self._topics = dict(topics)
        self._on_frame = on_frame
        self._reliable = dict.fromkeys(topics, False)
        self._subscriptions = {camera: self._subscribe(camera) for camera in topics}

    def follow_publishers(self) -> None:
        """Subscribes anew to each camera whose publishers have changed their reliability."""
        for camera, topic in self._topics.items():
            publishers = self._node.get_publishers_info_by_topic(self._node.resolve_topic_name(topic))
            offers = {publisher.qos_profile.reliability for publisher in publishers}
            reliable = offers == {ReliabilityPolicy.RELIABLE}
            if offers and reliable != self._reliable[camera]:
                self._reliable[camera] = reliable
                self._node.unsubscribe(self._subscriptions[camera])
                self._subscriptions[camera] = self._subscribe(camera)

    def _subscribe(self, camera: str) -> Any:
        qos = RELIABLE if self._reliable[camera] else qos_profile_sensor_data
        return self._node.subscribe(self._kind, self._topics[camera], partial(self._on_frame, camera), qos)
