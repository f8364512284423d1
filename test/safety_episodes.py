"""Episodes of an adversary against the safety filter, each determined by a seed and a number.

An episode takes an arm, options and a start, pushes in some direction for a while, then in
another, and meanwhile lets inputs fail. What comes out is checked as in every test.
"""

from __future__ import annotations

import math
import traceback
from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np
from safety_arms import SHAPES, SHIPPED, Arm, arm
from safety_cell import MILLISECOND, SECOND, Cell, starts

from octo_ros.errors import ParameterError
from octo_ros.safety.decision import FilterState, ToolDelta
from octo_ros.safety.options import FilterOptions

RANDOM_ARMS = 24
"""So many different random arms take part."""

STEPS = 400
"""Decisions in an episode, about."""

FAILURES = (
    "e_stop", "fault", "silence", "blind", "frozen", "malformed", "old", "back", "no time", "tighten", "gap",
)  # fmt: skip
"""What may go wrong at any action."""

RISING, FALLING = ("joint_margin", "box_inset", "min_clearance"), ("velocity_scale", "max_tool_speed")
"""Options that an episode tightens by a larger or by a smaller value."""


@dataclass
class Outcome:
    """What one episode showed.

    Attributes:
        index: its number; `about` says which arm and how it was used.
        steps: decisions that were checked.
        statuses, states: how often each was said.
        worst: the smallest margin to each invariant.
        violation: what went wrong, empty where nothing did; trace: where.
    """

    index: int
    about: str = ""
    steps: int = 0
    statuses: Counter = field(default_factory=Counter)
    states: Counter = field(default_factory=Counter)
    worst: dict[str, float] = field(default_factory=dict)
    violation: str = ""
    trace: str = ""


def run_episode(seed: int, index: int, steps: int = STEPS) -> Outcome:
    """One episode; an AssertionError or any error of the filter is its violation."""
    outcome = Outcome(index)
    episode = None
    try:
        episode = Episode(np.random.default_rng([seed, index]), outcome)
        episode.run(steps)
    except Exception as error:  # whatever the filter raises is a defect
        outcome.violation = f"{type(error).__name__}: {error}"
        outcome.trace = traceback.format_exc()
    if episode is not None:
        outcome.worst = dict(episode.cell.worst)
    return outcome


