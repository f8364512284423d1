"""The camera of the simulated cell as sensor_msgs/CameraInfo describes one."""

from __future__ import annotations


def pinhole(size: int, focal: float) -> tuple[list[float], list[float]]:
    """Rows of the matrices K (3, 3) and P (3, 4) of a square picture whose axis goes through its middle.

    Args:
        size: side of the picture [pixel].
        focal: length [pixel].
    """
    middle = size / 2.0
    return (
        [focal, 0.0, middle, 0.0, focal, middle, 0.0, 0.0, 1.0],
        [focal, 0.0, middle, 0.0, 0.0, focal, middle, 0.0, 0.0, 0.0, 1.0, 0.0],
    )
