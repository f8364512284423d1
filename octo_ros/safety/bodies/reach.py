"""How far bodies of the arm can lie from the axes of its joints, over all postures.

A point at distance r from the axis of a revolute joint moves r metres per radian. The bounds
hold for every position of the revolute joints, and for prismatic joints within their limits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from octo_ros.safety.urdf import JointLimits


class Reach:
    """Bounds of distances along a chain of n joints.

    Body 0 stands still and joint j, from 1 to n, moves body j against body j - 1.
    """

    def __init__(self, placements: Sequence[np.ndarray], limits: Sequence[JointLimits]) -> None:
        """`placements`: n poses (4, 4) of joint j, at its zero position, in body j - 1."""
        self._axes = [limit.axis for limit in limits]
        self._placements = list(placements)
        self.prismatic = np.array([limit.unit == "m" for limit in limits])  # (n,)
        travel = np.array([max(abs(limit.lower), abs(limit.upper)) for limit in limits])
        self._travel = np.where(self.prismatic, travel, 0.0)  # (n,) [m]
        offsets = np.array([np.linalg.norm(placement[:3, 3]) for placement in placements])
        self._longest = offsets + self._travel  # (n,) of body j's origin from body j - 1's [m]

    def carried(self, joint: int, body: int, points: np.ndarray) -> float:
        """Most that points (m, 3) of `body`, from `joint` outwards, lie from the axis of `joint` [m]."""
        axis = self._axes[joint - 1]
        if body == joint:
            return _off_axis(points, axis)
        outer = _longest(points) + float(np.sum(self._longest[joint + 1 : body]))  # from joint + 1's origin
        offset = self._placements[joint][:3, 3]
        return _off_axis(offset[None], axis) + float(self._travel[joint]) + outer

    def holding(self, joint: int, body: int, points: np.ndarray) -> float:
        """Most that points (m, 3) of `body`, inwards of `joint`, lie from the axis of `joint` [m]."""
        placement = self._placements[joint - 1]
        axis, offset = placement[:3, :3] @ self._axes[joint - 1], placement[:3, 3]
        if body == joint - 1:
            return _off_axis(points - offset, axis)
        nearest = _longest(points - self._placements[body][:3, 3]) + float(self._travel[body])
        inner = nearest + float(np.sum(self._longest[body + 1 : joint - 1]))  # from joint - 1's origin
        return inner + _off_axis(offset[None], axis)


def _longest(points: np.ndarray) -> float:
    return float(np.max(np.linalg.norm(points, axis=1)))


def _off_axis(points: np.ndarray, axis: np.ndarray) -> float:
    """Most that points (m, 3) lie from the line through the origin along the unit vector `axis`."""
    return float(np.max(np.linalg.norm(np.cross(points, axis), axis=1)))
