"""The state of the safety filter as a person sees it: on octo/safety_state, in diagnostics, in the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticStatus

from octo_ros.nodes.messages import status_message
from octo_ros.safety.decision import FilterState, Refusal
from octo_ros.types import NANOSECONDS

INACTIVE = "inactive"
"""State of a node that is not active; every other state is the filter's."""

ACTIVE, LIMITED = FilterState.ACTIVE.value, FilterState.LIMITED.value

LEVELS = {
    INACTIVE: DiagnosticStatus.WARN,
    FilterState.READY.value: DiagnosticStatus.OK,
    ACTIVE: DiagnosticStatus.OK,
    LIMITED: DiagnosticStatus.WARN,
    FilterState.HOLD.value: DiagnosticStatus.WARN,
    FilterState.STOPPED.value: DiagnosticStatus.ERROR,
    FilterState.ESTOP.value: DiagnosticStatus.ERROR,
}
"""How bad each state is."""

LIMITED_NS = NANOSECONDS // 2
"""LIMITED is shown for this long after the last limited motion, and so is each of its reasons [ns]."""

REPEAT_NS = 5 * NANOSECONDS
"""A change between ACTIVE and LIMITED is not logged where it and its limits were less than this ago [ns]."""


@dataclass(frozen=True)
class Change:
    """A change to publish: the line for the log, "" where it would only repeat one, and how bad it is."""

    line: str
    level: bytes


class ShownState:
    """The filter's state, steadied: an arm that slides along a wall is LIMITED, not both in turn.

    Attributes:
        state: `INACTIVE` or the value of a FilterState.
        reasons: why it is in it, empty where there is nothing to say.
        since_ns: when it went to it, by the node's clock [ns].
    """

    def __init__(self) -> None:
        self.state = INACTIVE
        self.reasons: tuple[Refusal, ...] = ()
        self.since_ns = 0
        self._limited_ns = self._shown_ns = 0  # steady: last limited motion, last change
        self._logged: dict[str, int] = {}  # limits, and "" for none, to when they were last logged, steady

    def see(
        self, state: str, reasons: Sequence[Refusal], now_ns: int, steady_ns: int, why: str = ""
    ) -> Change | None:
        """Takes the filter's state; returns what changed for a person, or None.

        Args:
            state: `INACTIVE` or the value of a FilterState.
            reasons: why the filter is in it.
            now_ns: the node's clock [ns].
            steady_ns: a clock that nothing stops or turns back [ns].
            why: for the log, what led to another state; not said of changes between ACTIVE and LIMITED.
        """
        if state == LIMITED:
            self._limited_ns = steady_ns
        if state == self.state:
            if state != LIMITED or steady_ns - self._shown_ns < LIMITED_NS:
                return None
            if _limits(reasons) == _limits(self.reasons):
                return None
        elif (state, self.state) == (ACTIVE, LIMITED) and steady_ns - self._limited_ns < LIMITED_NS:
            return None
        before, self.state, self.reasons, self._shown_ns = self.state, state, tuple(reasons), steady_ns
        if before != state:
            self.since_ns = now_ns
        return Change(self._line(before, steady_ns, why), LEVELS[state])

    def text(self) -> str:
        """State and reasons in one line."""
        return f"{self.state}: {self._why()}" if self.reasons else self.state

    def message(self, robot: str) -> DiagnosticStatus:
        """The state for octo/safety_state; `robot` goes into hardware_id."""
        values = {
            "state": self.state,
            "since": f"{self.since_ns / NANOSECONDS:.3f}",
            "reasons": self._why() or "none",
        }
        return status_message("octo safety state", robot, LEVELS[self.state], self.text(), values)

    def _why(self) -> str:
        return "; ".join(map(str, self.reasons))

    def _line(self, before: str, steady_ns: int, why: str) -> str:
        if {before, self.state} <= {ACTIVE, LIMITED}:
            limits = _limits(self.reasons) or [""]
            if all(steady_ns - self._logged.get(limit, -REPEAT_NS) < REPEAT_NS for limit in limits):
                return ""
            self._logged.update(dict.fromkeys(limits, steady_ns))
            why = "" if self.reasons else f"nothing limited for {LIMITED_NS / NANOSECONDS:g} s"
        change = self.state if before == self.state else f"{before} -> {self.state}"
        reason = "; ".join(text for text in (why, self._why()) if text)
        return f"{change}: {reason}" if reason else change


def _limits(reasons: Sequence[Refusal]) -> list[str]:
    return [refusal.limit for refusal in reasons]
