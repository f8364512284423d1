"""Finds the files that ship with the package: URDFs, configurations, the demo's data."""

from __future__ import annotations

from pathlib import Path

from octo_ros.errors import ParameterError

ROBOTS = ("fr3", "panda", "ur5e")
"""Robots whose URDF and configuration ship with the package."""


def share_path(name: str) -> Path:
    """Path of a shipped file or folder such as "urdf/fr3.urdf".

    Looks upward from this module: the source tree has the folders beside the package, an
    installation (colcon, pip or a ROS distribution's prefix) has them in share/octo_ros.

    Raises:
        ParameterError: the file is not part of this installation.
    """
    for parent in Path(__file__).resolve().parents:
        for root in (parent, parent / "share" / "octo_ros"):
            if (root / "package.xml").is_file() and (root / name).exists():
                return root / name
    raise ParameterError(
        f"{name}: not among the files installed with octo_ros beside {Path(__file__).parent}"
    )


def robot_urdf(robot: str) -> Path:
    """Path of a robot's URDF: one of `ROBOTS`, or a path to a URDF file.

    Raises:
        ParameterError: neither a shipped robot nor a file.
    """
    if robot in ROBOTS:
        return share_path(f"urdf/{robot}.urdf")
    path = Path(robot).expanduser()
    if not path.is_file():
        raise ParameterError(
            f"robot: expected one of {', '.join(ROBOTS)} or the path of a URDF file, got {robot!r}"
        )
    return path
