"""The processes of bench/overhead.py beside the listener: cameras, the peer, and the policy node with clocks.

overhead_roles.py camera raw|compressed RATE_HZ SECONDS_APART | peer | node [--ros-args ...]
"""

from __future__ import annotations

import json
import os
import sys
import time
from array import array
from pathlib import Path

import cv2
import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image, JointState

from octo_ros.nodes import policy_node, spin
from octo_ros.nodes.messages import time_message, time_ns
from octo_ros.types import NANOSECONDS

CAMERAS = ("primary", "wrist")
HEIGHT, WIDTH = 480, 640
TOLERANCE_NS = 50 * NANOSECONDS // 1000
"""Furthest stamps that the peer pairs, as the node does [ns]."""


def camera(transport: str, rate_hz: float, apart_s: float) -> None:
    """Publishes both cameras until a signal, the second `apart_s` after the first."""
    rclpy.init()
    node = Node("overhead_camera")
    pictures = np.random.default_rng(0).integers(0, 256, (len(CAMERAS), HEIGHT // 16, WIDTH // 16, 3))
    outputs = []
    for name, picture in zip(CAMERAS, pictures.astype(np.uint8), strict=True):
        pixels = np.kron(picture, np.ones((16, 16, 1), np.uint8))
        topic = f"camera/{name}/image_raw"
        if transport == "raw":
            message = Image(height=HEIGHT, width=WIDTH, step=3 * WIDTH, encoding="rgb8")
            message.data = array("B", pixels.tobytes())
            outputs.append((node.create_publisher(Image, topic, qos_profile_sensor_data), message))
        else:
            message = CompressedImage(format="rgb8; jpeg compressed bgr8")
            message.data = array("B", cv2.imencode(".jpg", pixels[..., ::-1])[1].tobytes())
            topic += "/compressed"
            outputs.append((node.create_publisher(CompressedImage, topic, qos_profile_sensor_data), message))
    due = time.monotonic()
    while rclpy.ok():
        due += 1.0 / rate_hz
        time.sleep(max(0.0, due - time.monotonic()))
        stamp = time_message(time.time_ns())
        for index, (publisher, message) in enumerate(outputs):
            if index and apart_s:
                time.sleep(apart_s)
                stamp = time_message(time.time_ns())
            message.header.stamp = stamp
            publisher.publish(message)


class Peer(Node):
    """Publishes an action as soon as the frames of both cameras have come, and does nothing else."""

    def __init__(self) -> None:
        super().__init__("overhead_peer")
        self._actions = self.create_publisher(JointState, "octo/action", 1)
        self._stamps = dict.fromkeys(CAMERAS, 0)
        for name in CAMERAS:
            self.create_subscription(
                Image, f"camera/{name}/image_raw", self._taking(name), qos_profile_sensor_data
            )
            self.create_subscription(
                CompressedImage,
                f"camera/{name}/image_raw/compressed",
                self._taking(name),
                qos_profile_sensor_data,
            )

    def _taking(self, name: str):
        def take(message: Image) -> None:
            self._stamps[name] = time_ns(message.header.stamp)
            if max(self._stamps.values()) - min(self._stamps.values()) <= TOLERANCE_NS:
                action = JointState(name=["x"] * 7, position=[0.0] * 7)
                action.header.stamp = message.header.stamp
                self._actions.publish(action)

        return take


class TimedNode(policy_node.PolicyNode):
    """The policy node with clocks; at its end it writes the times of every action to $OVERHEAD_LOG."""

    def configure(self) -> None:
        self._marks: list[dict[str, int]] = []
        self._came: dict[int, dict[str, int]] = {}
        super().configure()
        self._engine = (0, 0)
        backend = self._policy._backend
        run, publish = backend.run, self._actions.publish

        def timed_run(name: str, inputs):
            started = time.time_ns()
            outputs = run(name, inputs)
            if name in ("step", "policy"):
                self._engine = started, time.time_ns()
            return outputs

        def timed_publish(message: JointState) -> None:
            stamp, started = time_ns(message.header.stamp), time.time_ns()
            publish(message)
            marks = self._came.pop(stamp, {}) | {"stamp": stamp, "publish": started, "out": time.time_ns()}
            marks["engine"], marks["engine_end"] = self._engine
            self._marks.append(marks)

        backend.run, self._actions.publish = timed_run, timed_publish

    def subscribe(self, kind, topic, callback, qos, **more):
        if not topic.startswith("camera/"):
            return super().subscribe(kind, topic, callback, qos, **more)
        guarded = self._guarded(callback)

        def take(message, info) -> None:
            marks = {"source": info["source_timestamp"], "received": info["received_timestamp"]}
            self._came[time_ns(message.header.stamp)] = marks | {"callback": time.time_ns()}
            guarded(message)

        entity = self.create_subscription(kind, topic, take, qos, **more)
        self._entities.append((self.destroy_subscription, entity))
        return entity

    def release(self) -> None:
        super().release()
        Path(os.environ["OVERHEAD_LOG"]).write_text(json.dumps(self._marks), encoding="utf-8")


def main() -> int:
    """Plays the role that the first argument names."""
    role, *rest = sys.argv[1:]
    if role == "camera":
        camera(rest[0], float(rest[1]), float(rest[2]))
        return 0
    if role == "peer":
        return spin.run(Peer)
    policy_node.PolicyNode = TimedNode
    return policy_node.main([sys.argv[0], *rest])


if __name__ == "__main__":
    sys.exit(main())
