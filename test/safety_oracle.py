"""Checks a stream of joint commands against every invariant of motion, with a model of its own.

Velocity is the difference of two commands by the time between them. An invariant that the start
violates already may not be violated more; everything else is kept to the last digit of rounding.
"""

from __future__ import annotations

import numpy as np
from safety_model import Model

from octo_ros.safety.options import FilterOptions

PIECES = 50
"""Pieces of a segment on which the tool is looked at."""

FEW, SHORT, OFTEN = 5, 0.05, 16
"""Pieces of a segment shorter than that [rad or m], but for one of so many; `thorough` cuts all."""

GROWTH = 1e-9  # by which rounding may take a violation further out [rad or m]
CREEP = 1e-6  # by which it may do so in all [rad or m]
CLEARANCE = 0.02  # kept by bodies that can never be as far apart as is asked for [m]
DISTANCE = 1e-5  # accuracy of a distance between two bodies [m]
SAME_TIME_S = 1e-6  # two commands closer than this are one [s]
SLACK = 5e-9  # where the braking may end beyond a bound, by rounding of the velocity [rad or m]
EPSILON = 4e-15  # what joint positions of a few radians are rounded to, with a spare digit [rad]


class Violation(AssertionError):
    """A command that breaks an invariant; says which one, by how much, and where."""

    def __init__(self, invariant: str, margin: float, detail: str) -> None:
        super().__init__(f"invariant {invariant}: {detail} (margin {margin:.3e})")
        self.invariant, self.margin = invariant, margin


