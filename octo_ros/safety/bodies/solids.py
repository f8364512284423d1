"""Shapes as the collision library sees them.

coal finds the distance of polytopes, spheres and capsules exactly (1e-10), also below zero.
Of its curved cylinder it does not, so a cylinder is a prism of `SIDES` sides around it, half a
percent wider at its corners; and a mesh is its convex hull. Both reach no less far than the shape.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlparse

import numpy as np

from octo_ros.errors import RobotModelError
from octo_ros.safety.bodies.shapes import Shape
from octo_ros.safety.urdf import FAR

try:
    import coal
except ImportError:  # pinocchio older than 3.4 comes with coal under its former name
    import hppfcl as coal

EXACT_DEPTH = hasattr(coal.DistanceRequest, "epa_tolerance")
"""Whether the library finds how deep two solids overlap; hpp-fcl, before coal 3, does not."""

SIDES = 32
"""Sides of the prism around a cylinder."""

FLAT = 1e-3
"""Thickness below which a mesh counts as flat [m]. Qhull needs points that span a volume."""


@dataclass(frozen=True)
class Solid:
    """One body for coal, and points that bound it.

    Attributes:
        geometry: the body as coal has it, in its own frame.
        pose: (4, 4) of the body in its link or in the workspace frame.
        corners: (m, 3) points in the frame of `pose`'s parent [m].
        radius: the body lies within this distance of the corners' convex hull [m].
    """

    geometry: object
    pose: np.ndarray
    corners: np.ndarray
    radius: float


def solid(shape: Shape, where: str, folder: Path | None) -> Solid:
    """The body of a shape. `folder` is where the URDF lies, None where that is not known.

    RobotModelError where a mesh cannot be found or read; `where` names it in the message.
    """
    pose, radius = np.array(shape.pose), 0.0
    if shape.kind == "box":
        geometry = coal.Box(*shape.size.tolist())
        corners = _box_corners(-shape.size / 2.0, shape.size / 2.0)
    elif shape.kind == "sphere":
        radius = float(shape.size[0])
        geometry, corners = coal.Sphere(radius), np.zeros((1, 3))
    elif shape.kind == "capsule":
        radius, length = shape.size.tolist()
        geometry = coal.Capsule(radius, length)
        corners = np.array([[0.0, 0.0, -length / 2.0], [0.0, 0.0, length / 2.0]])
    elif shape.kind == "cylinder":
        geometry, corners = _prism(*shape.size.tolist())
    else:
        vertices = _mesh_vertices(find_mesh(shape.mesh, where, folder), shape.size, where)
        geometry, inner, corners = _hull(vertices)
        pose = pose @ inner
    corners = corners @ pose[:3, :3].T + pose[:3, 3]
    if not np.abs(corners).max() + radius < FAR:
        raise RobotModelError(f"{where}: the {shape.kind} does not lie within {FAR:g} m")
    return Solid(geometry, pose, corners, radius)


def find_mesh(address: str, where: str, folder: Path | None) -> Path:
    """The file of a mesh: package://, file://, or a path, relative to the folder of the URDF.

    Packages are looked for in the ament index, in AMENT_PREFIX_PATH and in ROS_PACKAGE_PATH.
    RobotModelError names the address and where was looked.
    """
    kind, separator, rest = address.partition("://")
    if not separator:
        path = Path(address)
        if not path.is_absolute() and folder is None:
            raise RobotModelError(
                f"{where} mesh {address}: a relative path, and the URDF came without a folder it starts from"
            )
        candidates = [path if folder is None else folder / path]
    elif kind == "file":
        candidates = [Path(unquote(urlparse(address).path))]
    elif kind == "package":
        package, _, inside = rest.partition("/")
        candidates = [share / inside for share in _package_folders(package)]
    else:
        raise RobotModelError(f"{where} mesh {address}: expected package://, file:// or a path")
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    looked = "nowhere: AMENT_PREFIX_PATH and ROS_PACKAGE_PATH are not set"
    if candidates:
        looked = f"at {', '.join(map(str, candidates))}"
    raise RobotModelError(f"{where} mesh {address}: no such file; looked {looked}")


def _package_folders(package: str) -> list[Path]:
    """Where the files of a ROS package may lie, likeliest first."""
    folders = []
    try:
        from ament_index_python.packages import get_package_share_directory

        folders.append(Path(get_package_share_directory(package)))
    except (ImportError, LookupError, ValueError, OSError):  # no ROS here, or no such package
        pass
    for variable, inside in (("AMENT_PREFIX_PATH", "share"), ("ROS_PACKAGE_PATH", "")):
        for prefix in filter(None, os.environ.get(variable, "").split(os.pathsep)):
            folders.append(Path(prefix) / inside / package)
            if not inside and Path(prefix).name == package:
                folders.append(Path(prefix))
    return list(dict.fromkeys(folders))


def _mesh_vertices(path: Path, scale: np.ndarray, where: str) -> np.ndarray:
    """(m, 3) vertices of a mesh file [m]."""
    try:
        mesh = coal.MeshLoader().load(str(path), np.array(scale))
        vertices = np.array(mesh.vertices(), dtype=float).reshape(-1, 3)
    except (RuntimeError, ValueError) as error:
        raise RobotModelError(f"{where} mesh {path}: cannot read it: {_reason(error)}") from None
    if not len(vertices):
        raise RobotModelError(f"{where} mesh {path}: holds no vertices")
    if not np.abs(vertices).max() < FAR:
        raise RobotModelError(f"{where} mesh {path}: a vertex is not within {FAR:g} m")
    return vertices


def _reason(error: Exception) -> str:
    """The lines of coal's message that say what is wrong with a file."""
    lines = [line.strip().removeprefix("message: ") for line in str(error).splitlines()]
    noise = ("From file:", "in function:", "at line:", "Could not load", "Hint:")
    return "; ".join(line for line in lines if line and not line.startswith(noise))


