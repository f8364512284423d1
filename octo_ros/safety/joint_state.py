"""The newest joint state that can be believed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from octo_ros.safety.decision import Refusal
from octo_ros.safety.options import FilterOptions
from octo_ros.safety.robot import Robot
from octo_ros.safety.watchdog import StampGate, is_stamp, seconds

FURTHEST = 2.0 * np.pi
"""How far beyond its limits a measured joint is still believed [rad or m]."""

NOTICEABLE = 1e-4
"""Commanded way that every joint encoder notices [rad or m]."""


class MeasuredJoints:
    """Joint positions of one robot, taken from messages that may hold other joints as well.

    Attributes:
        positions: (n,) in the robot's joint order [rad or m], or None before the first state.
    """

    def __init__(self, robot: Robot, options: FilterOptions) -> None:
        self._robot = robot
        self._gate = StampGate("joint state", options.max_joint_state_age_s, options.max_action_lead_s)
        self.tighten(options)
        self._low, self._high = robot.lower - FURTHEST, robot.upper + FURTHEST
        self._names: list[str] = []  # of the newest message, and where the robot's joints are in it
        self._places: list[int] = []
        self._unanswered_s = self._unanswered_way = 0.0  # commanded since the measured joints last changed
        self.positions: np.ndarray | None = None

    def tighten(self, options: FilterOptions) -> None:
        """Takes other bounds from now on."""
        self._gate.max_age_s, self._gate.max_lead_s = options.max_joint_state_age_s, options.max_action_lead_s
        self._max_frozen_s = options.frozen_joint_state_s
        self._max_error = options.max_tracking_error

    def observe(
        self, names: Sequence[str], positions: Sequence[float], stamp_ns: int, now_ns: int
    ) -> Refusal | None:
        """Takes a joint state, or says why not."""
        if not is_stamp(stamp_ns):
            return Refusal("joint state stamp, usable", 0.0, 1.0, "")
        refusal = self._gate.refusal(stamp_ns, now_ns)
        if refusal is not None:
            return refusal
        try:
            names = [str(name) for name in names]
            values = np.asarray(positions, dtype=float)
        except (TypeError, ValueError, OverflowError):
            return Refusal("joint state positions, usable", 0.0, 1.0, "")
        if values.shape != (len(names),):
            return Refusal("joint state positions, count", float(values.size), float(len(names)), "")
        if names != self._names:
            for name in self._robot.joint_names:
                if names.count(name) != 1:
                    return Refusal(f"joint state entries for {name}", float(names.count(name)), 1.0, "")
            self._names, self._places = names, [names.index(name) for name in self._robot.joint_names]
        chain = values[self._places]
        if not ((chain >= self._low) & (chain <= self._high)).all():
            return self._implausible(chain)
        self._gate.accept(stamp_ns)
        if self.positions is None or not np.array_equal(chain, self.positions):
            self._unanswered_s = self._unanswered_way = 0.0
        self.positions = chain
        return None

    def _implausible(self, chain: np.ndarray) -> Refusal:
        """What is wrong with measured joints (n,) of which one is not finite or far beyond its limits."""
        for index, (name, value) in enumerate(zip(self._robot.joint_names, chain, strict=True)):
            if not np.isfinite(value):
                return Refusal(f"joint state finite values for {name}", 0.0, 1.0, "")
            if not self._low[index] <= value <= self._high[index]:
                bound = self._low[index] if value < self._low[index] else self._high[index]
                return Refusal(f"joint state plausible {name}", value, bound, self._robot.units[index])
        raise AssertionError("every joint is plausible")

    def commanded(self, displacement: np.ndarray, dt: float) -> None:
        """The joints were sent on by `displacement` (n,) in `dt` seconds; measured ones should change now."""
        way = float(np.max(np.abs(displacement)))
        if way > 0.0:
            self._unanswered_s += dt
            self._unanswered_way += way

    def frozen(self) -> Refusal | None:
        """Why the states cannot be the arm's: bit for bit the same under a commanded motion."""
        if self._unanswered_way < NOTICEABLE or self._unanswered_s < self._max_frozen_s - 1e-6:
            return None
        return Refusal("joint states unchanged in motion for", self._unanswered_s, self._max_frozen_s, "s")

    def lost(self, start: np.ndarray, end: np.ndarray) -> Refusal | None:
        """Which joint is too far from where it was sent: from `start` to `end` (n,), still under way."""
        error = np.maximum(np.minimum(start, end) - self.positions, self.positions - np.maximum(start, end))
        worst = int(np.argmax(error))
        if error[worst] <= self._max_error:
            return None
        name, unit = self._robot.joint_names[worst], self._robot.units[worst]
        return Refusal(f"tracking error {name}", error[worst], self._max_error, unit)

    def expect_nothing(self) -> None:
        """Counts commanded motion from here on."""
        self._unanswered_s = self._unanswered_way = 0.0

    def stale(self, now_ns: int) -> Refusal | None:
        """Why the state cannot be used at `now_ns`, or None."""
        if self.positions is None or self._gate.last_ns is None:
            return Refusal("joint states seen", 0.0, 1.0, "")
        age = seconds(now_ns - self._gate.last_ns)
        if age > self._gate.max_age_s:
            return Refusal("joint state age", age, self._gate.max_age_s, "s")
        return None

    def unusable(self, now_ns: int) -> Refusal | None:
        """Why nothing may be moved by the state at `now_ns`, or None."""
        return self.stale(now_ns) or self.frozen()

    def forget(self) -> None:
        """Drops the state and every stamp, for a clock that began again."""
        self._gate.forget()
        self.expect_nothing()
        self.positions = None