class Oracle:
    """Follows one stream of commands.

    Attributes:
        worst: the smallest margin seen to each invariant, below zero a violation.
        largest_jerk: the largest change of acceleration by time, of steps that `is_free` said to count.
        joints: (n,) the last command, or None where the next one is a first.
        velocity: (n,) of the last step.
        time_ns: when the last command was given.
    """

    def __init__(self, model: Model, options: FilterOptions, thorough: bool = True) -> None:
        self.model, self.thorough = model, thorough
        self.worst: dict[str, float] = {}
        self.largest_jerk = 0.0
        self._segments = 0
        self._use(options)
        self.restart()

    def restart(self) -> None:
        """The next command is a first one, of an arm at rest."""
        self.joints: np.ndarray | None = None
        self.velocity = np.zeros(len(self.model.lower))
        self._acceleration: np.ndarray | None = None  # of the last step, where nothing limited it
        self.time_ns = 0
        self._excused = False  # limits became tighter under way, and the arm has to brake first

    def tighten(self, options: FilterOptions) -> None:
        """Other limits from the next command on; an arm that they find too fast must brake, not stop dead."""
        self._use(options)
        if self.joints is not None:
            self._stand(self.joints)
            self._excused = not self._may_go_on()

    def jumped(self, now_ns: int) -> None:
        """The clock began anew: no time passed since the last command."""
        self.time_ns = now_ns

    def emit(self, now_ns: int, joints: np.ndarray, is_free: bool = False) -> None:
        """Checks one command; `is_free` says that nothing but acceleration and jerk limited it."""
        joints = np.array(joints, dtype=float)
        if not np.isfinite(joints).all():
            raise Violation("1 finite", -np.inf, f"{joints}")
        if self.joints is None:
            self._stand(joints)
            self._check_reach(joints)
        else:
            dt = (now_ns - self.time_ns) * 1e-9
            if not SAME_TIME_S <= dt <= self.options.max_step_s:
                self._check_no_motion(joints, dt)
                self._acceleration = None
                if dt < SAME_TIME_S:
                    return
                self.velocity = np.zeros_like(joints)
            else:
                self._check_step(joints, dt, is_free)
        self.joints, self.time_ns = joints, now_ns

    def beyond(self, joints: np.ndarray) -> np.ndarray:
        """(2 n + 6 + 6 zones,) how far beyond each bound `joints` (n,) are, below zero inside [rad or m]."""
        return self._bounds(joints, self.model.tool(joints)[0])

    def is_inside(self, joints: np.ndarray) -> bool:
        """Whether `joints` (n,) at rest satisfy every limit."""
        distances = self.model.distances(joints)
        return bool(np.all(self.beyond(joints) <= 0.0) and np.all(distances >= self._wanted()))

    def _may_go_on(self) -> bool:
        """Whether the arm's velocity keeps the limits, and it can still stop within them."""
        bound = self.options.velocity_scale * self.model.velocity
        twist = self.model.jacobian(self.joints) @ self.velocity
        stops = [self.joints + self.velocity * (rate * 0.5 / self._brake) for rate in self._rates()]
        return bool(
            np.all(np.abs(self.velocity) <= bound)
            and np.linalg.norm(twist[:3]) <= self.options.max_tool_speed
            and np.linalg.norm(twist[3:]) <= self.options.max_tool_rotation_speed
            and all(np.all(self.beyond(stop) <= self._least + SLACK) for stop in stops)
            and all(np.all(self.model.distances(stop) >= self._kept - DISTANCE) for stop in stops)
        )

    def _rates(self) -> tuple[np.ndarray | float, np.ndarray | float]:
        """By what the velocity is braked: each joint alone, then all together."""
        return np.abs(self.velocity), float(np.max(np.abs(self.velocity)))

    def _use(self, options: FilterOptions) -> None:
        model = self.model
        self.options = options
        self._brake, self._inset = options.max_joint_acceleration, options.box_inset
        self._low, self._high = model.lower + options.joint_margin, model.upper - options.joint_margin
        low, high = options.workspace_min, options.workspace_max
        self._minimum = (model.minimum if low is None else np.array(low)) + options.box_inset
        self._maximum = (model.maximum if high is None else np.array(high)) - options.box_inset

    def _stand(self, joints: np.ndarray) -> None:
        """Measures how far outside the joints are; from here on it may only get less."""
        self._least = np.maximum(self.beyond(joints), 0.0)
        self._measured_at, self._measured = joints, self.model.distances(joints)
        self._kept = self._to_keep(self._measured)

    def _to_keep(self, distances: np.ndarray) -> np.ndarray:
        """(pairs,) distances that may not be undercut from here on, in doubt about a round side's shape."""
        wanted = self._wanted()
        return np.where(distances < wanted, distances - self.model.bodies.roughness, wanted)

    def _wanted(self) -> np.ndarray:
        """(pairs,) distance that each pair keeps where it can [m]."""
        asked = self.options.min_clearance
        return np.where(self.model.bodies.widest > 1.2 * asked, asked, min(asked, CLEARANCE))

    def _note(self, invariant: str, margins: np.ndarray | float, detail: str, *values: object) -> None:
        """Keeps the smallest margin; below zero it is a violation, and `detail` is filled with `values`."""
        margin = float(margins.min()) if isinstance(margins, np.ndarray) else float(margins)
        if margin >= self.worst.get(invariant, np.inf):
            return
        self.worst[invariant] = margin
        if not margin >= 0.0:
            item = int(np.argmin(margins))
            raise Violation(invariant, margin, f"{detail.format(*values)}, item {item}")

    def _check_no_motion(self, joints: np.ndarray, dt: float) -> None:
        self._note("16 no motion", 1e-9 - np.max(np.abs(joints - self.joints)), "dt {:g} s", dt)

    def _check_step(self, joints: np.ndarray, dt: float, is_free: bool) -> None:
        noise = EPSILON / dt
        velocity, brakes = (joints - self.joints) / dt, False
        if self._excused:
            brakes = self._check_slowing(velocity, dt)
        else:
            bound = self.options.velocity_scale * self.model.velocity
            self._note("3 joint velocity", bound + noise - np.abs(velocity), "{}", velocity)
        change = (velocity - self.velocity) / dt
        allowed = self._brake * (1.0 + 1e-6) + 2.0 * noise / dt
        self._note("4 acceleration", 1.0 - np.abs(change) / allowed, "dt {:g} s, {}", dt, change)
        if is_free and self._acceleration is not None:
            jerk = float(np.max(np.abs(change - self._acceleration))) / dt
            self.largest_jerk = max(self.largest_jerk, jerk)
        self._acceleration = change if is_free else None
        self._check_path(joints, dt)
        self.velocity, self._excused = velocity, brakes
        self._check_reach(joints)

    def _check_slowing(self, velocity: np.ndarray, dt: float) -> bool:
        """After the limits became tighter: the joints brake as hard as they may. Whether they still move."""
        before = np.max(np.abs(self.velocity))
        left = max(before - self._brake * dt * (1.0 - 1e-3), 0.0)
        self._note("4 slowing down", left + 1e-6 - np.max(np.abs(velocity)), "from {:g}", before)
        return bool(left > 0.0)

    def _check_path(self, joints: np.ndarray, dt: float) -> None:
        """6 to 9 and 20 along the segment."""
        options, way = self.options, joints - self.joints
        self._segments += 1
        is_fine = self.thorough or np.abs(way).max() > SHORT or self._segments % OFTEN == 0
        pieces = PIECES if is_fine else FEW
        line = self.joints + np.arange(pieces + 1)[:, None] * (way / pieces)
        line[-1] = joints
        positions, rotations = np.empty((pieces + 1, 3)), np.empty((pieces + 1, 3, 3))
        for index, sample in enumerate(line):
            positions[index], rotations[index] = self.model.tool(sample)
        if not self._excused:
            steps = positions[1:] - positions[:-1]
            chords = (rotations[1:] - rotations[:-1]).reshape(-1, 9)
            fastest = np.sqrt(np.einsum("ij,ij->i", steps, steps).max())
            turning = 2.0 * np.arcsin(min(np.sqrt(np.einsum("ij,ij->i", chords, chords).max() / 8.0), 1.0))
            noise, piece = EPSILON * pieces / dt, dt / pieces
            self._note("6 tool speed", options.max_tool_speed + noise - fastest / piece, "dt {:g} s", dt)
            self._note(
                "6 tool rotation", options.max_tool_rotation_speed + noise - turning / piece, "dt {:g} s", dt
            )
        self._check_growth(line, positions)
        self._check_distances(line)

    def _check_growth(self, line: np.ndarray, positions: np.ndarray) -> None:
        """1, 7 and 8 from inside; 9 from outside, against the command before and against the least so far."""
        n, model = line.shape[1], self.model
        beyond = [self._bounds(line[index], positions[index]) for index in (0, -1)]
        growth = np.maximum(*beyond)
        growth[2 * n : 2 * n + 3] = self._minimum - positions.min(axis=0)
        growth[2 * n + 3 : 2 * n + 6] = positions.max(axis=0) - self._maximum
        if model.zones:
            growth[2 * n + 6 :] = np.max([self._zones(joints) for joints in line], axis=0)
        if self._excused:  # it brakes, and ends wherever that takes it
            self._least = np.maximum(self._least, growth)
            return
        outside = self._least > 0.0
        allowed = np.where(outside, np.minimum(np.maximum(beyond[0], 0.0) + GROWTH, self._least + CREEP), 0.0)
        margins = allowed - growth
        if outside.any():
            self._note("9 from outside", margins[outside], "from {} to {}", beyond[0], growth)
            margins[outside] = np.inf
        self._note("1 joint position", margins[: 2 * n], "beyond {}", growth)
        self._note("7 workspace", margins[2 * n : 2 * n + 6], "beyond {}", growth)
        if model.zones:
            self._note("8 zones", margins[2 * n + 6 :], "beyond {}", growth)
        self._least = np.minimum(self._least, np.maximum(beyond[1], 0.0))

    def _bounds(self, joints: np.ndarray, position: np.ndarray) -> np.ndarray:
        """As `beyond`, for a tool at `position` (3,)."""
        parts = [self._low - joints, joints - self._high, self._minimum - position, position - self._maximum]
        return np.concatenate(parts if not self.model.zones else [*parts, self._zones(joints)])

    def _zones(self, joints: np.ndarray) -> np.ndarray:
        """(6 zones,) how far beyond its walls each link with a zone is [m]."""
        origins, zones = self.model.origins(joints), self.model.zones
        low = [zone.minimum + self._inset - origin for zone, origin in zip(zones, origins, strict=True)]
        high = [origin - zone.maximum + self._inset for zone, origin in zip(zones, origins, strict=True)]
        return np.concatenate(low + high)

    def _check_distances(self, line: np.ndarray) -> None:
        """20 in the middle and at the end; at every tenth sample of a long segment."""
        if not self._kept.size:
            return
        bodies = self.model.bodies
        room = bodies.room(self._measured_at - line[0]) + bodies.room(line[-1] - line[0])
        if not self._excused and np.all(self._measured - room > self._kept):
            return
        for joints in line[10::10] if len(line) > PIECES else line[3::2]:
            distances = self.model.distances(joints)
            if self._excused:
                self._kept = np.minimum(self._kept, distances)
                continue
            margins = distances + DISTANCE - self._kept
            self._note("20 distance", margins, "{} of {} m, {}", distances, self._kept, bodies.pairs)
        self._measured_at, self._measured = line[-1], distances
        self._kept = np.maximum(self._kept, self._to_keep(distances))

    def _check_reach(self, joints: np.ndarray) -> None:
        """3 and 5: the joints can brake, each by itself or all together, and end where they may be."""
        velocity = self.velocity
        if self._excused or not velocity.any():
            return
        n, excused = len(joints), self._least > 0.0
        for how, rate in zip(("alone", "together"), self._rates(), strict=True):
            margins = SLACK - self.beyond(joints + velocity * rate * (0.5 / self._brake))
            margins[excused] = np.inf
            self._note(f"5 braking {how}, joints", margins[: 2 * n], "velocity {}, {}", velocity, margins)
            self._note(f"5 braking {how}, boxes", margins[2 * n :], "velocity {}, {}", velocity, margins)
