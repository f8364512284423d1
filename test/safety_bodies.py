"""Distances between the bodies of an arm and to declared obstacles, by pinocchio's geometry."""

from __future__ import annotations

from itertools import combinations
from xml.etree.ElementTree import Element

import coal
import numpy as np
import pinocchio

ROUGH = 0.01
"""Share of a cylinder's radius by which a polygon around it may be wider."""

ALWAYS_NEAR = 0.03
"""Links that are never further apart than this cannot be kept apart by any motion [m]."""


class Bodies:
    """The pairs of links and obstacles that may not touch.

    Left out are links that no joint of the chain moves against each other, links from root to
    tip on either side of one joint, pairs that `ignore_collision` names, and links that are
    always near each other.

    Attributes:
        pairs: names (a, b) of each pair, sorted.
        roughness: (pairs,) by how much a polygon around a round side may be wider [m].
        widest: (pairs,) about the most that each pair is ever apart [m].
    """

    def __init__(
        self, root: Element, xml: str, model: pinocchio.Model, frame: str, tip: str, chain: list[str]
    ) -> None:
        self._model, self._data = model, model.createData()
        self._geometry = pinocchio.buildGeomFromUrdfString(model, xml, pinocchio.GeometryType.COLLISION)
        owners = [model.frames[shape.parentFrame].name for shape in self._geometry.geometryObjects]
        body, spine = _rigid_bodies(root, chain), _above(root, tip)
        for obstacle in root.findall("octo_safety/obstacle"):
            self._add_obstacle(obstacle, frame)
            owners.append(f"obstacle {obstacle.get('name')}")
            body[owners[-1]] = body[frame]
        left_out = {
            frozenset(element.get("links").split())
            for element in root.findall("octo_safety/ignore_collision")
        }
        for joint in root.findall("joint"):
            if joint.get("name") in chain:
                ends = [body[joint.find(side).get("link")] for side in ("parent", "child")]
                before, after = ([link for link in spine if body[link] == end] for end in ends)
                left_out |= {frozenset((one, other)) for one in before for other in after}
        candidates = {}
        for first, second in combinations(range(len(owners)), 2):
            links = tuple(sorted((owners[first], owners[second])))
            if body[links[0]] != body[links[1]] and frozenset(links) not in left_out:
                candidates.setdefault(links, []).append(pinocchio.CollisionPair(first, second))
        self._longest = _longest(root, self._geometry)
        self._join(candidates)
        low, high = _ranges(model, root, chain)
        random, self.widest = np.random.default_rng(0), np.full(len(candidates), -np.inf)
        for _ in range(300 if candidates else 0):
            found = self.distances(low + random.random(len(low)) * (high - low))
            self.widest = np.maximum(self.widest, found)
        kept = self.widest > ALWAYS_NEAR
        self._join({links: candidates[links] for links, keep in zip(self.pairs, kept, strict=True) if keep})
        self.widest = self.widest[kept]

    def distances(self, full: np.ndarray) -> np.ndarray:
        """(pairs,) distance of each pair at the configuration (nq,) of the whole model [m]."""
        least = np.full(len(self.pairs), np.inf)
        if self.pairs:
            pinocchio.computeDistances(self._model, self._data, self._geometry, self._shapes, full)
            found = [result.min_distance for result in self._shapes.distanceResults]
            np.minimum.at(least, self._rows, found)
        return least

    def room(self, way: np.ndarray) -> float:
        """More than any distance changes when the joints move by `way` (n,) [m]."""
        return float(np.abs(way).sum()) * self._longest

    def _join(self, pairs: dict[tuple[str, str], list[pinocchio.CollisionPair]]) -> None:
        self._geometry.removeAllCollisionPairs()
        self.pairs = list(pairs)
        self._rows = [row for row, shapes in enumerate(pairs.values()) for _ in shapes]
        self.roughness = np.zeros(len(pairs))
        for row, shapes in enumerate(pairs.values()):
            for pair in shapes:
                self._geometry.addCollisionPair(pair)
                bodies = [
                    self._geometry.geometryObjects[index].geometry for index in (pair.first, pair.second)
                ]
                wider = sum(ROUGH * body.radius for body in bodies if isinstance(body, coal.Cylinder))
                self.roughness[row] = max(self.roughness[row], wider)
        self._shapes = self._geometry.createData()

    def _add_obstacle(self, obstacle: Element, frame: str) -> None:
        origin = obstacle.find("origin")
        numbers = [
            np.array((origin.get(key) if origin is not None and origin.get(key) else "0 0 0").split(), float)
            for key in ("xyz", "rpy")
        ]
        held = self._model.frames[self._model.getFrameId(frame, pinocchio.FrameType.BODY)]
        place = held.placement * pinocchio.SE3(pinocchio.rpy.rpyToMatrix(numbers[1]), numbers[0])
        shape = _shape(obstacle.find("geometry")[0])
        name = f"obstacle {obstacle.get('name')}"
        self._geometry.addGeometryObject(pinocchio.GeometryObject(name, held.parentJoint, place, shape))


def _longest(root: Element, geometry: pinocchio.GeometryModel) -> float:
    """More than any point of the arm can lie from any of its axes, and at least 1 [m]."""
    origins = [np.array(origin.get("xyz", "0 0 0").split(), float) for origin in root.findall("joint/origin")]
    total = sum(float(np.linalg.norm(origin)) for origin in origins)
    limits = root.findall("joint[@type='prismatic']/limit")
    total += sum(max(abs(float(limit.get(key))) for key in ("lower", "upper")) for limit in limits)
    for body in geometry.geometryObjects:
        body.geometry.computeLocalAABB()
    sizes = [
        np.linalg.norm(body.placement.translation) + body.geometry.aabb_radius
        for body in geometry.geometryObjects
    ]
    return max(1.0, total + max(sizes, default=0.0))


def _above(root: Element, link: str) -> list[str]:
    """`link` and every link that carries it."""
    holder = {
        joint.find("child").get("link"): joint.find("parent").get("link") for joint in root.findall("joint")
    }
    found = [link]
    while found[-1] in holder:
        found.append(holder[found[-1]])
    return found


def _rigid_bodies(root: Element, chain: list[str]) -> dict[str, str]:
    """The name of the body of each link: links that no joint of the chain parts are one body."""
    holder = {
        joint.find("child").get("link"): joint.find("parent").get("link")
        for joint in root.findall("joint")
        if joint.get("name") not in chain
    }

    def top(link: str) -> str:
        while link in holder:
            link = holder[link]
        return link

    return {link.get("name"): top(link.get("name")) for link in root.findall("link")}


def _ranges(model: pinocchio.Model, root: Element, chain: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """(nq,), (nq,) lowest and highest configuration; joints that are not of the chain stay at rest."""
    low, high = pinocchio.neutral(model), pinocchio.neutral(model)
    for joint in root.findall("joint"):
        if joint.get("name") in chain:
            column = model.joints[model.getJointId(joint.get("name"))].idx_q
            low[column], high[column] = (float(joint.find("limit").get(key)) for key in ("lower", "upper"))
    return low, high


def _shape(geometry: Element) -> coal.ShapeBase:
    if geometry.tag == "box":
        return coal.Box(*(float(number) for number in geometry.get("size").split()))
    if geometry.tag == "sphere":
        return coal.Sphere(float(geometry.get("radius")))
    return coal.Cylinder(float(geometry.get("radius")), float(geometry.get("length")))
