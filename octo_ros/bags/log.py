"""What happened in a replay, in memory: what the summary and the report are made of."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from octo_ros.bags.thumbnails import Thumbnails
from octo_ros.policy.frames import FrameRefusal
from octo_ros.safety.decision import Decision, FilterState, Status
from octo_ros.types import Action


@dataclass(frozen=True)
class Episode:
    """One task, from its instruction to the next.

    Attributes:
        index: counted from 0.
        instruction: as given; "" where there is only a goal image.
        start_ns: when it was given [ns].
    """

    index: int
    instruction: str
    start_ns: int


@dataclass(frozen=True)
class Step:
    """One action of the policy.

    Attributes:
        episode: index of its episode.
        stamp_ns: of the newest frame it answers [ns].
        normalized: (7,) float32, network units.
        physical: (7,) float64, metres, radians, opening.
        latency_s: wall-clock time the policy took on this machine [s].
    """

    episode: int
    stamp_ns: int
    normalized: np.ndarray
    physical: np.ndarray
    latency_s: float


@dataclass(frozen=True)
class Verdict:
    """One decision of the safety filter, without its command: when [ns], what, and the kinds of limit met."""

    now_ns: int
    status: Status
    state: FilterState
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class Unreadable:
    """One message that could not be used: its topic, when it was recorded [ns], and why."""

    topic: str
    log_ns: int
    reason: str


@dataclass
class ReplayLog:
    """Everything a replay did, in order.

    Attributes:
        joint_names: of the robot; left out of a limit's kind.
        start_ns, end_ns: log times of the first and last message that was read [ns].
        frames: camera to the number of frames that were read.
        states: (time [ns], state) at the start and at each change.
        frame_refusals: (time [ns], refusal) whenever no set of frames was usable and one was due.
        failures: (time [ns], reason) whenever the policy refused its input.
        commands: number of actions that were accepted and moved the arm, or began to.
        joint_states: number the filter took; joint_states_rejected: reason to number.
    """

    joint_names: tuple[str, ...]
    start_ns: int = 0
    end_ns: int = 0
    frames: dict[str, int] = field(default_factory=dict)
    episodes: list[Episode] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    states: list[tuple[int, FilterState]] = field(default_factory=list)
    frame_refusals: list[tuple[int, FrameRefusal]] = field(default_factory=list)
    failures: list[tuple[int, str]] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    commands: int = 0
    joint_states: int = 0
    joint_states_rejected: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    thumbnails: Thumbnails = field(default_factory=Thumbnails)

    @property
    def acted(self) -> bool:
        """Whether the present episode has an action."""
        return bool(self.steps) and self.steps[-1].episode == len(self.episodes) - 1

    def warn(self, message: str) -> None:
        """Adds a warning once."""
        if message not in self.warnings:
            self.warnings.append(message)

    def step(self, action: Action, latency_s: float) -> None:
        """Adds an action to the present episode."""
        episode = len(self.episodes) - 1
        self.steps.append(Step(episode, action.stamp_ns, action.normalized, action.physical, latency_s))

    def verdict(self, decision: Decision, of_action: bool) -> None:
        """Adds a decision, on an action or between actions."""
        self.commands += of_action and decision.status in (Status.OK, Status.LIMITED)
        kinds = dict.fromkeys(self.kind(refusal.limit) for refusal in decision.refusals)
        self.verdicts.append(Verdict(decision.stamp_ns, decision.status, decision.state, tuple(kinds)))

    def state(self, now_ns: int, state: FilterState) -> None:
        """Notes the filter's state where it has changed."""
        if not self.states or self.states[-1][1] is not state:
            self.states.append((now_ns, state))

    def kind(self, limit: str) -> str:
        """A limit without what it applies to: "joint position", "workspace x", "zone x", "clearance"."""
        if limit.startswith("clearance "):
            return "clearance"
        if limit.startswith("workspace "):
            limit = limit.split(" in ")[0]
        if limit.startswith("zone "):
            limit = limit.split(" of ")[0]
        words = [word for word in limit.split() if word not in self.joint_names]
        return " ".join(words[:-1] if words and words[-1] == "for" else words)
