"""Which decisions are told: one for each action, and of the ticks between only what they add."""

from __future__ import annotations

from octo_ros.safety.decision import Decision
from octo_ros.types import NANOSECONDS

REPEAT_S = 0.1
"""Time between two repeats of a decision that holds the arm [s]."""


class Telling:
    """What was told of the present action, and when. Every method takes the time, of any one clock."""

    def __init__(self) -> None:
        self._limits: set[str] = set()
        self._repeat_due_ns = 0

    def begin(self) -> None:
        """Another action came."""
        self._limits.clear()

    def told(self, decision: Decision, now_ns: int) -> None:
        """A decision was told."""
        self._limits.update(refusal.limit for refusal in decision.refusals)
        self._repeat_due_ns = now_ns + round(REPEAT_S * NANOSECONDS)

    def is_news(self, decision: Decision, now_ns: int) -> bool:
        """Whether a tick met another limit, or holds the arm and that is due again."""
        if decision.state.moves:
            return any(refusal.limit not in self._limits for refusal in decision.refusals)
        return now_ns >= self._repeat_due_ns
