"""What is true in the simulated cell at one instant: robot, gripper and cubes, in the base frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

CUBE_M = 0.042
"""Edge of a cube [m]."""

RESTING_M = CUBE_M / 2.0
"""Height of the centre of a cube that lies on the table; the table's top is at 0 in the base frame [m]."""


@dataclass(frozen=True)
class Cube:
    """Where a cube is.

    Attributes:
        position: (3,) of its centre, base frame [m].
        yaw: of one of its sides about the vertical [rad]; the sides repeat every quarter turn.
    """

    position: np.ndarray
    yaw: float


@dataclass(frozen=True)
class CellState:
    """The cell at one instant.

    Attributes:
        time_ns: simulated time since the last reset [ns].
        joints: (n,) measured joint positions, in the URDF's order [rad].
        joint_velocities: (n,) [rad/s].
        tool_position: (3,) of the URDF's tip in the base frame [m].
        tool_rotation: (3, 3) of the URDF's tip in the base frame.
        grasp_position: (3,) point between the fingers in the base frame [m]. The Panda's tip is that
            point; the UR5e's, which has no gripper in its URDF, is the flange above it.
        finger_yaw: direction in which the fingers move, about the vertical [rad].
        opening: measured between the fingers, 0 closed on nothing to 1 open.
        cubes: colour to cube.
    """

    time_ns: int
    joints: np.ndarray
    joint_velocities: np.ndarray
    tool_position: np.ndarray
    tool_rotation: np.ndarray
    grasp_position: np.ndarray
    finger_yaw: float
    opening: float
    cubes: Mapping[str, Cube]
