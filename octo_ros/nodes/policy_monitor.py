"""What policy_node tells of itself in /diagnostics: rates, latencies, what was not published and why."""

from __future__ import annotations

from collections import Counter

from diagnostic_msgs.msg import DiagnosticStatus

from octo_ros.policy.frames import REASONS
from octo_ros.policy.latency import DurationWindow, RateWindow
from octo_ros.types import NANOSECONDS

EVENTS = ("actions", "dropped", "late", *REASONS, "cancelled", "failed")
"""Everything that a tick can end in: an action; the worker still busy; a result after its period;
no frames; a stop or reset in between; an error."""

FAULTS = ("missing", "stale", "future", "unpaired", "failed")
"""Events that mean the robot does not get what it should, and somebody has to look."""


class PolicyMonitor:
    """Counts and times the events of a policy node."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Starts anew."""
        self.counts: Counter[str] = Counter()
        self.reason = ""
        self._before: Counter[str] = Counter()
        self._rate = RateWindow()
        self._latency = DurationWindow()
        self._inference = DurationWindow()

    def count(self, event: str, reason: str = "") -> None:
        """Counts one event of `EVENTS`; the reason, if any, is what diagnostics say."""
        self.counts[event] += 1
        self.reason = reason or self.reason

    def inferred(self, seconds: float) -> None:
        """One inference took `seconds` [s]."""
        self._inference.add(seconds)

    def published(self, stamp_ns: int, now_ns: int) -> None:
        """An action that answers the frames stamped `stamp_ns` went out at `now_ns`."""
        self.counts["actions"] += 1
        self._rate.add(now_ns)
        self._latency.add((now_ns - stamp_ns) / NANOSECONDS)

    def report(self, now_ns: int, waiting: str, error: str) -> tuple[bytes, str, dict[str, object]]:
        """Level, message and values of a DiagnosticStatus, and the start of the next interval.

        Args:
            now_ns: the clock of `published` [ns].
            waiting: what the node waits for by itself ("inactive", "no instruction"), empty for nothing.
            error: why there is no task, empty where there is one or none was given.
        """
        recent = self.counts - self._before
        self._before = self.counts.copy()
        latency, inference = self._latency.percentiles(), self._inference.percentiles()
        level, message = _verdict(recent, waiting, error, self.reason)
        values = {
            "rate_hz": self._rate.rate(now_ns),
            "latency_p50_s": latency.p50,
            "latency_p95_s": latency.p95,
            "inference_p50_s": inference.p50,
            "inference_p95_s": inference.p95,
            **{event: self.counts[event] for event in EVENTS},
        }
        return level, message, values


def _verdict(recent: Counter[str], waiting: str, error: str, reason: str) -> tuple[bytes, str]:
    """Level and message from the events since the last report."""
    if error:
        return DiagnosticStatus.ERROR, f"no actions: {error}"
    if waiting:
        return DiagnosticStatus.WARN, waiting
    faults = sum(recent[event] for event in FAULTS)
    if faults and not recent["actions"]:
        return DiagnosticStatus.ERROR, f"no actions: {reason}"
    if recent["late"] and not recent["actions"]:
        return DiagnosticStatus.ERROR, "no actions: every inference takes longer than a period; lower rate_hz"
    if not recent["actions"]:
        return DiagnosticStatus.ERROR, "no actions: no new frames"
    if faults:
        return DiagnosticStatus.WARN, f"actions with gaps: {reason}"
    if recent["late"] or recent["dropped"]:
        return (
            DiagnosticStatus.WARN,
            f"{recent['late']} late and {recent['dropped']} dropped since the last report",
        )
    return DiagnosticStatus.OK, "actions flow"
