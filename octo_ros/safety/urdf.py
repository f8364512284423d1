"""Reads the tree of links and joints of a URDF, strictly, before any library guesses.

Libraries turn a missing limit into infinity or zero in silence, so the limits of the joints
that matter are read here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from xml.etree import ElementTree
from xml.etree.ElementTree import Element
from xml.parsers import expat

import numpy as np

from octo_ros.errors import RobotModelError

MOVABLE = {"revolute": "rad", "prismatic": "m"}
"""Joint types that can be limited, and the unit of their position."""

FAR = 1e4
"""No part of a robot lies further out than this; beyond it positions lose their digits [m]."""


@dataclass(frozen=True)
class JointLimits:
    """Limits of one joint as the URDF states them: positions [rad or m], velocity [rad/s or m/s].

    `axis` (3,) is the unit vector along the joint's axis, in the frame of the joint.
    """

    name: str
    lower: float
    upper: float
    velocity: float
    unit: str
    axis: np.ndarray


def parse_robot(xml: str, source: str) -> Element:
    """The root element of a URDF. RobotModelError where it is not one robot in plain XML.

    Namespace prefixes need not be declared (tools leave such URDFs behind, and urdfdom
    reads them); a document type is refused, since entities can expand without bound.
    """
    if not isinstance(xml, str) or not xml.strip():
        raise RobotModelError(f"{source}: expected the text of a URDF, got {_kind(xml)}")
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate()
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data

    def refuse_doctype(*_: object) -> None:
        raise RobotModelError(f"{source}: a URDF must not declare a document type (DOCTYPE)")

    parser.StartDoctypeDeclHandler = refuse_doctype
    try:
        parser.Parse(xml, True)
    except (expat.ExpatError, ValueError) as error:
        raise RobotModelError(f"{source}: not XML: {error}") from None
    root = builder.close()
    if root.tag != "robot":
        raise RobotModelError(f"{source}: expected the root element robot, got {root.tag}")
    for element in root.iter():
        if element.tag.startswith("xacro:"):
            raise RobotModelError(f"{source}: holds {element.tag}: expand it with xacro first")
    return root


class Tree:
    """Links and joints of one robot, with the joint that holds each link."""

    def __init__(self, robot: Element, source: str) -> None:
        self.source = source
        self.links = [self._name(link) for link in robot.findall("link")]
        self._holder: dict[str, Element] = {}  # child link -> its joint
        self._check_unique("link", self.links)
        self._check_unique("joint", [self._name(joint) for joint in robot.findall("joint")])
        for joint in robot.findall("joint"):
            origin_pose(joint, f"{source}: joint {joint.get('name')}")
            parent, child = self._end(joint, "parent"), self._end(joint, "child")
            for link in (parent, child):
                if link not in self.links:
                    raise RobotModelError(f"{source}: joint {joint.get('name')}: there is no link {link!r}")
            if child in self._holder:
                raise RobotModelError(f"{source}: link {child} is held by two joints")
            self._holder[child] = joint

    def chain(self, frame: str, tip: str) -> list[Element]:
        """The movable joints from the link `frame` to the link `tip`, in order.

        The frame may sit on a branch of its own (a table beside the arm) as long as no joint
        moves it against the chain.
        """
        for key, link in (("frame", frame), ("tip", tip)):
            if link not in self.links:
                raise RobotModelError(
                    f"{self.source}: octo_safety workspace {key} {link!r} is no link of the robot; "
                    f"links: {', '.join(self.links)}"
                )
        if self._root(frame) != self._root(tip):
            raise RobotModelError(f"{self.source}: links {frame} and {tip} are not connected")
        above_frame, above_tip = self._ancestors(frame), self._ancestors(tip)
        shared = {id(joint) for joint in above_frame} & {id(joint) for joint in above_tip}
        for joint in _movable(above_frame, shared):
            raise RobotModelError(
                f"{self.source}: joint {joint.get('name')} moves the workspace frame {frame} against the arm"
            )
        chain = _movable(above_tip, shared)[::-1]
        if not chain:
            raise RobotModelError(f"{self.source}: no movable joint lies between {frame} and {tip}")
        return chain

    def bodies(self, chain: list[Element]) -> dict[str, int]:
        """For each link the number of the chain's joints that move it: 0 stands still, n follows all n."""
        number = {id(joint): index for index, joint in enumerate(chain, start=1)}
        return {
            link: max((number.get(id(joint), 0) for joint in self._ancestors(link)), default=0)
            for link in self.links
        }

    def path(self, link: str) -> set[str]:
        """`link` and every link above it, up to the root."""
        return {link, *(self._end(joint, "parent") for joint in self._ancestors(link))}

    def _ancestors(self, link: str) -> list[Element]:
        """Joints from `link` up to the root."""
        joints: list[Element] = []
        while link in self._holder:
            joints.append(self._holder[link])
            link = self._end(joints[-1], "parent")
            if len(joints) > len(self._holder):
                raise RobotModelError(f"{self.source}: the joints above link {link} form a loop")
        return joints

    def _root(self, link: str) -> str:
        above = self._ancestors(link)
        return self._end(above[-1], "parent") if above else link

    def _end(self, joint: Element, side: str) -> str:
        element = joint.find(side)
        link = None if element is None else element.get("link")
        if not link:
            raise RobotModelError(f"{self.source}: joint {joint.get('name')}: no {side} link")
        return link

    def _name(self, element: Element) -> str:
        name = element.get("name")
        if not name:
            raise RobotModelError(f"{self.source}: a {element.tag} has no name")
        return name

    def _check_unique(self, kind: str, names: list[str]) -> None:
        for name in names:
            if names.count(name) > 1:
                raise RobotModelError(f"{self.source}: two {kind}s are named {name}")


