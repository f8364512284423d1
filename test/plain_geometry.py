"""The collision geometry of a URDF file as pinocchio alone reads and places it."""

from __future__ import annotations

import coal
import numpy as np
import pinocchio


class Plain:
    """Bodies of a URDF file, with true cylinders; joints that are not of the chain stay at zero.

    Attributes:
        owners: the link of each shape.
    """

    def __init__(self, path: str, chain: tuple[str, ...]) -> None:
        self._model = pinocchio.buildModelFromUrdf(path)
        self._shapes = pinocchio.buildGeomFromUrdf(self._model, path, pinocchio.GeometryType.COLLISION)
        self.owners = [self._model.frames[one.parentFrame].name for one in self._shapes.geometryObjects]
        self._shapes.addAllCollisionPairs()
        self._data, self._work = self._model.createData(), self._shapes.createData()
        self._chain = [self._model.getJointId(name) for name in chain]
        self._columns = [self._model.joints[joint].idx_q for joint in self._chain]

    def body(self, link: str) -> int:
        """How many joints of the chain move a link."""
        frame = self._model.frames[self._model.getFrameId(link, pinocchio.FrameType.BODY)]
        return len(set(self._chain) & set(self._model.supports[frame.parentJoint]))

    def full(self, joints: np.ndarray) -> np.ndarray:
        """(nq,) of the whole model."""
        full = pinocchio.neutral(self._model)
        full[self._columns] = joints
        return full

    def distances(self, joints: np.ndarray) -> dict[frozenset[str], float]:
        """The least distance of each pair of links [m]."""
        pinocchio.computeDistances(self._model, self._data, self._shapes, self._work, self.full(joints))
        found: dict[frozenset[str], float] = {}
        for pair, result in zip(self._shapes.collisionPairs, self._work.distanceResults, strict=True):
            links = frozenset((self.owners[pair.first], self.owners[pair.second]))
            found[links] = min(result.min_distance, found.get(links, np.inf))
        return found

    def surfaces(self, joints: np.ndarray) -> list[tuple[str, np.ndarray]]:
        """Link, and points (m, 3) on the surface in the world, of each shape [m]."""
        full = self.full(joints)
        pinocchio.updateGeometryPlacements(self._model, self._data, self._shapes, self._work, full)
        return [
            (owner, surface(one.geometry) @ place.rotation.T + place.translation)
            for owner, place, one in zip(
                self.owners, self._work.oMg, self._shapes.geometryObjects, strict=True
            )
        ]

    def axis(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """A point on the axis of a joint of the chain, and its direction, where `surfaces` last was."""
        place = self._data.oMi[self._chain[index]]
        return place.translation.copy(), place.rotation[:, 2].copy()  # all axes of our files are z


def surface(body: coal.ShapeBase) -> np.ndarray:
    """(m, 3) corners of a box, points all over a sphere, or on the rims of a cylinder."""
    signs = np.array(np.meshgrid(*[(-1.0, 1.0)] * 3)).reshape(3, -1).T
    if isinstance(body, coal.Box):
        return signs * body.halfSide
    if isinstance(body, coal.Sphere):
        normals = np.random.default_rng(0).normal(size=(200, 3))
        return body.radius * normals / np.linalg.norm(normals, axis=1)[:, None]
    turns = np.linspace(0.0, 2.0 * np.pi, 60)
    rim = body.radius * np.column_stack((np.cos(turns), np.sin(turns)))
    return np.vstack([np.column_stack((rim, np.full(60, z))) for z in (-body.halfLength, body.halfLength)])
