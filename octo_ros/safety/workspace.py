"""What a URDF declares for the safety filter, in an element of its own, a child of the robot.

    <octo_safety version="1">
      <workspace frame="LINK" tip="LINK"><box min="X Y Z" max="X Y Z"/></workspace>
      <home joints="Q1 Q2 ..."/>
      <zone link="LINK"><box min="X Y Z" max="X Y Z"/></zone>
      <obstacle name="NAME"><origin xyz="X Y Z" rpy="R P Y"/><geometry>...</geometry></obstacle>
      <ignore_collision links="LINK LINK"/>
    </octo_safety>

Every box is in metres, along the axes of the link `frame`, which is the workspace frame.
All but the workspace may be left out; there is one home at most, and any number of the others.

workspace: the tip is the link whose origin must stay inside the box.
home: one position for each joint between the two links, in order from the frame to the tip
    [rad or m]; simulators and replay start there, the filter never reads it.
zone: a box for the origin of another link that the arm moves, such as the elbow.
obstacle: a body that stands still in the workspace frame, in the URDF's own syntax for
    geometry (`shapes.py`). Every moving link keeps its distance from it.
ignore_collision: two links whose distance is not checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np

from octo_ros.errors import ParameterError, RobotModelError
from octo_ros.safety.bodies.shapes import Obstacle, parse_shape
from octo_ros.safety.urdf import frozen, numbers

VERSION = "1"


@dataclass(frozen=True)
class Workspace:
    """An axis-aligned box for the tip of the tool.

    Attributes:
        frame: link whose axes the box and every tool pose use.
        tip: link whose origin is the tool.
        minimum: (3,) lower corner [m].
        maximum: (3,) upper corner [m].
    """

    frame: str
    tip: str
    minimum: np.ndarray
    maximum: np.ndarray

    def tightened(self, minimum: Sequence[float] | None, maximum: Sequence[float] | None) -> Workspace:
        """The part of the box between two corners; ParameterError where a corner would loosen it."""
        low = self.minimum if minimum is None else np.asarray(minimum, dtype=float)
        high = self.maximum if maximum is None else np.asarray(maximum, dtype=float)
        for axis, name in enumerate("xyz"):
            if low[axis] < self.minimum[axis]:
                raise _loosened("workspace_min", name, self.minimum[axis], low[axis])
            if high[axis] > self.maximum[axis]:
                raise _loosened("workspace_max", name, self.maximum[axis], high[axis])
            if low[axis] >= high[axis]:
                raise ParameterError(
                    f"workspace {name}: minimum {low[axis]:g} m is not below maximum {high[axis]:g} m"
                )
        return Workspace(self.frame, self.tip, frozen(low), frozen(high))


@dataclass(frozen=True)
class Zone:
    """An axis-aligned box, in the workspace frame, for the origin of a link that the arm moves.

    Attributes:
        link: the link whose origin must stay inside.
        minimum: (3,) lower corner [m].
        maximum: (3,) upper corner [m].
    """

    link: str
    minimum: np.ndarray
    maximum: np.ndarray


@dataclass(frozen=True)
class Declaration:
    """The content of the octo_safety element.

    Attributes:
        workspace: the box for the tip.
        home: (m,) where simulators start, or None [rad or m].
        zones: boxes for other links, each link at most once.
        obstacles: bodies that stand still, names unique.
        ignored: pairs of links whose distance is not checked.
    """

    workspace: Workspace
    home: np.ndarray | None
    zones: tuple[Zone, ...]
    obstacles: tuple[Obstacle, ...]
    ignored: frozenset[frozenset[str]]


def parse_declaration(robot: Element, source: str) -> Declaration:
    """Reads the octo_safety element of a URDF's root; RobotModelError says what is wrong with it.

    Whether the links it names exist, and whether the arm moves them, is left to the caller.
    """
    found = robot.findall("octo_safety")
    if len(found) != 1:
        raise RobotModelError(
            f"{source}: expected one octo_safety element in the robot (it declares the tool's workspace), "
            f"found {len(found)}"
        )
    safety, where = found[0], f"{source}: octo_safety"
    if safety.get("version") != VERSION:
        got = safety.get("version")
        raise RobotModelError(f'{where}: expected version="{VERSION}", got {got!r}')
    elements = {"workspace", "home", "zone", "obstacle", "ignore_collision"}
    _check_known(safety, where, elements, {"version"})
    ignored = safety.findall("ignore_collision")
    return Declaration(
        _workspace(_only_child(safety, "workspace", where), f"{where} workspace"),
        _home(safety, where),
        _zones(safety, where),
        _obstacles(safety, where),
        frozenset(_ignored(element, f"{where} ignore_collision") for element in ignored),
    )


def _workspace(element: Element, where: str) -> Workspace:
    _check_known(element, where, {"box"}, {"frame", "tip"})
    frame, tip = (_text(element, key, where) for key in ("frame", "tip"))
    return Workspace(frame, tip, *_box(element, where))


def _home(safety: Element, where: str) -> np.ndarray | None:
    if safety.find("home") is None:
        return None
    element = _only_child(safety, "home", where)
    _check_known(element, f"{where} home", set(), {"joints"})
    return numbers(element.get("joints"), f"{where} home joints", None)


def _zones(safety: Element, where: str) -> tuple[Zone, ...]:
    zones: dict[str, Zone] = {}
    for element in safety.findall("zone"):
        link = _text(element, "link", f"{where} zone")
        here = f"{where} zone of link {link}"
        _check_known(element, here, {"box"}, {"link"})
        if link in zones:
            raise RobotModelError(f"{here}: the link has two zones")
        zones[link] = Zone(link, *_box(element, here))
    return tuple(zones.values())


def _obstacles(safety: Element, where: str) -> tuple[Obstacle, ...]:
    obstacles: dict[str, Obstacle] = {}
    for element in safety.findall("obstacle"):
        name = _text(element, "name", f"{where} obstacle")
        here = f"{where} obstacle {name}"
        _check_known(element, here, {"origin", "geometry"}, {"name"})
        if name in obstacles:
            raise RobotModelError(f"{here}: two obstacles have this name")
        obstacles[name] = Obstacle(name, parse_shape(element, here))
    return tuple(obstacles.values())


def _ignored(element: Element, where: str) -> frozenset[str]:
    _check_known(element, where, set(), {"links"})
    links = _text(element, "links", where).split()
    if len(links) != 2 or links[0] == links[1]:
        raise RobotModelError(f"{where} links: expected two different links, got {' '.join(links)!r}")
    return frozenset(links)


def _box(element: Element, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper corner (3,) of the only box in `element` [m]."""
    box = _only_child(element, "box", where)
    _check_known(box, f"{where} box", set(), {"min", "max"})
    low, high = (numbers(box.get(key), f"{where} box {key}", 3) for key in ("min", "max"))
    for axis, name in enumerate("xyz"):
        if not low[axis] < high[axis]:
            raise RobotModelError(
                f"{where} box: min {name} {low[axis]:g} is not below max {name} {high[axis]:g}"
            )
    return low, high


def _check_known(element: Element, where: str, children: set[str], attributes: set[str]) -> None:
    for kind, found, known in (
        ("element", {child.tag for child in element}, children),
        ("attribute", set(element.keys()), attributes),
    ):
        unknown = sorted(found - known)
        if unknown:
            raise RobotModelError(f"{where}: unknown {kind} {', '.join(unknown)}")


def _only_child(parent: Element, tag: str, where: str) -> Element:
    children = parent.findall(tag)
    if len(children) != 1:
        raise RobotModelError(f"{where}: expected one {tag} element, found {len(children)}")
    return children[0]


def _text(element: Element, key: str, where: str) -> str:
    value = element.get(key, "").strip()
    if not value:
        raise RobotModelError(f'{where}: attribute "{key}" is missing or empty')
    return value


def _loosened(parameter: str, axis: str, declared: float, asked: float) -> ParameterError:
    return ParameterError(f"{parameter} {axis}: may only tighten the URDF's {declared:g} m, got {asked:g} m")
