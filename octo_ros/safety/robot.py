"""A robot as the safety filter sees it: joints from workspace frame to tool, limits, kinematics, bodies."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
import pinocchio

from octo_ros.errors import RobotModelError
from octo_ros.safety.bodies.collision import Clearances
from octo_ros.safety.bodies.parts import Part, Place, bare_joints, link_parts, obstacle_parts
from octo_ros.safety.bodies.reach import Reach
from octo_ros.safety.urdf import FAR, Tree, frozen, joint_limits, parse_robot
from octo_ros.safety.workspace import Zone, parse_declaration

WAY_ON = (
    "collision=False (the node: check_collisions, replay: --no-check-collisions) goes on "
    "without the distances between bodies"
)


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
        revolute: (n,) 1.0 for a joint that turns, 0.0 for one that slides.
        workspace: the box for the tip.
        home: (n,) where simulators start, or None where the URDF states none [rad or m].
        zones: boxes for the origins of other links, in the workspace frame.
        obstacles: bodies that stand still in the workspace frame.
    """

    def __init__(self, root: Element, source: str, folder: Path | None, collision: bool) -> None:
        self.source = source
        self._root, self._folder, self._collision = root, folder, collision
        declared = parse_declaration(root, source)
        self.workspace, self.zones, self.obstacles = declared.workspace, declared.zones, declared.obstacles
        self._ignored = declared.ignored
        tree = Tree(root, source)
        chain = tree.chain(self.workspace.frame, self.workspace.tip)
        self._limits = limits = [joint_limits(joint, source) for joint in chain]
        self.joint_names = tuple(limit.name for limit in limits)
        self.units = tuple(limit.unit for limit in limits)
        self.lower = frozen(np.array([limit.lower for limit in limits]))
        self.upper = frozen(np.array([limit.upper for limit in limits]))
        self.velocity = frozen(np.array([limit.velocity for limit in limits]))
        self.revolute = frozen(np.array([limit.unit == "rad" for limit in limits]))
        self.home = None if declared.home is None else self._checked_home(declared.home)
        self._build(tree, chain)
        self._check_links(declared.zones, declared.ignored)

    @classmethod
    def from_urdf(cls, xml: str, *, source: str, collision: bool = True) -> Robot:
        """Reads the text of a URDF; `source` names it in messages.

        With `collision` False there are no `clearances`, and collision geometry is not looked at.
        RobotModelError where it is no URDF, where a joint between frame and tip lacks a usable
        limit, or where there is no usable octo_safety element; the message names what is wrong.
        """
        return cls(parse_robot(xml, source), source, None, collision)

    @classmethod
    def from_file(cls, path: str | Path, *, collision: bool = True) -> Robot:
        """Reads a URDF file, from whose folder relative paths of meshes start.

        RobotModelError as `from_urdf`, or where the file cannot be read.
        """
        try:
            xml = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RobotModelError(f"{path}: cannot read the URDF: {error}") from None
        source = str(path)
        return cls(parse_robot(xml, source), source, Path(path).absolute().parent, collision)

    def starting_joints(self) -> np.ndarray:
        """(n,) where a simulated arm starts: home, or the middle of each joint's range [rad or m]."""
        return (self.lower + self.upper) / 2.0 if self.home is None else self.home

    def tool_pose(self, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Position (3,) [m] and rotation (3, 3) of the tip at `joints` (n,)."""
        pinocchio.forwardKinematics(self._model, self._data, joints)
        pose = pinocchio.updateFramePlacement(self._model, self._data, self._tip).homogeneous  # a copy
        return pose[:3, 3], pose[:3, :3]

    def tool_poses(self, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tool poses at each row of `joints` (k, n): positions (k, 3) [m] and rotations (k, 3, 3)."""
        poses = np.empty((len(joints), 4, 4))
        for index, row in enumerate(joints):
            pinocchio.forwardKinematics(self._model, self._data, row)
            poses[index] = pinocchio.updateFramePlacement(self._model, self._data, self._tip).homogeneous
        return poses[:, :3, 3], poses[:, :3, :3]

    def link_position(self, joints: np.ndarray, link: str) -> np.ndarray:
        """(3,) origin of a link in the workspace frame at `joints` (n,) [m]."""
        pinocchio.forwardKinematics(self._model, self._data, joints)
        return pinocchio.updateFramePlacement(self._model, self._data, self._frames[link]).translation.copy()

    def jacobian(self, joints: np.ndarray) -> np.ndarray:
        """(6, n) tool velocity per joint velocity, axes of the workspace frame: linear, then angular."""
        jacobian = pinocchio.computeFrameJacobian(
            self._model, self._data, joints, self._tip, pinocchio.ReferenceFrame.LOCAL_WORLD_ALIGNED
        )
        return jacobian.reshape(6, -1)  # one joint comes back as a vector

    @cached_property
    def clearances(self) -> Clearances:
        """The distances between bodies that are checked, built when first asked for.

        RobotModelError where collision geometry cannot be used, as where a mesh is not found.
        """
        if not self._collision:
            return Clearances(self._model, [], self._ignored, self._bounds, "collision checks are off")
        note = bare_joints(self._parts, self.joint_names)
        return Clearances(self._model, self._parts, self._ignored, self._bounds, note)

    @cached_property
    def reach(self) -> np.ndarray:
        """(n,) most that any point of arm or tool lies from each joint's axis, over all postures [m].

        Points are the origins of the links a joint moves, and their geometry. 1.0 for a prismatic
        joint, which moves every point by its own way. RobotModelError as `clearances`.
        """
        points = [(place.body, place.pose[None, :3, 3], 0.0) for place in self._places.values()]
        points += [
            (part.place.body, body.corners, body.radius) for part in self._parts for body in part.solids
        ]
        reach = np.ones(len(self.joint_names))
        for joint in np.flatnonzero(self.revolute).tolist():
            reach[joint] = max(
                self._bounds.carried(joint + 1, body, corners) + radius
                for body, corners, radius in points
                if body > joint
            )
        return frozen(reach)

    @cached_property
    def _parts(self) -> list[Part]:
        if not self._collision:
            return []
        try:
            links = link_parts(self._root, self._places, self.source, self._folder)
            return links + obstacle_parts(self.obstacles, self.source, self._folder)
        except RobotModelError as error:
            raise RobotModelError(f"{error}. {WAY_ON}") from None

    @cached_property
    def _bounds(self) -> Reach:
        """How far bodies can lie from the axes of the joints."""
        placements = [placement.homogeneous for placement in self._model.jointPlacements]
        return Reach(placements[1:], self._limits)

    def _build(self, tree: Tree, chain: list[Element]) -> None:
        """Loads the chain into pinocchio, with the workspace frame as its universe."""
        try:
            self._model = pinocchio.buildModelFromXML(_with_only(self.joint_names, self._root))
        except (ValueError, RuntimeError, IndexError) as error:
            raise RobotModelError(f"{self.source}: the URDF does not load: {error}") from None
        names = tuple(self._model.names)[1:]
        if names != self.joint_names or self._model.nq != len(names):
            raise RobotModelError(f"{self.source}: expected joints {self.joint_names}, the model has {names}")
        self._frames = {link: self._model.getFrameId(link, pinocchio.FrameType.BODY) for link in tree.links}
        self._tip = self._frames[self.workspace.tip]
        data = self._model.createData()
        pinocchio.framesForwardKinematics(self._model, data, pinocchio.neutral(self._model))
        to_frame = data.oMf[self._frames[self.workspace.frame]].inverse()
        spine, self._places = tree.path(self.workspace.tip), {}
        for link, body in tree.bodies(chain).items():
            pose = to_frame * data.oMf[self._frames[link]]
            if not np.abs(pose.homogeneous).max() < FAR:
                raise RobotModelError(f"{self.source}: link {link} does not lie within {FAR:g} m")
            if body:
                pose = (to_frame * data.oMi[body]).inverse() * pose
            self._places[link] = Place(body, frozen(pose.homogeneous), link in spine)
            self._model.frames[self._frames[link]].placement = pinocchio.SE3(self._places[link].pose)
        self._model.jointPlacements[1] = to_frame * self._model.jointPlacements[1]
        self._data = self._model.createData()

    def _check_links(self, zones: Sequence[Zone], ignored: frozenset[frozenset[str]]) -> None:
        """Every link that the declaration names exists, and the arm moves those with a zone."""
        named = [("zone of link", zone.link) for zone in zones]
        named += [("ignore_collision: link", link) for pair in ignored for link in sorted(pair)]
        for what, link in named:
            if link not in self._places:
                raise RobotModelError(
                    f"{self.source}: octo_safety {what} {link!r} is no link of the robot; "
                    f"links: {', '.join(self._places)}"
                )
        for zone in zones:
            if not self._places[zone.link].body:
                raise RobotModelError(
                    f"{self.source}: octo_safety zone of link {zone.link}: no joint of the arm moves the link"
                )

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
    """The links and joints of a URDF as text; joints that are not named are fixed at their zero position."""
    robot = Element("robot", dict(root.attrib))
    for element in root:
        if element.tag == "link":
            robot.append(Element("link", {"name": element.get("name", "")}))
        if element.tag != "joint":
            continue
        if element.get("name") not in joint_names:
            fixed = Element("joint", {"name": element.get("name", ""), "type": "fixed"})
            fixed.extend(child for child in element if child.tag in ("parent", "child", "origin"))
            element = fixed
        robot.append(element)
    return ElementTree.tostring(robot, encoding="unicode")
