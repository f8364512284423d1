"""The two nodes at the bag's time: the same frame pairing, policy and filter, called in order of stamps.

Inference takes no time here: an action comes when its frames do. Otherwise what the
nodes do is done: nothing without a task, no set of frames twice, a stop when actions end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from octo_ros.bags.arm import Arm
from octo_ros.bags.log import Episode, ReplayLog
from octo_ros.errors import ObservationError, OctoRosError
from octo_ros.policy.frames import FrameSync
from octo_ros.policy.pacing import Pacer
from octo_ros.policy.policy import Policy
from octo_ros.safety.decision import Decision, ToolDelta
from octo_ros.safety.filter import SafetyFilter
from octo_ros.safety.telling import Telling
from octo_ros.types import NANOSECONDS, Action, Observation, Task

COMMAND_RATE_HZ = 100.0
"""How often the filter gives a command and the joints are read, as in the filter node [Hz]."""


class Sink(Protocol):
    """Where actions, decisions and commands go."""

    def action(self, action: Action, now_ns: int) -> None:
        """An action of the policy."""

    def decision(self, decision: Decision, episode: Episode | None) -> None:
        """What the filter made of an action, a limit met between actions, or a hold."""

    def command(self, decision: Decision) -> None:
        """A decision whose command is sent to the arm."""


@dataclass(frozen=True)
class Tick:
    """One instant at which the policy, a command of the filter, or both are due."""

    now_ns: int
    policy: bool
    command: bool


class Ticks:
    """The two rates on the bag's clock, from a start time [ns]."""

    def __init__(self, start_ns: int, policy_hz: float, command_hz: float) -> None:
        self._start_ns = start_ns
        self._rates = {"policy": policy_hz, "command": command_hz}
        self._counts = {"policy": 0, "command": 0}

    def before(self, end_ns: int) -> Iterator[Tick]:
        """The ticks not yet given that lie before `end_ns`, in order."""
        while (now_ns := min(map(self._due_ns, self._rates))) < end_ns:
            due = {name: self._due_ns(name) == now_ns for name in self._rates}
            for name in due:
                self._counts[name] += due[name]
            yield Tick(now_ns, **due)

    def _due_ns(self, name: str) -> int:
        return self._start_ns + round(self._counts[name] * NANOSECONDS / self._rates[name])


