"""Paths of a tool from actions: what `octo_ros.rlds.actions.pose_differences` must undo."""

from __future__ import annotations

import numpy as np
from transforms3d.euler import euler2mat


def composed(position: np.ndarray, rotation: np.ndarray, deltas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Poses along some differences, from a first pose on: what `pose_differences` undoes.

    Args:
        position: (3,) [m]. rotation: (3, 3). deltas: (T, 6) [m, rad].

    Returns:
        positions (T + 1, 3) [m] and rotations (T + 1, 3, 3).
    """
    positions, rotations = [np.asarray(position, float)], [np.asarray(rotation, float)]
    for delta in np.asarray(deltas, float):
        positions.append(positions[-1] + delta[:3])
        rotations.append(euler2mat(*delta[3:6], axes="sxyz") @ rotations[-1])
    return np.stack(positions), np.stack(rotations)
