"""What a replay comes to, in numbers: printed, written as JSON, and the head of the report."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from octo_ros.bags.log import ReplayLog
from octo_ros.bags.recorded import Comparison
from octo_ros.bags.staging import FORMAT
from octo_ros.types import ACTION_AXES, NANOSECONDS

LISTED = 20
"""Most unreadable messages and failures that are listed one by one; all are counted."""


@dataclass(frozen=True)
class Setting:
    """What was replayed, and how.

    Attributes:
        bag, bundle, out: paths as given.
        checkpoint: name of the checkpoint in the bundle.
        notice: the bundle's notice, "" for none.
        backend: what ran the network, with its precision where it ran on a GPU.
        robot: as given, a name or the path of a URDF.
        joints: "bag" or "follower": where the joint states came from.
        dataset: data set whose statistics scaled the actions.
        instruction: given in place of the bag's words, None for the bag's.
        seed: of the noise.
        rate_hz: of the policy [Hz].
        data_rate_hz: rate the data set was recorded at [Hz].
        reset: whether an instruction reset history, filter and arm.
        topics: input to topic, those that were read.
        masked: cameras of the bundle that the bag does not have.
    """

    bag: str
    bundle: str
    out: str
    checkpoint: str
    notice: str
    backend: str
    robot: str
    joints: str
    dataset: str
    instruction: str | None
    seed: int | None
    rate_hz: float
    data_rate_hz: float
    reset: bool
    topics: Mapping[str, str]
    masked: tuple[str, ...]


@dataclass(frozen=True)
class ReplaySummary:
    """The outcome of a replay.

    Attributes:
        setting: what was replayed, and how.
        warnings: what a reader must know, most important first.
        duration_s: of the bag's topics that were read [s].
        frames: camera to number of frames read.
        episodes: number of tasks.
        actions: number of actions of the policy.
        latency_p50_s, latency_p95_s: wall-clock time of an action on this machine [s]; None without actions.
        decisions: filter's status to number of decisions: on each action, where another limit was met
            between actions, and repeats of a hold.
        commands: number of actions that were accepted.
        refusals: kind of limit to number of decisions that met it.
        stops: number of times the filter went to STOPPED or ESTOP.
        frame_refusals: "camera: reason" to number of ticks without a usable set of frames.
        joint_states, joint_states_rejected: accepted, and rejected by reason.
        failures: number of inputs the policy refused; failure_examples: (time [ns], reason) of the first.
        unreadable: number of messages that could not be used; unreadable_examples: the first of them.
        compared: number of actions with a recorded action beside them, None where the bag has none.
        error: axis to mean absolute error, physical units; null where nothing could be compared.
        recorded_not_finite: number of recorded actions with a value that is not finite.
    """

    setting: Setting
    warnings: tuple[str, ...]
    duration_s: float
    frames: Mapping[str, int]
    episodes: int
    actions: int
    latency_p50_s: float | None
    latency_p95_s: float | None
    decisions: Mapping[str, int]
    commands: int
    refusals: Mapping[str, int]
    stops: int
    frame_refusals: Mapping[str, int]
    joint_states: int
    joint_states_rejected: Mapping[str, int]
    failures: int
    failure_examples: tuple[tuple[int, str], ...]
    unreadable: int
    unreadable_examples: tuple[dict[str, Any], ...]
    compared: int | None
    error: Mapping[str, float | None] | None
    recorded_not_finite: int

    def to_json(self) -> str:
        """The text of `summary.json`."""
        return json.dumps({"format": FORMAT, **dataclasses.asdict(self)}, indent=2) + "\n"

    def __str__(self) -> str:
        """The lines a command prints."""
        setting = self.setting
        frames = ", ".join(f"{camera} {count}" for camera, count in self.frames.items())
        decisions = counted(self.decisions)
        lines = [
            f"{setting.out}: {setting.bag} through {setting.checkpoint} on {setting.robot}",
            *([f"  NOTICE     {setting.notice}"] if setting.notice else []),
            f"  frames     {frames}; episodes: {self.episodes}; {self.duration_s:.1f} s",
            f"  actions    {self.actions}, {self._latency()}",
            f"  decisions  {decisions}; stops: {self.stops}",
            f"  refusals   {counted(self.refusals)}",
        ]
        if self.frame_refusals:
            lines.append(f"  no frames  {counted(self.frame_refusals)}")
        if self.unreadable:
            lines.append(f"  unreadable {self.unreadable} messages")
        if self.error is not None:
            errors = ", ".join(f"{axis} {_shown(value)}" for axis, value in self.error.items())
            lines.append(f"  error      {errors} (mean absolute, {self.compared} recorded actions)")
        lines += [f"  WARNING    {warning}" for warning in self.warnings]
        lines.append(f"  report     {setting.out}/report.html")
        return "\n".join(lines)

    def _latency(self) -> str:
        if self.latency_p50_s is None:
            return "no latency to report"
        p50_ms, p95_ms = self.latency_p50_s * 1e3, self.latency_p95_s * 1e3
        return f"p50 {p50_ms:.0f} ms, p95 {p95_ms:.0f} ms each on this machine"


def summarize(setting: Setting, log: ReplayLog, comparison: Comparison | None) -> ReplaySummary:
    """Counts what a log holds."""
    latencies = [step.latency_s for step in log.steps]
    p50, p95 = map(float, np.percentile(latencies, (50, 95))) if latencies else (None, None)
    kinds = Counter(kind for verdict in log.verdicts for kind in verdict.kinds)
    halted = [state for _, state in log.states if state.value in ("stopped", "estop")]
    frame_refusals = Counter(f"{refusal.camera}: {refusal.reason}" for _, refusal in log.frame_refusals)
    return ReplaySummary(
        setting=setting,
        warnings=tuple(log.warnings),
        duration_s=(log.end_ns - log.start_ns) / NANOSECONDS,
        frames=dict(log.frames),
        episodes=len(log.episodes),
        actions=len(log.steps),
        latency_p50_s=p50,
        latency_p95_s=p95,
        decisions=_by_count(Counter(verdict.status.value for verdict in log.verdicts)),
        commands=log.commands,
        refusals=_by_count(kinds),
        stops=len(halted),
        frame_refusals=_by_count(frame_refusals),
        joint_states=log.joint_states,
        joint_states_rejected=dict(log.joint_states_rejected),
        failures=len(log.failures),
        failure_examples=tuple(log.failures[:LISTED]),
        unreadable=len(log.unreadable),
        unreadable_examples=tuple(dataclasses.asdict(one) for one in log.unreadable[:LISTED]),
        compared=None if comparison is None else comparison.compared,
        error=None
        if comparison is None
        else dict(zip(ACTION_AXES, map(_finite, comparison.error), strict=True)),
        recorded_not_finite=0 if comparison is None else comparison.not_finite,
    )


def counted(counts: Mapping[str, int]) -> str:
    """Names with their numbers, in one line."""
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"


def _by_count(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
