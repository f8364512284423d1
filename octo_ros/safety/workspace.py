"""The workspace a URDF declares for the tool, in its own element of the robot.

    <octo_safety version="1">
      <workspace frame="LINK" tip="LINK"><box min="X Y Z" max="X Y Z"/></workspace>
      <home joints="Q1 Q2 ..."/>
    </octo_safety>

The box is in metres, along the axes of the link `frame`; the tip is the link that must stay
inside. `home`, optional, lists one position for each joint between the two links, in order
from the frame to the tip [rad or m]; simulators and replay start there, the filter never
reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np

from octo_ros.errors import ParameterError, RobotModelError
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


def parse_workspace(robot: Element, source: str) -> tuple[Workspace, np.ndarray | None]:
    """Reads the octo_safety element of a URDF's root; RobotModelError says what is wrong with it.

    Returns the workspace and the home joint positions (m,) or None.
    """
    found = robot.findall("octo_safety")
    if len(found) != 1:
        raise RobotModelError(
            f"{source}: expected one octo_safety element in the robot (it declares the tool's workspace), "
            f"found {len(found)}"
        )
    safety = found[0]
    if safety.get("version") != VERSION:
        got = safety.get("version")
        raise RobotModelError(f'{source}: octo_safety: expected version="{VERSION}", got {got!r}')
    unknown = sorted({child.tag for child in safety} - {"workspace", "home"})
    if unknown:
        raise RobotModelError(f"{source}: octo_safety: unknown element {', '.join(unknown)}")
    element = _only_child(safety, "workspace", source)
    names = {}
    for key in ("frame", "tip"):
        names[key] = element.get(key, "").strip()
        if not names[key]:
            raise RobotModelError(f'{source}: octo_safety workspace: attribute "{key}" is missing or empty')
    box = _only_child(element, "box", source)
    low = numbers(box.get("min"), f"{source}: octo_safety box min", 3)
    high = numbers(box.get("max"), f"{source}: octo_safety box max", 3)
    for axis, name in enumerate("xyz"):
        if not low[axis] < high[axis]:
            raise RobotModelError(
                f"{source}: octo_safety box: min {name} {low[axis]:g} is not below max {name} {high[axis]:g}"
            )
    workspace = Workspace(names["frame"], names["tip"], low, high)
    if safety.find("home") is None:
        return workspace, None
    home = _only_child(safety, "home", source)
    return workspace, numbers(home.get("joints"), f"{source}: octo_safety home joints", None)


def _loosened(parameter: str, axis: str, declared: float, asked: float) -> ParameterError:
    return ParameterError(f"{parameter} {axis}: may only tighten the URDF's {declared:g} m, got {asked:g} m")


def _only_child(parent: Element, tag: str, source: str) -> Element:
    children = parent.findall(tag)
    if len(children) != 1:
        raise RobotModelError(f"{source}: {parent.tag}: expected one {tag} element, found {len(children)}")
    return children[0]