class Episode:
    """One filter under attack."""

    def __init__(self, random: np.random.Generator, outcome: Outcome) -> None:
        self.random, self.outcome = random, outcome
        self.arm = _arm(random)
        self.options = _options(random, self.arm)
        self.ticks = random.random() < 0.6
        self.pace = random.choice(["steady", "steady", "jitter", "wild"])
        start, kind = self._start()
        self.cell = Cell(self.arm, start, self.options, thorough=random.random() < 0.03)
        self.cell.lag = random.choice([0.0, 0.0, 0.5])
        outcome.about = f"{self.arm.name}, {'ticks' if self.ticks else 'steps'}, {self.pace}, from {kind}"
        self._blind = self._frozen = False
        self._check = self.cell.check
        self.cell.check = self._counted

    def run(self, steps: int) -> None:
        """Pushes until so many decisions were made."""
        self.cell.act()
        while self.outcome.steps < steps:
            push = self._push()
            for _ in range(int(self.random.integers(1, 25))):
                if self.random.random() < 0.03:
                    self._fail()
                if self.cell.filter.state in (FilterState.STOPPED, FilterState.ESTOP, FilterState.HOLD):
                    self._recover()
                self._act(push)
                if self.outcome.steps >= steps:
                    break

    def _counted(self, decision):
        self.outcome.steps += 1
        self.outcome.statuses[decision.status.value] += 1
        self.outcome.states[decision.state.value] += 1
        return self._check(decision)

    def _start(self) -> tuple[np.ndarray, str]:
        """Joints to begin from: inside every limit mostly, else beyond some."""
        random, model = self.random, self.arm.model
        inside = starts(self.arm.name, 12)
        if inside and random.random() < 0.75:
            return inside[random.integers(len(inside))], "inside"
        if inside and random.random() < 0.7:
            start = inside[random.integers(len(inside))] + random.normal(size=len(model.lower)) * 0.1
        else:
            start = random.uniform(model.lower, model.upper)
        return np.clip(start, model.lower - 0.1, model.upper + 0.1), "anywhere"

    def _push(self) -> tuple[np.ndarray, np.ndarray, str]:
        """Translation [m] and rotation [rad] of an action, and how they vary from one to the next."""
        random = self.random
        how = random.choice(["same", "same", "noise", "flip", "joint", "corner", "zero", "huge"])
        size = float(np.exp(random.uniform(np.log(1e-4), np.log(0.3))))
        direction = random.normal(size=6)
        direction *= random.choice([0.0, 1.0], size=6, p=[0.4, 0.6])
        if how == "joint":  # the tool's way when one joint goes on
            joints = self.cell.measured
            joint = int(random.integers(len(joints)))
            direction = self.arm.model.jacobian(joints)[:, joint] * random.choice([-1.0, 1.0])
        elif how == "corner":
            direction = np.concatenate((random.choice([-1.0, 1.0], size=3), np.zeros(3)))
        elif how == "zero":
            direction = np.zeros(6)
        elif how == "huge":
            size = float(random.choice([1e30, 1e308, 50.0]))
        with np.errstate(over="ignore"):
            direction[3:] *= random.choice([0.0, 1.0, 3.0])
            push = np.clip(direction * size, -1.7e308, 1.7e308)
        return push[:3], push[3:], how

    def _act(self, push: tuple[np.ndarray, np.ndarray, str]) -> None:
        """One action, and the ticks until it is due."""
        translation, rotation, how = push
        if how == "noise":
            translation = translation + self.random.normal(scale=0.02, size=3)
            rotation = rotation + self.random.normal(scale=0.05, size=3)
        elif how == "flip" and self.random.random() < 0.5:
            translation, rotation = -translation, -rotation
        period_ns = self._period_ns()
        if self.ticks:
            self._tick_for(period_ns)
        self._wait(0 if self.ticks else period_ns)
        gripper = float(self.random.choice([0.0, 0.5, 1.0, 1.5], p=[0.1, 0.7, 0.15, 0.05]))
        self.cell.step(self.cell.delta(translation, rotation, gripper))

    def _period_ns(self) -> int:
        if self.pace == "steady":
            return 100 * MILLISECOND
        if self.pace == "jitter":
            return int(self.random.integers(60, 140)) * MILLISECOND + int(self.random.integers(MILLISECOND))
        return int(math.exp(self.random.uniform(math.log(1e3), math.log(0.29e9))))  # 1 us to 0.29 s

    def _tick_for(self, duration_ns: int) -> None:
        end_ns = self.cell.now_ns + duration_ns
        while self.cell.now_ns < end_ns:
            tick_ns = 10 * MILLISECOND
            if self.pace == "jitter":
                tick_ns = int(self.random.integers(5, 20)) * MILLISECOND
            elif self.pace == "wild":
                tick_ns = max(1000, int(math.exp(self.random.uniform(math.log(1e5), math.log(1e8)))))
            self._wait(min(tick_ns, end_ns - self.cell.now_ns))
            self.cell.tick()

    def _wait(self, duration_ns: int) -> None:
        cell = self.cell
        if self._blind:
            cell.now_ns += duration_ns
            return
        if self._frozen:
            moved, cell.measured = cell.measured, self._seen
            cell.wait(duration_ns)
            cell.measured = moved
            return
        cell.wait(duration_ns)

    def _fail(self) -> None:
        """Something goes wrong."""
        random, cell = self.random, self.cell
        kind = random.choice(FAILURES)
        if kind == "e_stop":
            cell.e_stop()
            self._brake()
            cell.filter.release_e_stop()
        elif kind == "fault":
            cell.fault()
            self._brake()
        elif kind == "silence":
            self._tick_for(int(random.integers(300, 450)) * MILLISECOND)
        elif kind in ("blind", "frozen"):
            self._blind, self._frozen, self._seen = kind == "blind", kind == "frozen", cell.measured.copy()
            for _ in range(int(random.integers(1, 9))):
                self._act((random.normal(scale=0.02, size=3), np.zeros(3), "noise"))
            self._blind = self._frozen = False
        elif kind == "malformed":
            cell.step(cell.delta((0.01, math.nan, 0.0)))
        elif kind == "old":
            cell.step(cell.delta((0.01, 0.0, 0.0), age_ns=int(random.choice([-1, 1])) * SECOND))
        elif kind == "back":
            cell.wait(-int(random.integers(1, 10 * SECOND)))
            cell.tick()
        elif kind == "no time":
            for call in (cell.filter.tick, lambda now: cell.filter.step(cell.delta((0.01, 0.0, 0.0)), now)):
                decision = call(random.choice([None, -1, 2**70, 0.5]))
                if decision is not None:
                    cell.check(decision)
        elif kind == "tighten":
            self._tighten()
        else:
            self._wait(int(random.integers(500, 700)) * MILLISECOND)
            if random.random() < 0.5:
                cell.tick()
            cell.step(ToolDelta(cell.now_ns, np.ones(3), np.zeros(3), 0.5))

    def _brake(self) -> None:
        for _ in range(int(self.random.integers(0, 40))):
            self._wait(int(self.random.integers(1, 20)) * MILLISECOND)
            self.cell.tick()

    def _tighten(self) -> None:
        random, now = self.random, self.cell.options
        name = random.choice([*RISING, *FALLING])
        factor = random.uniform(1.0, 1.3) if name in RISING else random.uniform(0.7, 1.0)
        try:
            self.cell.tighten(replace(now, **{name: getattr(now, name) * factor}))
        except ParameterError:
            assert self.cell.filter.options == now

    def _recover(self) -> None:
        """Sees that only a reset helps, and resets."""
        cell = self.cell
        for _ in range(int(self.random.integers(0, 4))):
            self._wait(int(self.random.integers(1, 100)) * MILLISECOND)
            cell.step(cell.delta((0.02, 0.0, 0.0)))
        if cell.filter.state is FilterState.HOLD and self.random.random() < 0.5:
            return
        self._wait(int(self.random.integers(1, 50)) * MILLISECOND)
        cell.filter.release_e_stop()
        if self.random.random() < 0.2:
            cell.measured = cell.measured + self.random.normal(scale=0.02, size=len(cell.measured))
            self._wait(MILLISECOND)
        if not cell.filter.state.moves and cell.filter.state is not FilterState.READY:
            assert cell.reset(), cell.filter.reasons


