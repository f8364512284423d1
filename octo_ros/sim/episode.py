"""One episode in simulated time: cell, safety filter and a policy, in one loop without DDS.

Observations come at 10 Hz, commands of the filter at 100 Hz, as in the nodes; a policy's answer
takes no time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from octo_ros.errors import ParameterError
from octo_ros.policy.policy import Policy
from octo_ros.safety.decision import Decision, FilterState, Status, ToolDelta
from octo_ros.safety.filter import SafetyFilter
from octo_ros.safety.options import FilterOptions
from octo_ros.sim.cell import Cell
from octo_ros.sim.expert import Expert
from octo_ros.sim.state import CellState
from octo_ros.sim.tasks import CellTask, Judge
from octo_ros.types import Observation, Task

POLICY_HZ = 10
"""Observations and actions a second [Hz]."""

TICKS = 10
"""Commands of the filter for each action."""

MAX_STEPS = 150
"""Actions after which an episode has failed."""


@dataclass(frozen=True)
class Seen:
    """What a policy gets at one step.

    Attributes:
        stamp_ns: simulated time of the state and the pictures [ns].
        instruction: what to do.
        images: camera's name to RGB picture, (H, W, 3) uint8; empty where the episode renders none.
        state: what is true; for an expert, not for a policy that is judged.
    """

    stamp_ns: int
    instruction: str
    images: Mapping[str, np.ndarray]
    state: CellState

    @property
    def observation(self) -> Observation:
        """What `octo_ros.policy.policy.Policy.act` takes."""
        return Observation(self.stamp_ns, self.images)


SimPolicy = Callable[[Seen], np.ndarray]
"""From what is seen to an action (7,): metres and radians for one step at 10 Hz, gripper 1 open."""


class Listener:
    """Is told what happens in an episode; this one ignores it all. Times are simulated [ns]."""

    def begin(self, task: CellTask, state: CellState) -> None:
        """An episode begins."""

    def step(self, seen: Seen, action: np.ndarray) -> None:
        """The policy acted, (7,)."""

    def tick(self, state: CellState, decision: Decision | None) -> None:
        """A hundredth of a second has passed, under the filter's decision."""

    def end(self, result: EpisodeResult, seen: Seen) -> None:
        """The episode is over; what is seen then."""


@dataclass(frozen=True)
class EpisodeResult:
    """How an episode went.

    Attributes:
        task: what was asked for.
        seed: of the cell.
        success: whether it was done within the steps allowed.
        steps: actions taken.
        limited: those that the filter shortened or refused, at once or while they moved the arm.
        refusals: limit to the number of actions that met it.
        filter_state: where the filter stood at the end.
        frames: pictures rendered, of all cameras.
    """

    task: CellTask
    seed: int
    success: bool
    steps: int
    limited: int
    refusals: Mapping[str, int] = field(default_factory=dict)
    filter_state: FilterState = FilterState.READY
    frames: int = 0

    @property
    def limited_share(self) -> float:
        """Share of the actions that the filter limited."""
        return self.limited / self.steps if self.steps else 0.0


def filter_options(**changes: float) -> FilterOptions:
    """The filter's own defaults, for deltas that are steps at 10 Hz; `changes` as `FilterOptions`."""
    return FilterOptions(**{"data_rate_hz": float(POLICY_HZ), **changes})


def expert_policy(expert: Expert) -> SimPolicy:
    """The scripted expert, as a policy that looks at the state."""
    return lambda seen: expert.act(seen.state)


def student_policy(policy: Policy, task: CellTask) -> SimPolicy:
    """A bundle's policy, begun anew with the task's words; it looks at the pictures of its cameras."""
    policy.reset()
    policy.set_task(Task(instruction=task.instruction))

    def act(seen: Seen) -> np.ndarray:
        images = {camera: seen.images[camera] for camera in policy.manifest.cameras}
        return policy.act(Observation(seen.stamp_ns, images)).physical

    return act


def watched(student: SimPolicy, expert: Expert) -> SimPolicy:
    """The student acts, and the expert says to itself what it would have done."""

    def act(seen: Seen) -> np.ndarray:
        expert.act(seen.state)
        return student(seen)

    return act


def run_episode(
    cell: Cell,
    task: CellTask,
    policy: SimPolicy,
    seed: int,
    *,
    options: FilterOptions | None = None,
    render: bool = True,
    max_steps: int = MAX_STEPS,
    listener: Listener | None = None,
) -> EpisodeResult:
    """Resets the cell to `seed` and runs the policy through the filter until success or `max_steps`.

    Raises:
        ParameterError: no step is allowed; an action that is not seven numbers; `render` where
            there is no way to.
    """
    if max_steps < 1:
        raise ParameterError(f"episode: max_steps: expected at least 1, got {max_steps}")
    options = filter_options() if options is None else options
    listener = Listener() if listener is None else listener
    run = _Run(cell, SafetyFilter(cell.robot, options), listener)
    state, judge = cell.reset(seed), Judge(task)
    listener.begin(task, state)
    run.sense(state)
    steps = frames = 0
    while steps < max_steps and not judge.look(state):
        seen = _seen(cell, task, state, render)
        action = _checked(policy(seen))
        listener.step(seen, action)
        state = run.act(action)
        steps, frames = steps + 1, frames + len(seen.images)
    seen = _seen(cell, task, state, render)
    result = EpisodeResult(
        task=task,
        seed=seed,
        success=judge.success or judge.look(state),
        steps=steps,
        limited=run.limited,
        refusals=dict(run.refusals),
        filter_state=run.filter.state,
        frames=frames + len(seen.images),
    )
    listener.end(result, seen)
    return result


class _Run:
    """The filter and the arm it commands, action by action."""

    def __init__(self, cell: Cell, safety: SafetyFilter, listener: Listener) -> None:
        self._cell, self.filter, self._listener = cell, safety, listener
        self.limited, self.refusals = 0, Counter()

    def sense(self, state: CellState) -> None:
        """The filter sees the joints."""
        now_ns = self._cell.time_ns
        self.filter.observe_joints(self._cell.robot.joint_names, state.joints, now_ns, now_ns)

    def act(self, action: np.ndarray) -> CellState:
        """One action, and the time until the next."""
        now_ns, met = self._cell.time_ns, set()
        delta = ToolDelta(now_ns, action[:3], action[3:6], float(action[6]))
        decision: Decision | None = self.filter.step(delta, now_ns)
        limited = decision.status is not Status.OK
        for left in reversed(range(TICKS)):
            if decision is not None:
                met |= {refusal.limit for refusal in decision.refusals}
                limited |= decision.status is not Status.OK
            command = decision is not None and decision.is_command
            self._cell.advance(
                decision.joint_positions if command else None, decision.gripper if command else None
            )
            state = self._cell.state()
            self._listener.tick(state, decision)
            self.sense(state)
            if left:  # the last command is that of the next action
                decision = self.filter.tick(self._cell.time_ns)
        self.limited += limited
        self.refusals.update(met)
        return state


def _seen(cell: Cell, task: CellTask, state: CellState, render: bool) -> Seen:
    return Seen(cell.time_ns, task.instruction, cell.images() if render else {}, state)


def _checked(action: np.ndarray) -> np.ndarray:
    """The action, if it is seven numbers."""
    action = np.asarray(action, dtype=np.float64)
    if action.shape != (7,):
        raise ParameterError(f"episode: action: expected 7 values, got shape {action.shape}")
    return action
