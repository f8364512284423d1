"""A robot as the safety filter sees it: joints from workspace frame to tool, their limits, kinematics."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
import pinocchio

from octo_ros.errors import RobotModelError
from octo_ros.safety.urdf import Tree, frozen, joint_limits, parse_robot
from octo_ros.safety.workspace import Workspace, parse_workspace


class Robot:
    """The movable joints from the workspace frame to the tip of the tool.

    Other movable joints (fingers, wheels) are locked at their zero position. Positions and
    rotations are those of the tip in the workspace frame. An instance keeps pinocchio's work
    space and must not be used by two threads at once.

    Attributes:
        source: where the URDF came from, for messages.
        joint_names: n names, in order from the frame to the tip.
        units: n units of the joint positions, "rad" or "m".
        lower, upper: (n,) position limits [rad or m].
        velocity: (n,) velocity limits [rad/s or m/s].
        workspace: the box for the tip.
        home: (n,) where simulators start, or None where the URDF states none [rad or m].
    """

    def __init__(self, root: Element, source: str) -> None:
        self.source = source
        self.workspace: Workspace
        self.workspace, home = parse_workspace(root, source)
        chain = Tree(root, source).chain(self.workspace.frame, self.workspace.tip)
        limits = [joint_limits(joint, source) for joint in chain]
        self.joint_names = tuple(limit.name for limit in limits)
        self.units = tuple(limit.unit for limit in limits)
        self.lower = frozen(np.array([limit.lower for limit in limits]))
        self.upper = frozen(np.array([limit.upper for limit in limits]))
        self.velocity = frozen(np.array([limit.velocity for limit in limits]))
        self.home = None if home is None else self._checked_home(home)
        self._build(_with_only(self.joint_names, root))

    @classmethod
    def from_urdf(cls, xml: str, *, source: str) -> Robot:
        """Reads the text of a URDF; `source` names it in messages.

        RobotModelError where it is no URDF, where a joint between frame and tip lacks a usable
        limit, or where there is no usable octo_safety element; the message names what is wrong.
        """
        return cls(parse_robot(xml, source), source)

    @classmethod
    def from_file(cls, path: str | Path) -> Robot:
        """Reads a URDF file; RobotModelError as `from_urdf`, or where the file cannot be read."""
        try:
            xml = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RobotModelError(f"{path}: cannot read the URDF: {error}") from None
        return cls.from_urdf(xml, source=str(path))

    def starting_joints(self) -> np.ndarray:
        """(n,) where a simulated arm starts: home, or the middle of each joint's range [rad or m]."""
        return (self.lower + self.upper) / 2.0 if self.home is None else self.home

    def tool_pose(self, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Position (3,) [m] and rotation (3, 3) of the tip at `joints` (n,)."""
        pinocchio.forwardKinematics(self._model, self._data, joints)
        pose = self._frame_inverse * pinocchio.updateFramePlacement(self._model, self._data, self._tip)
        return np.array(pose.translation), np.array(pose.rotation)

    def jacobian(self, joints: np.ndarray) -> np.ndarray:
        """(6, n) tool velocity per joint velocity, axes of the workspace frame: linear, then angular."""
        local = pinocchio.computeFrameJacobian(
            self._model, self._data, joints, self._tip, pinocchio.ReferenceFrame.LOCAL_WORLD_ALIGNED
        )
        local = local.reshape(6, -1)  # one joint comes back as a vector
        turn = self._frame_inverse.rotation
        return np.vstack((turn @ local[:3], turn @ local[3:]))

    def tool_path(self, start: np.ndarray, delta: np.ndarray, segments: int) -> tuple[np.ndarray, np.ndarray]:
        """Tool poses along the straight joint-space line from `start` to `start + delta`.

        Returns positions (segments + 1, 3) [m] and rotations (segments + 1, 3, 3), ends included.
        """
        positions = np.empty((segments + 1, 3))
        rotations = np.empty((segments + 1, 3, 3))
        for index in range(segments + 1):
            positions[index], rotations[index] = self.tool_pose(start + delta * (index / segments))
        return positions, rotations

    def _build(self, xml: str) -> None:
        try:
            self._model = pinocchio.buildModelFromXML(xml)
        except (ValueError, RuntimeError, IndexError) as error:
            raise RobotModelError(f"{self.source}: the URDF does not load: {error}") from None
        names = tuple(self._model.names)[1:]
        if names != self.joint_names or self._model.nq != len(names):
            raise RobotModelError(f"{self.source}: expected joints {self.joint_names}, the model has {names}")
        self._data = self._model.createData()
        self._tip = self._model.getFrameId(self.workspace.tip, pinocchio.FrameType.BODY)
        pinocchio.framesForwardKinematics(self._model, self._data, pinocchio.neutral(self._model))
        frame = self._model.getFrameId(self.workspace.frame, pinocchio.FrameType.BODY)
        self._frame_inverse = self._data.oMf[frame].inverse()
        position, rotation = self.tool_pose(np.zeros(len(names)))
        if not (np.isfinite(position).all() and np.isfinite(rotation).all()):
            raise RobotModelError(f"{self.source}: a joint origin between the links is not finite")

    def _checked_home(self, home: np.ndarray) -> np.ndarray:
        if len(home) != len(self.joint_names):
            raise RobotModelError(
                f"{self.source}: octo_safety home: expected {len(self.joint_names)} joints "
                f"({', '.join(self.joint_names)}), got {len(home)}"
            )
        for name, value, low, high in zip(self.joint_names, home, self.lower, self.upper, strict=True):
            if not low <= value <= high:
                raise RobotModelError(
                    f"{self.source}: octo_safety home: {name} {value:g} is outside {low:g} to {high:g}"
                )
        return home


def _with_only(joint_names: tuple[str, ...], root: Element) -> str:
    """The URDF as text, every joint but those named fixed at its zero position, our own element left out."""
    robot = Element("robot", dict(root.attrib))
    for element in root:
        if element.tag not in ("link", "joint"):
            continue
        if element.tag == "joint" and element.get("name") not in joint_names:
            fixed = Element("joint", {"name": element.get("name", ""), "type": "fixed"})
            fixed.extend(child for child in element if child.tag in ("parent", "child", "origin"))
            element = fixed
        robot.append(element)
    return ElementTree.tostring(robot, encoding="unicode")
