"""The simulated cell's state as ROS messages; `octo_ros.sim.bag_messages` builds the same for a bag."""

from __future__ import annotations

from array import array

import numpy as np
from geometry_msgs.msg import PoseStamped, TransformStamped
from sensor_msgs.msg import CameraInfo, Image, JointState
from transforms3d.quaternions import mat2quat

from octo_ros.nodes.messages import set_time
from octo_ros.sim.pinhole import pinhole
from octo_ros.sim.state import CellState


def joint_state(state: CellState, names: tuple[str, ...], stamp_ns: int) -> JointState:
    """Measured positions [rad] and velocities [rad/s]."""
    message = JointState(name=list(names))
    set_time(message.header.stamp, stamp_ns)
    message.position = array("d", state.joints)
    message.velocity = array("d", state.joint_velocities)
    return message


def tool_pose(state: CellState, frame: str, stamp_ns: int) -> PoseStamped:
    """Pose of the URDF's tip in the base frame."""
    message = PoseStamped()
    set_time(message.header.stamp, stamp_ns)
    message.header.frame_id = frame
    position, orientation = message.pose.position, message.pose.orientation
    position.x, position.y, position.z = state.tool_position.tolist()
    orientation.w, orientation.x, orientation.y, orientation.z = mat2quat(state.tool_rotation).tolist()
    return message


def transform(pose: PoseStamped, child: str) -> TransformStamped:
    """The same as a transform to the frame `child`."""
    message = TransformStamped(header=pose.header, child_frame_id=child)
    translation, position = message.transform.translation, pose.pose.position
    translation.x, translation.y, translation.z = position.x, position.y, position.z
    message.transform.rotation = pose.pose.orientation
    return message


def image(pixels: np.ndarray, camera: str, stamp_ns: int) -> Image:
    """A picture, (H, W, 3) uint8 RGB."""
    height, width = pixels.shape[:2]
    message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
    set_time(message.header.stamp, stamp_ns)
    message.header.frame_id = f"{camera}_camera"
    message.data = array("B", pixels.tobytes())
    return message


def camera_info(size: int, focal: float, camera: str, stamp_ns: int) -> CameraInfo:
    """A pinhole of that focal length [pixel] whose axis goes through the middle of a square picture."""
    message = CameraInfo(height=size, width=size, distortion_model="plumb_bob", d=[0.0] * 5)
    set_time(message.header.stamp, stamp_ns)
    message.header.frame_id = f"{camera}_camera"
    message.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    message.k, message.p = pinhole(size, focal)
    return message