class ReplayLoop:
    """Policy, filter and arm. Every method takes the bag's time.

    Args:
        policy: with its options and seed.
        new_filter: makes a filter in READY; called at each episode where episodes reset.
        arm: where the joints are.
        frames: pairs the cameras' frames.
        reset: whether an instruction starts the history, the filter and the arm anew, as an operator
            does between episodes; without it only the words change.
        log: what happened.
        sink: takes actions, decisions and commands.

    Attributes:
        has_task: whether there is an instruction or a goal image, so that the policy acts.
    """

    def __init__(
        self,
        policy: Policy,
        new_filter: Callable[[], SafetyFilter],
        arm: Arm,
        frames: FrameSync,
        reset: bool,
        log: ReplayLog,
        sink: Sink,
    ) -> None:
        self._policy, self._arm = policy, arm
        self._frames, self._pacer = frames, Pacer(frames)
        self._reset, self._log, self._sink = reset, log, sink
        self._new_filter = new_filter
        self._filter = new_filter()
        self._instruction = ""
        self._goals: Mapping[str, np.ndarray] = {}
        self.has_task = False
        self._sensed_ns: int | None = None
        self._telling = Telling()
        self._sent_ns = -1

    def instruct(self, instruction: str, now_ns: int) -> None:
        """A new instruction, which begins an episode; blanks withdraw the one before."""
        instruction = instruction.strip()
        if self._reset or instruction != self._instruction:
            self._instruction = instruction
            self._set_task(now_ns)

    def show_goal(self, goals: Mapping[str, np.ndarray], now_ns: int) -> None:
        """New goal images by camera, (H, W, 3) uint8 RGB; they begin an episode where there was no task."""
        self._goals = goals
        self._set_task(now_ns, new_episode=not self.has_task)

    def frame(self, camera: str, stamp_ns: int, image: np.ndarray, now_ns: int) -> None:
        """A camera's frame, (H, W, 3) uint8 RGB; the policy acts if its period still waits for frames."""
        self._frames.push(camera, stamp_ns, image)
        if self.has_task:
            self._act(self._pacer.arrived(now_ns), now_ns)

    def run(self, tick: Tick) -> None:
        """Joints are read, then the policy acts, then the filter goes on; each if it is due."""
        self._sense(tick.now_ns)
        if tick.policy:
            self._begin_period(tick.now_ns)
        if tick.command:
            self._go_on(tick.now_ns)
        self._log.state(tick.now_ns, self._filter.state)

    def _set_task(self, now_ns: int, new_episode: bool = True) -> None:
        self.has_task = bool(self._instruction or self._goals)
        if not self.has_task:
            return
        try:
            self._policy.set_task(Task(self._instruction or None, self._goals))
        except ObservationError as error:
            self.has_task = False
            self._log.failures.append((now_ns, str(error)))
            return
        if not new_episode:
            return
        self._log.episodes.append(Episode(len(self._log.episodes), self._instruction, now_ns))
        if self._reset:
            self._policy.reset()
            self._filter = self._new_filter()
            self._arm.start(now_ns)
            self._sensed_ns = None

    def _sense(self, now_ns: int) -> None:
        state = self._arm.sense(now_ns)
        if state is None or state[2] == self._sensed_ns:
            return
        names, positions, self._sensed_ns = state
        refusal = self._filter.observe_joints(names, positions, self._sensed_ns, now_ns)
        if refusal is None:
            self._log.joint_states += 1
        else:
            rejected = self._log.joint_states_rejected
            rejected[refusal.limit] = rejected.get(refusal.limit, 0) + 1

    def _begin_period(self, now_ns: int) -> None:
        if not self.has_task:
            self._pacer.skip()
            return
        observation, refusal = self._pacer.tick(now_ns)
        if refusal is not None and refusal.reason != "repeated":
            self._log.frame_refusals.append((now_ns, refusal))
        self._act(observation, now_ns)

    def _act(self, observation: Observation | None, now_ns: int) -> None:
        if observation is None:
            return
        self._sense(now_ns)
        started = time.perf_counter()
        try:
            action = self._policy.act(observation)
        except OctoRosError as error:
            self._log.failures.append((now_ns, str(error)))
            return
        latency_s = time.perf_counter() - started
        episode = self._log.episodes[-1]
        shown = next(iter(observation.images.values()))
        self._log.thumbnails.add(episode.index, len(self._log.steps), action.stamp_ns, shown)
        self._log.step(action, latency_s)
        self._sink.action(action, now_ns)
        values = action.physical
        delta = ToolDelta(action.stamp_ns, values[:3], values[3:6], float(values[6]))
        decision = self._filter.step(delta, now_ns)
        self._send(decision)
        self._telling.begin()
        self._tell(decision, of_action=True)

    def _go_on(self, now_ns: int) -> None:
        """The filter's command between actions; told where it meets another limit, or holds the arm."""
        decision = self._filter.tick(now_ns)
        if decision is None:
            return
        if self._sent_ns != now_ns:
            self._send(decision)
        stopped = not decision.state.moves and decision.state is not self._log.states[-1][1]
        if stopped or self._telling.is_news(decision, now_ns):
            self._tell(decision)

    def _send(self, decision: Decision) -> None:
        if decision.is_command:
            self._sent_ns = decision.stamp_ns
            self._arm.follow(decision)
            self._sink.command(decision)

    def _tell(self, decision: Decision, of_action: bool = False) -> None:
        self._telling.told(decision, decision.stamp_ns)
        self._log.verdict(decision, of_action)
        self._log.state(decision.stamp_ns, decision.state)
        self._sink.decision(decision, self._log.episodes[-1] if self._log.episodes else None)
