"""A robot read from its URDF with nothing of the package's own code, for the checks of the filter.

Limits come from ElementTree; kinematics and distances from pinocchio models built straight from
the text.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
import pinocchio
from safety_bodies import Bodies

BODY = pinocchio.FrameType.BODY


@dataclass(frozen=True)
class ZoneBox:
    """A box for the origin of a link: corners (3,) along the axes of the workspace frame [m]."""

    link: str
    minimum: np.ndarray
    maximum: np.ndarray


class Model:
    """What the limits of an arm are, where its tool is, and how far apart its bodies are.

    Attributes:
        xml: the URDF.
        frame, tip: links whose axes the box uses, and whose origin is the tool.
        names, lower, upper, velocity: of the n movable joints from the frame to the tip.
        minimum, maximum: (3,) corners of the box [m].
        zones: the boxes of other links.
    """

    def __init__(self, xml: str) -> None:
        self.xml = xml
        self._root = ElementTree.fromstring(xml)
        safety = self._root.find("octo_safety")
        workspace = safety.find("workspace")
        self.frame, self.tip = workspace.get("frame"), workspace.get("tip")
        self.minimum, self.maximum = _corners(workspace.find("box"))
        self.zones = [
            ZoneBox(zone.get("link"), *_corners(zone.find("box"))) for zone in safety.findall("zone")
        ]
        chain = self._chain()
        self.names = [joint.get("name") for joint in chain]
        self.is_revolute = np.array([joint.get("type") == "revolute" for joint in chain])
        limits = [joint.find("limit") for joint in chain]
        self.lower, self.upper, self.velocity = (
            np.array([float(limit.get(key)) for limit in limits]) for key in ("lower", "upper", "velocity")
        )
        self._model = pinocchio.buildModelFromXML(xml)
        self._data = self._model.createData()
        self._rest = pinocchio.neutral(self._model)
        self._columns = [self._model.joints[self._model.getJointId(name)].idx_q for name in self.names]
        self._frame_id = self._model.getFrameId(self.frame, BODY)
        self._tip_id = self._model.getFrameId(self.tip, BODY)
        self._zone_ids = [self._model.getFrameId(zone.link, BODY) for zone in self.zones]

    def tool(self, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Position (3,) and rotation (3, 3) of the tip in the workspace frame."""
        pose = self._place(joints).actInv(self._placed(self._tip_id))
        return pose.translation.copy(), pose.rotation.copy()

    def origins(self, joints: np.ndarray) -> np.ndarray:
        """(zones, 3) origins of the links that have a zone, in the workspace frame [m]."""
        world = self._place(joints)
        found = [world.actInv(self._placed(link)).translation for link in self._zone_ids]
        return np.array(found).reshape(-1, 3)

    def jacobian(self, joints: np.ndarray) -> np.ndarray:
        """(6, n) tool velocity per joint velocity in the workspace frame, by central differences."""
        columns, step = [], 1e-5
        for change in np.eye(len(joints)) * step:
            (ahead, turned), (behind, before) = self.tool(joints + change), self.tool(joints - change)
            spin = pinocchio.log3(turned @ before.T)
            columns.append(np.concatenate((ahead - behind, spin)) / (2 * step))
        return np.array(columns).T

    def distances(self, joints: np.ndarray) -> np.ndarray:
        """(pairs,) distance of the bodies of each pair [m]; below zero they overlap."""
        return self.bodies.distances(self._full(joints))

    @cached_property
    def bodies(self) -> Bodies:
        """What may not touch."""
        return Bodies(self._root, self.xml, self._model, self.frame, self.tip, self.names)

    def _full(self, joints: np.ndarray) -> np.ndarray:
        full = self._rest.copy()
        full[self._columns] = joints
        return full

    def _place(self, joints: np.ndarray) -> pinocchio.SE3:
        pinocchio.forwardKinematics(self._model, self._data, self._full(joints))
        return self._placed(self._frame_id)

    def _placed(self, frame_id: int) -> pinocchio.SE3:
        return pinocchio.updateFramePlacement(self._model, self._data, frame_id)

    def _chain(self) -> list[Element]:
        """Movable joints above the tip that are not above the frame, from the frame on."""
        holder = {joint.find("child").get("link"): joint for joint in self._root.findall("joint")}

        def above(link: str) -> list[Element]:
            joints = []
            while link in holder:
                joints.append(holder[link])
                link = joints[-1].find("parent").get("link")
            return joints

        shared = {joint.get("name") for joint in above(self.frame)}
        chain = [joint for joint in above(self.tip) if joint.get("name") not in shared]
        return [joint for joint in chain if joint.get("type") != "fixed"][::-1]


def _corners(box: Element) -> tuple[np.ndarray, np.ndarray]:
    return tuple(np.array(box.get(key).split(), dtype=float) for key in ("min", "max"))
