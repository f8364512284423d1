"""Bodies of collision geometry as a URDF states them, read strictly and without any library.

    <origin xyz="X Y Z" rpy="R P Y"/>
    <geometry>
      <box size="X Y Z"/> | <sphere radius="R"/> | <cylinder radius="R" length="L"/> |
      <capsule radius="R" length="L"/> | <mesh filename="URI" scale="X Y Z"/>
    </geometry>

Lengths are in metres, angles in radians. Cylinder and capsule lie along z; the length of a
capsule leaves out its round ends. Origin and scale may be left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np

from octo_ros.errors import RobotModelError
from octo_ros.safety.urdf import frozen, numbers, origin_pose

SIZES = {
    "box": (("size", 3),),
    "sphere": (("radius", 1),),
    "cylinder": (("radius", 1), ("length", 1)),
    "capsule": (("radius", 1), ("length", 1)),
}
"""Attributes of each kind of shape, and how many numbers each holds."""


@dataclass(frozen=True)
class Shape:
    """One body of collision geometry.

    Attributes:
        kind: "box", "sphere", "cylinder", "capsule" or "mesh".
        size: edges of a box (3,), (radius,) of a sphere, (radius, length) of a cylinder or
            capsule [m]; scale of a mesh along its axes (3,).
        pose: (4, 4) of the shape in its link, of an obstacle in the workspace frame [m].
        mesh: address of the mesh file as the URDF states it; empty for the other kinds.
    """

    kind: str
    size: np.ndarray
    pose: np.ndarray
    mesh: str = ""


@dataclass(frozen=True)
class Obstacle:
    """A body that stands still in the workspace frame, and that the arm must not touch."""

    name: str
    shape: Shape


def parse_shape(holder: Element, where: str) -> Shape:
    """The shape in a `collision` or `obstacle` element; RobotModelError says what is wrong with it."""
    geometries = holder.findall("geometry")
    if len(geometries) != 1 or len(geometries[0]) != 1:
        found = [child.tag for geometry in geometries for child in geometry]
        raise RobotModelError(f"{where}: expected one geometry with one shape, found {found}")
    element = geometries[0][0]
    pose = origin_pose(holder, where)
    if element.tag == "mesh":
        return _mesh(element, pose, where)
    if element.tag not in SIZES:
        known = ", ".join((*SIZES, "mesh"))
        raise RobotModelError(f"{where}: expected one of {known}, got {element.tag}")
    where = f"{where} {element.tag}"
    size = [numbers(element.get(key), f"{where} {key}", count) for key, count in SIZES[element.tag]]
    values = np.concatenate(size)
    if not np.all(values > 0.0):
        raise RobotModelError(f"{where}: sizes must be above zero, got {values.tolist()}")
    return Shape(element.tag, frozen(values), pose)


def _mesh(element: Element, pose: np.ndarray, where: str) -> Shape:
    address = element.get("filename", "").strip()
    if not address:
        raise RobotModelError(f'{where} mesh: attribute "filename" is missing or empty')
    scale = numbers(element.get("scale", "1 1 1"), f"{where} mesh scale", 3)
    if not np.all(scale):
        raise RobotModelError(f"{where} mesh scale: must not be zero, got {scale.tolist()}")
    return Shape("mesh", scale, pose, address)
