"""What can touch: the links of a robot that have collision geometry, and declared obstacles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from octo_ros.safety.bodies.shapes import Obstacle, parse_shape
from octo_ros.safety.bodies.solids import Solid, solid


@dataclass(frozen=True)
class Place:
    """Where a link is held: by which of the arm's joints, and how.

    Attributes:
        body: number of the arm's joints that move the link; 0 stands still.
        pose: (4, 4) of the link in the frame of the last of those joints, in the workspace
            frame for body 0 [m].
        is_spine: whether the link lies on the way from the root to the tip.
    """

    body: int
    pose: np.ndarray
    is_spine: bool


@dataclass(frozen=True)
class Part:
    """A link with geometry, or an obstacle; solids have the same frame as the pose of `place`."""

    name: str
    place: Place
    solids: tuple[Solid, ...]
    is_obstacle: bool = False


def link_parts(root: Element, places: Mapping[str, Place], source: str, folder: Path | None) -> list[Part]:
    """The links of a URDF that have collision geometry.

    `folder` is where the URDF lies, None where that is not known. RobotModelError names the link
    whose geometry cannot be used.
    """
    parts = []
    for link in root.findall("link"):
        name = link.get("name", "")
        where, place = f"{source}: link {name} collision", places[name]
        shapes = [parse_shape(element, where) for element in link.findall("collision")]
        shapes = [replace(shape, pose=place.pose @ shape.pose) for shape in shapes]
        if shapes:
            parts.append(Part(name, place, tuple(solid(shape, where, folder) for shape in shapes)))
    return parts


def obstacle_parts(obstacles: Sequence[Obstacle], source: str, folder: Path | None) -> list[Part]:
    """The obstacles; RobotModelError as `link_parts`."""
    parts = []
    for obstacle in obstacles:
        body = solid(obstacle.shape, f"{source}: octo_safety obstacle {obstacle.name}", folder)
        parts.append(Part(f"obstacle {obstacle.name}", Place(0, np.eye(4), False), (body,), True))
    return parts


def bare_joints(parts: Sequence[Part], joint_names: Sequence[str]) -> str:
    """One line about joints none of whose own links has geometry; empty where each has some."""
    bodies = {part.place.body for part in parts}
    bare = [name for body, name in enumerate(joint_names, start=1) if body not in bodies]
    if not bare:
        return ""
    if len(bare) == len(joint_names):
        return "no moving link has collision geometry: distances are not checked"
    return f"no collision geometry on the links after {', '.join(bare)}: their distances are not checked"