def _hull(vertices: np.ndarray) -> tuple[object, np.ndarray, np.ndarray]:
    """The convex hull of points (m, 3): coal's body, its pose (4, 4), and its corners (c, 3) in that pose.

    A flat mesh becomes a thin plate. Where coal was built without Qhull, the box along the
    principal axes stands for the hull.
    """
    spread = vertices - vertices.mean(axis=0)
    axes = np.linalg.eigh(spread.T @ spread)[1].T
    for axis, extent in zip(axes, np.ptp(vertices @ axes.T, axis=0), strict=True):
        if extent < FLAT:
            vertices = np.vstack((vertices - FLAT * axis, vertices + FLAT * axis))
    mesh = coal.BVHModelOBBRSS()
    mesh.beginModel(1, len(vertices))
    mesh.addVertices(vertices)
    mesh.addTriangle(*vertices[:3])
    mesh.endModel()
    try:
        mesh.buildConvexHull(False, "Qt")
        corners = [mesh.convex.point(index) for index in range(mesh.convex.num_points)]
        return mesh.convex, np.eye(4), np.array(corners).reshape(-1, 3)
    except (RuntimeError, ValueError):
        return _principal_box(vertices, axes)


def _principal_box(vertices: np.ndarray, axes: np.ndarray) -> tuple[object, np.ndarray, np.ndarray]:
    """As `_hull`, the box around points (m, 3) along the rows of `axes` (3, 3)."""
    turned = vertices @ axes.T
    low, high = turned.min(axis=0), turned.max(axis=0)
    pose = np.eye(4)
    axes = axes * np.array([[1.0], [1.0], [np.linalg.det(axes)]])  # right-handed; a box is its own mirror
    pose[:3, :3], pose[:3, 3] = axes.T, (low + high) / 2.0 @ axes
    return coal.Box(*(high - low).tolist()), pose, _box_corners((low - high) / 2.0, (high - low) / 2.0)


def _prism(radius: float, length: float) -> tuple[object, np.ndarray]:
    """The prism around a cylinder along z: coal's body and its corners (2 SIDES, 3)."""
    angles = 2.0 * math.pi * np.arange(SIDES) / SIDES
    rim = radius / math.cos(math.pi / SIDES) * np.column_stack((np.cos(angles), np.sin(angles)))
    corners = np.vstack([np.column_stack((rim, np.full(SIDES, z))) for z in (-length / 2.0, length / 2.0)])
    points = getattr(coal, "StdVec_Vec3s", None) or coal.StdVec_Vec3f
    vertices, faces = points(), coal.StdVec_Triangle()
    for corner in corners:
        vertices.append(corner)
    for side in range(SIDES):
        after = (side + 1) % SIDES
        faces.append(coal.Triangle(side, after, SIDES + after))
        faces.append(coal.Triangle(side, SIDES + after, SIDES + side))
        if 0 < side < SIDES - 1:
            faces.append(coal.Triangle(0, after, side))
            faces.append(coal.Triangle(SIDES, SIDES + side, SIDES + after))
    return coal.Convex(vertices, faces), corners


def _box_corners(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """(8, 3) corners of a box."""
    return np.array(np.meshgrid(*zip(low, high, strict=True), indexing="ij")).reshape(3, 8).T
