"""When the simulated cell's steps are due: against a steady clock, never more than it can catch up."""

from __future__ import annotations

MOST_AT_ONCE = 8
"""Steps that are caught up in one go; what is older is dropped, and simulated time runs late."""


class Pace:
    """Counts the steps that are due.

    Args:
        period_s: simulated time of a step [s].
        factor: simulated seconds in a real one.
        now_s: of the steady clock [s].

    Attributes:
        dropped_s: real time that was not made up [s].
    """

    def __init__(self, period_s: float, factor: float, now_s: float) -> None:
        self._period_s = period_s / factor
        self._next_s = now_s
        self.dropped_s = 0.0

    def due(self, now_s: float) -> int:
        """How many steps to take now."""
        steps = int((now_s - self._next_s) / self._period_s + 1e-9)
        if steps > MOST_AT_ONCE:
            late_s = (steps - MOST_AT_ONCE) * self._period_s
            self.dropped_s += late_s
            self._next_s += late_s
            steps = MOST_AT_ONCE
        steps = max(steps, 0)
        self._next_s += steps * self._period_s
        return steps

    def left_s(self, now_s: float) -> float:
        """Time until the next step is due [s]."""
        return max(self._next_s + self._period_s - now_s, 0.0)

    def hold(self, now_s: float) -> None:
        """The steps that are due wait for something else: one of them is due now, the others are dropped."""
        self._next_s = now_s - self._period_s
