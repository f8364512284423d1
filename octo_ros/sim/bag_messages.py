"""The cell's messages for a bag, built from the definitions of the rosbags library, so without ROS.

The same as `octo_ros.nodes.sim_messages` builds for rclpy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from transforms3d.quaternions import mat2quat

from octo_ros.bags.build import header, new, picture
from octo_ros.bags.topics import COMPRESSED_IMAGE, RAW_IMAGE, camera_topic
from octo_ros.errors import ParameterError
from octo_ros.rlds.frames import Encoding
from octo_ros.safety.robot import Robot
from octo_ros.sim.cell import CAMERAS
from octo_ros.sim.pinhole import pinhole
from octo_ros.sim.state import CellState
from octo_ros.types import ACTION_AXES

_JPEG = Encoding("jpeg")

_OTHERS = {
    "/joint_states": "sensor_msgs/msg/JointState",
    "/gripper_state": "std_msgs/msg/Float64",
    "/octo/tool_pose": "geometry_msgs/msg/PoseStamped",
    "/octo/instruction": "std_msgs/msg/String",
    "/octo/episode": "std_msgs/msg/String",
    "/octo/gripper_command": "std_msgs/msg/Float64",
    "/octo/action": "sensor_msgs/msg/JointState",
    "/recorded/action": "std_msgs/msg/Float64MultiArray",
}


class Encode:
    """How pictures become messages.

    Args:
        images: "raw" or "jpeg".

    Raises:
        ParameterError: neither.
    """

    def __init__(self, images: str) -> None:
        if images not in ("raw", "jpeg"):
            raise ParameterError(f"images: expected raw or jpeg, got {images!r}")
        self._raw = images == "raw"
        self.kind = RAW_IMAGE if self._raw else COMPRESSED_IMAGE

    def topic(self, camera: str) -> str:
        """The topic of a camera's pictures."""
        return camera_topic(camera) + ("" if self._raw else "/compressed")

    def message(self, image: np.ndarray, head: Any) -> Any:
        """A picture, (H, W, 3) uint8 RGB, under a header."""
        if self._raw:
            return picture(image, head)
        data = np.frombuffer(_JPEG.encode(image), dtype=np.uint8)
        return new(self.kind, head, "rgb8; jpeg compressed bgr8", data)


def topics(encode: Encode) -> dict[str, str]:
    """Every topic of a recording with its type."""
    pictures = {encode.topic(camera): encode.kind for camera in CAMERAS}
    infos = {f"/camera/{camera}/camera_info": "sensor_msgs/msg/CameraInfo" for camera in CAMERAS}
    return {**pictures, **infos, **_OTHERS}


class Messages:
    """Builds every message of a recording.

    Args:
        robot: whose joints and frames they name.
        encode: how pictures are written.
    """

    def __init__(self, robot: Robot, encode: Encode) -> None:
        self._names, self._frame = list(robot.joint_names), robot.workspace.frame
        self._encode = encode

    def number(self, value: float) -> Any:
        """std_msgs/Float64."""
        return new("std_msgs/msg/Float64", value)

    def joint_state(self, state: CellState, stamp_ns: int) -> Any:
        """sensor_msgs/JointState: positions [rad] and velocities [rad/s]."""
        values = state.joints, state.joint_velocities, np.empty(0)
        return new(_OTHERS["/joint_states"], header(stamp_ns, ""), self._names, *values)

    def tool_pose(self, state: CellState, stamp_ns: int) -> Any:
        """geometry_msgs/PoseStamped of the tip in the base frame."""
        w, x, y, z = (float(value) for value in mat2quat(state.tool_rotation))
        point = new("geometry_msgs/msg/Point", *(float(value) for value in state.tool_position))
        pose = new("geometry_msgs/msg/Pose", point, new("geometry_msgs/msg/Quaternion", x, y, z, w))
        return new(_OTHERS["/octo/tool_pose"], header(stamp_ns, self._frame), pose)

    def action(self, action: np.ndarray, stamp_ns: int) -> Any:
        """sensor_msgs/JointState for octo/action: seven values for one step at 10 Hz, physical units."""
        none = np.empty(0)
        head = header(stamp_ns, self._frame)
        return new(_OTHERS["/octo/action"], head, list(ACTION_AXES), np.array(action, float), none, none)

    def image(self, camera: str, image: np.ndarray, stamp_ns: int) -> tuple[str, Any]:
        """A camera's topic and picture."""
        head = header(stamp_ns, f"{camera}_camera")
        return self._encode.topic(camera), self._encode.message(image, head)

    def camera_info(self, camera: str, size: int, focal: float, stamp_ns: int) -> tuple[str, Any]:
        """A camera's topic and sensor_msgs/CameraInfo: a pinhole of that focal length [pixel]."""
        matrix, projection = (np.array(values) for values in pinhole(size, focal))
        region = new("sensor_msgs/msg/RegionOfInterest", 0, 0, 0, 0, False)
        head = header(stamp_ns, f"{camera}_camera")
        info = new(
            "sensor_msgs/msg/CameraInfo", head, size, size, "plumb_bob", np.zeros(5), matrix,
            np.eye(3).reshape(-1), projection, 0, 0, region,
        )  # fmt: skip
        return f"/camera/{camera}/camera_info", info
