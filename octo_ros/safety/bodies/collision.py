"""Distances between the bodies of the arm, and from them to what stands still around it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import pinocchio

from octo_ros.safety.bodies.parts import Part
from octo_ros.safety.bodies.reach import Reach
from octo_ros.safety.bodies.solids import EXACT_DEPTH
from octo_ros.safety.urdf import frozen

TOGETHER = 0.02
"""Links that never get further apart than this are not checked: no motion parts them [m]."""

POSTURES = 256
"""Postures at which is looked whether two links ever get apart."""

TOLERANCE = 1e-10
"""Of the distances, where the library finds depths exactly; hpp-fcl keeps its own [m]."""


class Clearances:
    """The distances that must not fall below a clearance, one for each pair of parts.

    A distance is the least between the geometry of two parts, and negative where they overlap:
    the length of the shortest way apart. Shapes overlap or not as `solids.py` draws them. Asked
    for again it is the same within 1e-10 m. With hpp-fcl, the coal of pinocchio before 3.4,
    distances are within 1e-6 m, and 0 for any overlap.

    Not among the pairs are links fixed to each other; links on the way from root to tip with
    one joint between them; pairs that the URDF says to ignore; and pairs that are never more than
    `TOGETHER` apart at `POSTURES` postures spread over the joint limits. An obstacle is paired
    with every link that moves. An instance must not be used by two threads at once.

    Attributes:
        names: one for each pair, "LINK - LINK" or "LINK - obstacle NAME".
        widest: (pairs,) largest distance seen at those postures [m].
        lipschitz: (pairs, n) most that a distance changes with each joint [m/rad, or 1].
        note: one line about what is not checked and might be missed; empty where there is nothing.
    """

    def __init__(
        self,
        model: pinocchio.Model,
        parts: Sequence[Part],
        ignored: frozenset[frozenset[str]],
        reach: Reach,
        note: str = "",
    ) -> None:
        """`model`: n joints, its universe the workspace frame."""
        self._model, self._data = model, model.createData()
        self._geometry = pinocchio.GeometryModel()
        numbers = {part.name: list(self._add(part)) for part in parts}
        pairs = [pair for pair in combinations(parts, 2) if _is_checked(*pair, ignored)]
        self._join(pairs, numbers)
        widest = np.max([self.distances(posture) for posture in self._spread(reach)], axis=0)
        kept = np.flatnonzero(widest > TOGETHER).tolist()
        together = [name for index, name in enumerate(self.names) if index not in kept]
        pairs = [pairs[index] for index in kept]
        self._join(pairs, numbers)
        self.widest = frozen(widest[kept])
        bounds = [[_rate(reach, joint, *pair) for joint in range(1, model.nq + 1)] for pair in pairs]
        self.lipschitz = frozen(np.reshape(bounds, (len(pairs), model.nq)))
        if together:
            note += f"{'; ' if note else ''}never {TOGETHER:g} m apart, not checked: {', '.join(together)}"
        self.note = note

    def distances(self, joints: np.ndarray, pairs: np.ndarray | None = None) -> np.ndarray:
        """(pairs,) distance of each pair at `joints` (n,), which must be finite [m].

        `pairs` (k,): indices of the pairs that are wanted, None for all; the answer is (k,).
        """
        if not self.names:
            return np.empty(0)
        if pairs is None or len(pairs) == len(self.names):
            pinocchio.computeDistances(self._model, self._data, self._geometry, self._work, joints)
            found = np.array([result.min_distance for result in self._work.distanceResults])
            least = np.minimum.reduceat(found, self._starts[:-1])
            least = least if pairs is None else least[pairs]
        else:
            pinocchio.updateGeometryPlacements(self._model, self._data, self._geometry, self._work, joints)
            least = np.array([self._least(pair) for pair in pairs], dtype=float)
        return least if EXACT_DEPTH else np.maximum(least, 0.0)

    def _least(self, pair: int) -> float:
        return min(
            pinocchio.computeDistance(self._geometry, self._work, index).min_distance
            for index in range(self._starts[pair], self._starts[pair + 1])
        )

    def _add(self, part: Part) -> Iterator[int]:
        """Puts a part's geometry into the geometry model, and gives the number of each object."""
        for index, solid in enumerate(part.solids):
            placement = pinocchio.SE3(solid.pose)
            name = f"{part.name} {index}"
            try:
                body = pinocchio.GeometryObject(name, part.place.body, placement, solid.geometry)
            except TypeError:  # the order before pinocchio 3
                body = pinocchio.GeometryObject(name, part.place.body, solid.geometry, placement)
            yield self._geometry.addGeometryObject(body)

    def _join(self, pairs: list[tuple[Part, Part]], numbers: dict[str, list[int]]) -> None:
        """Makes these the pairs of the geometry model: the objects of each pair follow each other."""
        self._geometry.removeAllCollisionPairs()
        starts = [0]
        for first, second in pairs:
            for one in numbers[first.name]:
                for other in numbers[second.name]:
                    self._geometry.addCollisionPair(pinocchio.CollisionPair(one, other))
            starts.append(len(self._geometry.collisionPairs))
        self._starts = starts
        self._work = pinocchio.GeometryData(self._geometry)
        if EXACT_DEPTH:
            for request in self._work.distanceRequests:
                request.gjk_tolerance = request.epa_tolerance = TOLERANCE
                request.epa_max_iterations = 255
        self.names = tuple(_name(*pair) for pair in pairs)

    def _spread(self, reach: Reach) -> np.ndarray:
        """(POSTURES, n) joints spread evenly over their limits, of revolute joints over a turn at most."""
        count, root = self._model.nq, 2.0
        for _ in range(60):  # root^(count + 1) = root + 1: the golden ratio of `count` dimensions
            root = (1.0 + root) ** (1.0 / (count + 1))
        steps = root ** -np.arange(1.0, count + 1.0)
        low, high = self._model.lowerPositionLimit, self._model.upperPositionLimit
        shares = (0.5 + np.arange(POSTURES)[:, None] * steps) % 1.0
        span = np.where(reach.prismatic, high - low, np.minimum(high - low, 2.0 * np.pi))
        return low + shares * span


def _is_checked(first: Part, second: Part, ignored: frozenset[frozenset[str]]) -> bool:
    if first.place.body == second.place.body:
        return False
    if first.is_obstacle or second.is_obstacle:
        return True
    if first.place.is_spine and second.place.is_spine and abs(first.place.body - second.place.body) == 1:
        return False
    return frozenset((first.name, second.name)) not in ignored


def _name(first: Part, second: Part) -> str:
    """The part that moves more comes first."""
    moved, other = (first, second) if first.place.body > second.place.body else (second, first)
    return f"{moved.name} - {other.name}"


def _rate(reach: Reach, joint: int, first: Part, second: Part) -> float:
    """Most that the distance of two parts changes with a joint [m/rad, or 1]."""
    inner, outer = sorted((first, second), key=lambda part: part.place.body)
    if not inner.place.body < joint <= outer.place.body:
        return 0.0
    if reach.prismatic[joint - 1]:
        return 1.0
    carried = max(
        reach.carried(joint, outer.place.body, solid.corners) + solid.radius for solid in outer.solids
    )
    held = max(reach.holding(joint, inner.place.body, solid.corners) + solid.radius for solid in inner.solids)
    return min(carried, held)
