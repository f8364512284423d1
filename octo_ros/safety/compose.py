"""What a delta action means: a velocity of the tool, and where that takes a target pose."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pinocchio
from transforms3d.euler import euler2mat

from octo_ros.safety.decision import Refusal, ToolDelta
from octo_ros.safety.options import FilterOptions

SPEED_SHARE = 0.999
"""Share of a tool speed limit that a faster action is slowed to: the path bends, and must stay below."""

ROUNDING = 1e-9
"""Relative excess of a speed that is not one."""

_EULER_AXES = {"rpy": "sxyz", "ypr": "rxyz"}  # as transforms3d spells them

_LARGEST = 1e6
"""Size to which a value is cut before it is squared; every real action is far below it."""


@dataclass(frozen=True)
class Pose:
    """Where the tool is, in the workspace frame: position (3,) [m], rotation (3, 3)."""

    position: np.ndarray
    rotation: np.ndarray


def tool_velocity(action: ToolDelta, options: FilterOptions) -> np.ndarray:
    """(6,) linear [m/s] and angular [rad/s] velocity that an action asks for, in the action's axes.

    The delta is one step at the rate of the data set, so the velocity is delta times that rate.
    """
    translation = _cut(action.translation)
    rotation = rotation_vector(_cut(action.rotation), options.rotation_order)
    return np.concatenate((translation, rotation)) * options.data_rate_hz


def slowed(velocity: np.ndarray, options: FilterOptions) -> tuple[np.ndarray, list[Refusal]]:
    """`velocity` (6,) scaled as a whole to the tool's speed limits, direction kept, and what was over."""
    refusals, scale = [], 1.0
    for name, part, bound, unit in (
        ("tool speed", velocity[:3], options.max_tool_speed, "m/s"),
        ("tool rotation speed", velocity[3:], options.max_tool_rotation_speed, "rad/s"),
    ):
        speed = float(np.linalg.norm(part))
        if speed > bound * (1.0 + ROUNDING):
            refusals.append(Refusal(name, speed, bound, unit))
            scale = min(scale, SPEED_SHARE * bound / speed)
    return velocity * scale, refusals


def moved(pose: Pose, displacement: np.ndarray, frame: str) -> Pose:
    """`pose` after a displacement (6,) [m, rad] in "base" or "tool" axes; rotation is about the tool."""
    turn = pinocchio.exp3(displacement[3:])
    if frame == "tool":
        position, rotation = pose.position + pose.rotation @ displacement[:3], pose.rotation @ turn
    else:
        position, rotation = pose.position + displacement[:3], turn @ pose.rotation
    return Pose(position, _straightened(rotation))


def rotation_vector(angles: np.ndarray, order: str) -> np.ndarray:
    """(3,) rotation vector [rad] of roll, pitch, yaw `angles` (3,) [rad].

    "rpy" is roll, then pitch, then yaw about fixed axes (Rz Ry Rx); "ypr" is yaw first
    (Rx Ry Rz). Beyond one radian the direction is that of the angles scaled to one radian, so
    that a huge rotation is huge instead of wrapped around.
    """
    size = max(1.0, float(np.linalg.norm(angles)))
    roll, pitch, yaw = angles / size
    matrix = euler2mat(roll, pitch, yaw, axes=_EULER_AXES[order])
    return np.array(pinocchio.log3(matrix)) * size


def pose_error(pose: Pose, target: Pose) -> np.ndarray:
    """(6,) displacement [m, rad] from `pose` to `target`, axes of the workspace frame."""
    rotation = pinocchio.log3(target.rotation @ pose.rotation.T)
    return np.concatenate((target.position - pose.position, rotation))


def quaternion_xyzw(rotation: np.ndarray) -> np.ndarray:
    """(4,) unit quaternion x y z w of a rotation (3, 3), w not negative."""
    quaternion = pinocchio.SE3ToXYZQUAT(pinocchio.SE3(rotation, np.zeros(3)))[3:]
    return quaternion * (math.copysign(1.0, quaternion[3]) / math.sqrt(quaternion @ quaternion))


def _straightened(rotation: np.ndarray) -> np.ndarray:
    """`rotation` (3, 3) without what rounding adds to it: a rotation however often it is turned."""
    placement = np.concatenate((np.zeros(3), quaternion_xyzw(rotation)))
    return np.array(pinocchio.XYZQUATToSE3(placement).rotation)


def _cut(vector: np.ndarray) -> np.ndarray:
    """A finite vector (3,) scaled down to `_LARGEST`, direction kept."""
    vector = np.asarray(vector, dtype=float)
    largest = float(np.max(np.abs(vector)))
    return vector if largest <= _LARGEST else vector * (_LARGEST / largest)
