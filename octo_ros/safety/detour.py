"""Ways for the joints where the straight way to a pose brings next to nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from octo_ros.safety.compose import Pose, moved, pose_error
from octo_ros.safety.inverse_kinematics import DAMPING, nudges, size, solve
from octo_ros.safety.motion import Instant
from octo_ros.safety.pacing import largest
from octo_ros.safety.pieces import Pieces, finished
from octo_ros.safety.tool_servo import CLEARANCE, LOOKAHEAD_S, STILL, UNNOTICED, ToolServo

PROGRESS = 0.1
"""Share of the way asked for `LOOKAHEAD_S` that a detour has to bring for another one to be looked for."""

ALIKE = 0.9
"""Cosine of two actions from which they count as the same."""

PAUSE_S = 0.5
"""Time without a search after which another action is worth new ones [s]."""

RETRY_S = 2.0
"""Time without a search after which the same action is worth one more, twice as long each time [s]."""

PIECE_S = 0.01
"""A piece of a search is done for each so many seconds, in steps as long as `LOOKAHEAD_S` all of it [s]."""

PATIENCE = 8
"""Searches that may bring nothing, one after the other."""

LONG_PATIENCE = 24
"""Searches that may bring the tool no further than it ever was."""

MOST_DOUBLED = 5
"""How often `RETRY_S` is doubled at most."""

STUCK = 0.1
"""A motion that brings less than this share of the way calls for a detour."""

LOST = 0.3
"""A pose that is further away than this share of the way when the joints are there calls for one as well."""

DETOUR = 0.2
"""How far inwards a path along a wall may be drawn, as a share of the way that is asked for."""


Search = Pieces[np.ndarray | None]
"""A search for joints (n,) to go to."""


def find_detour(servo: ToolServo, now: Instant, target: Pose, dt: float) -> Search:
    """Joints (n,) to go to where the straight way to `target` brings next to nothing, None where it does.

    In a singular posture (a stretched elbow) no small motion goes one way; a nudge along a
    singular direction, both ways, leads to a posture from where the target can be reached.
    Beside a wall the path may bend through it: a target drawn a little inwards goes around, a
    shorter way bends less, and an undamped step is slow but straight.
    """
    start = now.joints
    asked = size(servo.missing(start, target))
    if asked <= UNNOTICED:
        return None
    low, high = servo.position.room(start)
    straight = solve(servo.robot, start, target, low, high).delta
    left = size(servo.missing(start + straight, target))
    if left > LOST * asked:
        yield
        goal = yield from _unfolded(servo, now, target, low, high, 0.5 * left, dt)
        if goal is not None:
            return goal
    motion, _ = yield from servo.gradually_towards(now, straight, dt)
    shortest = size(servo.missing(motion.end, target))
    if shortest < (1.0 - STUCK) * asked:
        return None
    best = None
    for delta in _ways(servo, start, target, asked, low, high):
        yield
        if size(servo.missing(start + delta, target)) < shortest:
            motion, _ = yield from servo.gradually_towards(now, delta, dt)
            missing = size(servo.missing(motion.end, target))
            if missing < shortest:
                best, shortest = motion.end, missing
    return best


def _unfolded(
    servo: ToolServo, now: Instant, target: Pose, low: np.ndarray, high: np.ndarray, enough: float, dt: float
) -> Search:
    """Joints (n,) out of a singular posture that come nearest to `target`, if they come near `enough`."""
    best = None
    for nudge in nudges(servo.robot, now.joints, low, high):
        delta = solve(servo.robot, now.joints, target, low, high, first=nudge).delta
        left = size(servo.missing(now.joints + delta, target))
        left *= 1.0 if delta @ now.velocity < 0.0 else 0.5  # going on is better than turning round
        if left < enough:
            motion, _ = yield from servo.gradually_towards(now, delta, dt, dt)
            if largest(motion.velocity) > STILL:
                best, enough = now.joints + delta, left
        yield
    return best


def _ways(
    servo: ToolServo, start: np.ndarray, target: Pose, asked: float, low: np.ndarray, high: np.ndarray
) -> Iterator[np.ndarray]:
    """Displacements (n,) beside the straight one."""
    here = Pose(*servo.robot.tool_pose(start))
    pull = DETOUR * asked
    low_wall = np.minimum(servo.box.minimum + CLEARANCE, here.position + pull)
    high_wall = np.maximum(servo.box.maximum - CLEARANCE, here.position - pull)
    way = pose_error(here, target)
    for share, damping in ((1.0, DAMPING), (0.3, DAMPING), (1.0, 0.0)):
        goal = moved(here, share * way, "base")
        goal = Pose(np.clip(goal.position, low_wall, high_wall), goal.rotation)
        yield solve(servo.robot, start, goal, low, high, damping).delta
    yield from nudges(servo.robot, start, low, high)


class Searches:
    """When to look for a detour. Where none helps, joints would go around again and again.

    A search is spread over steps, so that none takes long.
    """

    def __init__(self) -> None:
        self._search: Search | None = None
        self._begin: Pose | None = None  # of the tool at the last search
        self._furthest: Pose | None = None  # of the tool, by what was asked for
        self._twist = np.zeros(6)  # asked for at the last search
        self._fruitless = 0  # searches in a row that did not bring the tool on
        self._no_further = 0  # searches since it came further than ever
        self._age_s = 0.0  # of the last search

    @property
    def under_way(self) -> bool:
        """Whether a search is."""
        return self._search is not None

    def begin(self, search: Search, tool: Pose, twist: np.ndarray) -> None:
        """A search, with the tip at `tool` and a twist (6,) asked for."""
        self._search, self._twist, self._age_s = search, twist, 0.0
        self._begin, self._furthest = tool, self._furthest or tool
        self._fruitless += 1
        self._no_further += 1

    def drop(self) -> None:
        """Ends a search under way."""
        self._search = None

    def go_on(self, dt: float) -> np.ndarray | None:
        """`dt` seconds pass. Returns the joints (n,) that a search under way has found, if it has."""
        self._age_s += dt
        if self._search is None:
            return None
        try:
            if dt >= LOOKAHEAD_S:
                found, self._search = finished(self._search), None
                return found
            for _ in range(max(round(dt / PIECE_S), 1)):
                next(self._search)
        except StopIteration as end:
            self._search = None
            return end.value
        except np.linalg.LinAlgError:  # the next step says so
            self._search = None
        return None

    def may_help(self, tool: Pose, twist: np.ndarray, frame: str) -> bool:
        """Whether the last brought the tool on, or the twist (6,), in "base" or "tool" axes, is another.

        Coming on to and fro helps only for a while. While a search is under way, none may help.
        """
        if self._begin is None:
            return True
        if self._search is not None:
            return False
        size = float(np.linalg.norm(twist))
        same = twist @ self._twist > ALIKE * size * float(np.linalg.norm(self._twist))
        another = self._age_s > PAUSE_S and not same
        enough = PROGRESS * LOOKAHEAD_S * size * size
        if another or _way(self._begin, tool, frame) @ twist > enough:
            self._fruitless = 0
        if another or _way(self._furthest, tool, frame) @ twist > enough:
            self._no_further, self._furthest = 0, tool
        spent = max(self._fruitless - PATIENCE, self._no_further - LONG_PATIENCE)
        return spent < 0 or self._age_s > RETRY_S * 2.0 ** min(spent, MOST_DOUBLED)


def _way(begin: Pose, end: Pose, frame: str) -> np.ndarray:
    """(6,) from one pose to another, in "base" axes or those of the "tool" at the end."""
    way = pose_error(begin, end)
    if frame == "tool":
        return np.concatenate((end.rotation.T @ way[:3], end.rotation.T @ way[3:]))
    return way