def joint_limits(joint: Element, source: str) -> JointLimits:
    """Limits of a movable joint. RobotModelError names the joint and the limit that cannot be used."""
    name, kind = joint.get("name", ""), joint.get("type")
    where = f"{source}: joint {name}"
    if kind == "continuous":
        raise RobotModelError(f"{where}: position limit missing (the joint is continuous)")
    if kind not in MOVABLE:
        raise RobotModelError(f"{where}: expected revolute or prismatic, got type {kind!r}")
    if joint.find("mimic") is not None:
        raise RobotModelError(f"{where}: mimics another joint; a joint of the arm must move by itself")
    axis = joint.find("axis")
    direction = np.array([1.0, 0.0, 0.0]) if axis is None else numbers(axis.get("xyz"), f"{where} axis", 3)
    if not np.any(direction):
        raise RobotModelError(f"{where}: the axis is zero")
    limits = joint.findall("limit")
    if len(limits) != 1:
        raise RobotModelError(f"{where}: expected one limit element, found {len(limits)}: limit missing")
    values = {key: _limit(limits[0], key, where) for key in ("lower", "upper", "velocity")}
    if not values["lower"] < values["upper"]:
        lower, upper = values["lower"], values["upper"]
        raise RobotModelError(f"{where}: lower limit {lower:g} is not below upper limit {upper:g}")
    if kind == "prismatic" and not max(-values["lower"], values["upper"]) < FAR:
        raise RobotModelError(f"{where}: a position limit is not within {FAR:g} m")
    if not values["velocity"] > 0.0:
        raise RobotModelError(f"{where}: velocity limit must be above zero, got {values['velocity']:g}")
    direction = direction / np.max(np.abs(direction))
    unit_axis = frozen(direction / np.linalg.norm(direction))
    return JointLimits(name, values["lower"], values["upper"], values["velocity"], MOVABLE[kind], unit_axis)


def numbers(text: str | None, where: str, count: int | None) -> np.ndarray:
    """(count,) finite numbers separated by spaces, read-only; one or more where `count` is None."""
    expected = "numbers" if count is None else f"{count} numbers"
    if text is None:
        raise RobotModelError(f"{where}: expected {expected}, the attribute is missing")
    try:
        values = [float(word) for word in text.split()]
    except ValueError:
        values = []
    if not values or (count is not None and len(values) != count):
        raise RobotModelError(f"{where}: expected {expected}, got {text!r}")
    if not all(math.isfinite(value) for value in values):
        raise RobotModelError(f"{where}: expected finite numbers, got {text!r}")
    return frozen(np.array(values))


def origin_pose(holder: Element, where: str) -> np.ndarray:
    """(4, 4) pose that the `origin` of an element states, identity where it has none [m]."""
    origins = holder.findall("origin")
    if len(origins) > 1:
        raise RobotModelError(f"{where}: expected one origin, found {len(origins)}")
    pose = np.eye(4)
    if origins:
        values = [numbers(origins[0].get(key, "0 0 0"), f"{where} origin {key}", 3) for key in ("xyz", "rpy")]
        (roll, pitch, yaw), pose[:3, 3] = values[1], values[0]
        turns = (_turn(0, roll), _turn(1, pitch), _turn(2, yaw))
        pose[:3, :3] = turns[2] @ turns[1] @ turns[0]
    return frozen(pose)


def frozen(array: np.ndarray) -> np.ndarray:
    """A read-only copy."""
    copy = np.array(array, dtype=float)
    copy.flags.writeable = False
    return copy


def _turn(axis: int, angle: float) -> np.ndarray:
    """(3, 3) rotation by `angle` [rad] about the axis x, y or z."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    turn = np.eye(3)
    turn[first, first] = turn[second, second] = math.cos(angle)
    turn[second, first] = math.sin(angle)
    turn[first, second] = -turn[second, first]
    return turn


def _movable(joints: list[Element], without: set[int]) -> list[Element]:
    return [joint for joint in joints if id(joint) not in without and joint.get("type") != "fixed"]


def _limit(limit: Element, key: str, where: str) -> float:
    text = limit.get(key)
    if text is None:
        raise RobotModelError(f"{where}: {key} limit missing")
    try:
        value = float(text)
    except ValueError:
        raise RobotModelError(f"{where}: {key} limit: expected a number, got {text!r}") from None
    if not math.isfinite(value):
        raise RobotModelError(f"{where}: {key} limit must be finite, got {text!r}")
    return value


def _kind(value: object) -> str:
    return "an empty text" if isinstance(value, str) else type(value).__name__
