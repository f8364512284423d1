"""Actions from the path of a tool: what the safety filter, given them one by one, goes along again.

The rule is that of `octo_ros.safety.compose`, in the base frame and the order roll, pitch, yaw: position
plus translation, and the rotation Rz Ry Rx applied from the left.
"""

from __future__ import annotations

import numpy as np
from transforms3d.euler import mat2euler

LARGEST_TURN = 1.0
"""Largest norm of the angles of one step [rad]; beyond it the filter reads angles in another way."""

_AXES = "sxyz"  # roll, pitch, yaw about fixed axes, as transforms3d spells it


def pose_differences(positions: np.ndarray, rotations: np.ndarray) -> np.ndarray:
    """(T, 6) float64 translation [m] and roll, pitch, yaw [rad] from each pose to the next.

    Args:
        positions: (T + 1, 3) [m], in the base frame.
        rotations: (T + 1, 3, 3), tool to base.
    """
    turns = rotations[1:] @ np.swapaxes(rotations[:-1], 1, 2)
    angles = np.array([mat2euler(turn, _AXES) for turn in turns]).reshape(-1, 3)
    return np.concatenate((np.diff(positions, axis=0), angles), axis=1)


def tool_states(positions: np.ndarray, rotations: np.ndarray) -> np.ndarray:
    """(T, 6) position [m] and roll, pitch, yaw [rad] of poses (T, 3) and (T, 3, 3)."""
    angles = np.array([mat2euler(rotation, _AXES) for rotation in rotations]).reshape(-1, 3)
    return np.concatenate((positions, angles), axis=1)
