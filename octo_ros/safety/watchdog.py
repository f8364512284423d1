"""Time: which stamps are believed, and when silence becomes a stop."""

from __future__ import annotations

from numbers import Integral

from octo_ros.safety.decision import Refusal
from octo_ros.types import NANOSECONDS

_LATEST = 2**63 - 1
"""Largest stamp a ROS clock can hold [ns]."""


def is_stamp(value: object) -> bool:
    """Whether `value` is a usable time in nanoseconds."""
    return isinstance(value, Integral) and not isinstance(value, bool) and 0 <= value <= _LATEST


def seconds(duration_ns: int) -> float:
    """A duration in nanoseconds as seconds."""
    return duration_ns / NANOSECONDS


class StampGate:
    """Believes stamps that are recent, not in the future, and newer than the last one believed."""

    def __init__(self, name: str, max_age_s: float, max_lead_s: float) -> None:
        self.name = name
        self.max_age_s = max_age_s
        self.max_lead_s = max_lead_s
        self.last_ns: int | None = None

    def refusal(self, stamp_ns: int, now_ns: int) -> Refusal | None:
        """Why the stamp is not believed at `now_ns`, or None."""
        age = seconds(now_ns - int(stamp_ns))
        if age > self.max_age_s:
            return Refusal(f"{self.name} age", age, self.max_age_s, "s")
        if -age > self.max_lead_s:
            return Refusal(f"{self.name} stamp in the future", -age, self.max_lead_s, "s")
        if self.last_ns is not None and stamp_ns <= self.last_ns:
            behind = seconds(int(stamp_ns) - self.last_ns)
            return Refusal(f"{self.name} stamp not newer than the last", behind, 0.0, "s")
        return None

    def accept(self, stamp_ns: int) -> None:
        """Remembers a stamp that was believed and used."""
        self.last_ns = int(stamp_ns)

    def forget(self) -> None:
        """Starts over, for a clock that began again."""
        self.last_ns = None


class Watchdog:
    """Barks when it was not fed for too long."""

    def __init__(self, name: str, timeout_s: float) -> None:
        self.name = name
        self.timeout_s = timeout_s
        self._fed_ns = 0

    def feed(self, now_ns: int) -> None:
        """Counts from `now_ns` on."""
        self._fed_ns = now_ns

    def refusal(self, now_ns: int) -> Refusal | None:
        """Why to stop at `now_ns`, or None."""
        silence = seconds(now_ns - self._fed_ns)
        if silence <= self.timeout_s:
            return None
        return Refusal(f"time since the last accepted {self.name}", silence, self.timeout_s, "s")