def _arm(random: np.random.Generator) -> Arm:
    choice = random.random()
    if choice < 0.5:
        return arm(str(random.choice(SHIPPED)))
    if choice < 0.75:
        return arm(str(random.choice(SHAPES)))
    return arm(f"random {random.integers(RANDOM_ARMS)}")


def _options(random: np.random.Generator, of: Arm) -> FilterOptions:
    if random.random() < 0.5:
        return FilterOptions(action_frame=str(random.choice(["base", "tool"])))
    box = of.model.maximum - of.model.minimum
    low, high = of.model.minimum + 0.05 * box, of.model.maximum - 0.05 * box
    return FilterOptions(
        joint_margin=float(random.choice([0.0, 0.01, 0.05])),
        box_inset=float(random.choice([0.0, 0.005])),
        velocity_scale=float(random.uniform(0.1, 0.9)),
        max_joint_acceleration=float(np.exp(random.uniform(np.log(0.5), np.log(50.0)))),
        max_joint_jerk=float(np.exp(random.uniform(np.log(5.0), np.log(5000.0)))),
        max_tool_speed=float(random.uniform(0.05, 2.0)),
        max_tool_rotation_speed=float(random.uniform(0.1, 4.0)),
        min_clearance=float(random.choice([0.0, 0.02, 0.05])),
        slide_along_walls=bool(random.random() < 0.7),
        max_tracking_error=3.0,
        action_timeout_s=float(random.choice([0.3, 0.45])),
        data_rate_hz=float(random.choice([3.0, 5.0, 15.0])),
        action_frame=str(random.choice(["base", "tool"])),
        rotation_order=str(random.choice(["rpy", "ypr"])),
        reference=str(random.choice(["target", "target", "measured"])),
        workspace_min=tuple(low) if random.random() < 0.3 else None,
        workspace_max=tuple(high) if random.random() < 0.3 else None,
    )
