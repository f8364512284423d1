"""What policy_node tells of itself: first lines in the log, then rates, latencies, gaps in /diagnostics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.impl.rcutils_logger import RcutilsLogger

from octo_ros.nodes.messages import status_message
from octo_ros.policy.frames import REASONS
from octo_ros.policy.latency import DurationWindow, RateWindow
from octo_ros.policy.policy import Policy
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

    def status(
        self, now_ns: int, policy: Policy, instruction: str, waiting: str, error: str
    ) -> DiagnosticStatus:
        """The state now, and the start of the next interval.

        Args:
            now_ns: the clock of `published` [ns].
            policy: that answers.
            instruction: it follows, empty for none.
            waiting: what the node waits for by itself ("inactive", "no instruction"), empty for nothing.
            error: why there is no task, empty where there is one or none was given.
        """
        recent = self.counts - self._before
        self._before = self.counts.copy()
        latency, inference = self._latency.percentiles(), self._inference.percentiles()
        level, message = _verdict(recent, waiting, error, self.reason)
        manifest = policy.manifest
        if manifest.notice:
            level, message = max(level, DiagnosticStatus.WARN), f"{message}; {manifest.notice}"
        values = {
            "rate_hz": self._rate.rate(now_ns),
            "latency_p50_s": latency.p50,
            "latency_p95_s": latency.p95,
            "inference_p50_s": inference.p50,
            "inference_p95_s": inference.p95,
            **{event: self.counts[event] for event in EVENTS},
            "backend": policy.backend_name,
            **{f"backend_{name}": value for name, value in policy.backend_details.items()},
            "notice": manifest.notice or "none",
            "instruction": instruction,
        }
        return status_message("octo policy", str(manifest.checkpoint["name"]), level, message, values)


def announce(
    log: RcutilsLogger, policy: Policy, cameras: Sequence[str], inference_s: float, period_s: float
) -> None:
    """Logs what a person must know before the node is activated.

    Args:
        log: of the node.
        policy: that will answer.
        cameras: that it will see.
        inference_s: how long it takes for an answer [s].
        period_s: how long it has for one [s].
    """
    manifest = policy.manifest
    masked = ", ".join(name for name in manifest.cameras if name not in cameras) or "none"
    name = manifest.checkpoint["name"]
    log.info(f"{name} on {policy.backend_name}: cameras {', '.join(cameras)}, masked: {masked}")
    log.info(", ".join(f"{name}: {value}" for name, value in policy.backend_details.items()))
    log.info(f"one inference takes {inference_s * 1e3:.0f} ms, a period {period_s * 1e3:.0f} ms")
    if manifest.notice:
        log.warning(manifest.notice)
    if manifest.proprio_size is not None:
        log.warning("the network takes proprioception, which this node does not supply: it is masked")
    if inference_s > period_s:
        log.warning("inference takes longer than a period: actions will be dropped; lower rate_hz")


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
