"""What the safety filter keeps and where it is going, as markers for RViz in the workspace frame.

Namespaces: `workspace` (as declared, thin), `kept` (less margins and parameters), `zone`, `obstacle`,
`asked` and `target` (orange and green), `violated` (red: a wall, a joint or a pair of bodies), `state`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import product

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from octo_ros.safety.bodies.shapes import Shape
from octo_ros.safety.compose import Pose, quaternion_xyzw
from octo_ros.safety.decision import Refusal
from octo_ros.safety.filter import SafetyFilter
from octo_ros.safety.robot import Robot
from octo_ros.safety.urdf import Tree, parse_robot

GREY, GREEN, BLUE = (0.6, 0.6, 0.6, 0.8), (0.1, 0.7, 0.3, 1.0), (0.2, 0.4, 0.9, 0.8)
ORANGE, RED, WALL = (1.0, 0.55, 0.0, 0.9), (0.9, 0.1, 0.1, 0.9), (0.9, 0.1, 0.1, 0.35)
SOLID, WHITE = (0.5, 0.4, 0.3, 0.5), (1.0, 1.0, 1.0, 1.0)
"""Colours: red, green, blue, opacity."""

THIN, THICK, DOT, TEXT = 0.002, 0.006, 0.025, 0.03
"""Widths of lines and walls, diameter of a point, height of letters [m]."""

LIFETIME = Duration(sec=1)
"""A marker that is not sent again vanishes after this."""

PLAIN_KINDS = {"box": Marker.CUBE, "sphere": Marker.SPHERE, "cylinder": Marker.CYLINDER}

Corners = tuple[np.ndarray, np.ndarray]
"""Lower and upper corner (3,) of a box [m]."""


class SafetyMarkers:
    """The markers of one robot.

    Args:
        robot: whose workspace, zones and obstacles are drawn; used while `array` runs.
        urdf: its URDF's text, for the link that each joint moves.
    """

    def __init__(self, robot: Robot, urdf: str) -> None:
        self._robot = robot
        box = robot.workspace
        chain = Tree(parse_robot(urdf, robot.source), robot.source).chain(box.frame, box.tip)
        self._moved = {joint.get("name"): joint.find("child").get("link") for joint in chain}

    def array(self, safety: SafetyFilter, state: str, reasons: Sequence[Refusal]) -> MarkerArray:
        """Everything there is to show.

        Args:
            safety: the robot's filter.
            state: a line of text.
            reasons: limits to mark.
        """
        joints = safety.commanded
        kept = self._kept(safety)
        markers = [
            _edges("workspace", (self._robot.workspace.minimum, self._robot.workspace.maximum), GREY, THIN),
            _edges("kept", kept[""], GREEN, THIN),
            *(_edges("zone", kept[zone.link], BLUE, THIN) for zone in self._robot.zones),
        ]
        for obstacle in self._robot.obstacles:
            markers += _solid(obstacle.shape)
        if joints is not None:
            markers += [
                _dot("zone", self._robot.link_position(joints, zone.link), BLUE) for zone in self._robot.zones
            ]
        for namespace, pose, colour in (("asked", safety.asked, ORANGE), ("target", safety.target, GREEN)):
            if pose is not None:
                markers += [_dot(namespace, pose.position, colour), _axes(namespace, pose)]
        for refusal in reasons:
            markers += self._violated(refusal, kept, joints)
        low, high = kept[""]
        above = safety.target.position if safety.target else np.append((low + high)[:2] / 2.0, high[2])
        markers.append(_text(state, above + (0.0, 0.0, 3.0 * TEXT)))
        return self._finished(markers)

    def _kept(self, safety: SafetyFilter) -> dict[str, Corners]:
        """The box in which the origin of each link with a zone is kept; "" for the tip."""
        options, inset = safety.options, safety.options.box_inset
        box = self._robot.workspace.tightened(options.workspace_min, options.workspace_max)
        kept = {zone.link: (zone.minimum + inset, zone.maximum - inset) for zone in self._robot.zones}
        return {"": (box.minimum + inset, box.maximum - inset), **kept}

    def _violated(
        self, refusal: Refusal, kept: Mapping[str, Corners], joints: np.ndarray | None
    ) -> list[Marker]:
        """Where a limit is; nothing for one that is nowhere, as a time."""
        limit = refusal.limit
        wall = re.fullmatch(r"(?:workspace ([xyz]) in .*|zone ([xyz]) of (.*))", limit)
        if wall:
            axis, link = wall[1] or wall[2], wall[3] or ""
            return [_wall(kept[link], "xyz".index(axis), refusal.bound)] if link in kept else []
        if joints is None:
            return []
        pair = re.fullmatch(r"clearance (.*) - (.*)", limit)
        if pair:
            try:
                ends = [self._body(name, joints) for name in pair.groups()]
            except KeyError:  # links whose names have " - " in them
                return []
            return [_lines("violated", ends, RED, THICK), *(_dot("violated", end, RED) for end in ends)]
        link = self._moved.get(limit.rpartition(" ")[2])
        return (
            [] if link is None else [_dot("violated", self._robot.link_position(joints, link), RED, 3 * DOT)]
        )

    def _body(self, name: str, joints: np.ndarray) -> np.ndarray:
        """(3,) where a link or "obstacle NAME" is [m]."""
        for obstacle in self._robot.obstacles:
            if name == f"obstacle {obstacle.name}":
                return obstacle.shape.pose[:3, 3]
        return self._robot.link_position(joints, name)

    def _finished(self, markers: list[Marker]) -> MarkerArray:
        """Frame, lifetime and number of each; without a stamp, so that the newest transform is taken."""
        numbers: Counter[str] = Counter()
        for marker in markers:
            marker.header.frame_id, marker.frame_locked = self._robot.workspace.frame, True
            marker.id, marker.lifetime = numbers[marker.ns], LIFETIME
            numbers[marker.ns] += 1
        return MarkerArray(markers=markers)


def _edges(namespace: str, box: Corners, colour: Sequence[float], width: float) -> Marker:
    """The twelve edges of a box."""
    corners = list(product(*zip(*box, strict=True)))
    ends = [
        corner
        for pair in product(corners, corners)
        if pair < pair[::-1] and sum(a != b for a, b in zip(*pair, strict=True)) == 1
        for corner in pair
    ]
    return _lines(namespace, ends, colour, width)


def _lines(namespace: str, ends: Sequence[Sequence[float]], colour: Sequence[float], width: float) -> Marker:
    """A line between each two of `ends`."""
    marker = _marker(namespace, Marker.LINE_LIST, colour, (width, 0.0, 0.0))
    marker.points = [_point(end) for end in ends]
    return marker


def _wall(box: Corners, axis: int, bound: float) -> Marker:
    """The side of a box across `axis` that lies nearest to `bound` [m]."""
    low, high = box
    centre, size = (low + high) / 2.0, high - low
    centre[axis] = min(low[axis], high[axis], key=lambda side: abs(side - bound))
    size[axis] = THIN
    return _marker("violated", Marker.CUBE, WALL, size, centre)


def _dot(namespace: str, position: np.ndarray, colour: Sequence[float], size: float = DOT) -> Marker:
    return _marker(namespace, Marker.SPHERE, colour, (size, size, size), position)


def _axes(namespace: str, pose: Pose) -> Marker:
    """The axes of a pose: x red, y green, z blue."""
    marker = _lines(namespace, [], WHITE, THIN)
    for axis, colour in enumerate((RED, GREEN, BLUE)):
        marker.points += [_point(pose.position), _point(pose.position + 3.0 * DOT * pose.rotation[:, axis])]
        marker.colors += [_colour(colour)] * 2
    return marker


def _text(text: str, position: np.ndarray) -> Marker:
    marker = _marker("state", Marker.TEXT_VIEW_FACING, WHITE, (0.0, 0.0, TEXT), position)
    marker.text = text
    return marker


def _solid(shape: Shape) -> list[Marker]:
    """An obstacle; a mesh only where its address is one that RViz can open."""
    if shape.kind == "mesh":
        marker = _marker("obstacle", Marker.MESH_RESOURCE, SOLID, shape.size, pose=shape.pose)
        marker.mesh_resource = shape.mesh
        return [marker] if "://" in shape.mesh else []
    if shape.kind == "capsule":
        radius, length = shape.size
        ends = [shape.pose @ (0.0, 0.0, z, 1.0) for z in (-length / 2.0, length / 2.0)]
        middle = _marker("obstacle", Marker.CYLINDER, SOLID, _round(radius, length), pose=shape.pose)
        return [middle, *(_dot("obstacle", end[:3], SOLID, 2.0 * radius) for end in ends)]
    sizes: dict[str, Callable[..., Sequence[float]]] = {
        "box": lambda *size: size,
        "sphere": lambda radius: _round(radius, 2.0 * radius),
        "cylinder": _round,
    }
    size = sizes[shape.kind](*shape.size)
    return [_marker("obstacle", PLAIN_KINDS[shape.kind], SOLID, size, pose=shape.pose)]


def _round(radius: float, length: float) -> tuple[float, float, float]:
    return 2.0 * radius, 2.0 * radius, length


def _marker(
    namespace: str,
    kind: int,
    colour: Sequence[float],
    size: Sequence[float],
    position: Sequence[float] = (0.0, 0.0, 0.0),
    pose: np.ndarray | None = None,
) -> Marker:
    """A marker at a position (3,) or, turned as well, at a pose (4, 4)."""
    marker = Marker(ns=namespace, type=kind, action=Marker.ADD, color=_colour(colour))
    marker.scale.x, marker.scale.y, marker.scale.z = map(float, size)
    turn = (0.0, 0.0, 0.0, 1.0)
    if pose is not None:
        position, turn = pose[:3, 3], quaternion_xyzw(pose[:3, :3])
    marker.pose.position = _point(position)
    orientation = marker.pose.orientation
    orientation.x, orientation.y, orientation.z, orientation.w = map(float, turn)
    return marker


def _point(position: Sequence[float]) -> Point:
    x, y, z = map(float, position)
    return Point(x=x, y=y, z=z)


def _colour(colour: Sequence[float]) -> ColorRGBA:
    r, g, b, a = colour
    return ColorRGBA(r=r, g=g, b=b, a=a)
