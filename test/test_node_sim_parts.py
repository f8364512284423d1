"""The simulated cell's clock, episodes and pictures, apart from ROS."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from test_sim_tasks import state_with

from octo_ros.errors import ParameterError
from octo_ros.nodes.sim_lockstep import ACTION, ANSWER_NS, COMMAND, COMMAND_STEPS, FIRST, Lockstep
from octo_ros.nodes.sim_pace import Pace
from octo_ros.nodes.sim_parameters import PARAMETERS, check, timing
from octo_ros.nodes.sim_pictures import Timing
from octo_ros.nodes.sim_trial import LOOK_STEPS, Trial
from octo_ros.policy.frames import FrameSync
from octo_ros.policy.pacing import Pacer
from octo_ros.sim.state import RESTING_M
from octo_ros.sim.tasks import HELD_STEPS, CellTask

MS = 1_000_000
DEFAULTS = {parameter.name: parameter.default for parameter in PARAMETERS}


def acting(patience_s: float = 10.0) -> Lockstep:
    """A lockstep whose policy has acted, and been shown pictures of 1 s at 1.05 s."""
    lockstep = Lockstep(patience_s)
    lockstep.begin()
    lockstep.answered(900 * MS)
    lockstep.showed(1000 * MS, 1050 * MS)
    return lockstep


def test_the_clock_waits_for_the_answer_to_pictures_that_are_out():
    lockstep = acting()
    assert not lockstep.waits(1060 * MS, 0.0)
    assert lockstep.waits(1050 * MS + ANSWER_NS, 0.0)
    lockstep.answered(900 * MS)  # that of the pictures before
    assert lockstep.waits(1050 * MS + ANSWER_NS, 0.01)
    lockstep.answered(1000 * MS)
    assert not lockstep.waits(9000 * MS, 0.02)
    lockstep.showed(1100 * MS, 9000 * MS)
    lockstep.answered(1000 * MS)
    assert lockstep.waits(9000 * MS + ANSWER_NS, 0.03)


def test_an_answer_to_older_pictures_than_the_newest_leaves_those_to_be_answered():
    lockstep = acting()
    lockstep.showed(1100 * MS, 1150 * MS)
    assert lockstep.waits(1150 * MS, 0.0)
    lockstep.answered(1000 * MS)
    assert lockstep.waits(1150 * MS, 0.01)
    lockstep.answered(1100 * MS)
    assert not lockstep.waits(1150 * MS, 0.02)


def test_the_clock_waits_for_commands_once_there_are_any():
    lockstep = acting()
    lockstep.answered(1000 * MS)
    for _ in range(2 * COMMAND_STEPS):
        assert not lockstep.waits(2000 * MS, 0.0)
        lockstep.stepped()
    lockstep.commanded()
    for _ in range(COMMAND_STEPS):
        assert not lockstep.waits(2000 * MS, 0.0)
        lockstep.stepped()
    assert lockstep.waits(2000 * MS, 0.0) and lockstep.waits(2000 * MS, 9.9)
    lockstep.commanded()
    assert not lockstep.waits(2000 * MS, 9.9)


def test_before_the_first_action_the_clock_goes_on_slowly_and_ever_slower():
    lockstep = Lockstep(60.0)
    lockstep.begin()
    steps = [0.01 * tick for tick in range(3000) if not lockstep.waits(1000 * MS, 0.01 * tick)]
    gaps = np.diff(steps)
    assert gaps[0] == pytest.approx(0.125, abs=0.011)
    assert gaps[20] == pytest.approx(0.25, abs=0.021) and gaps[40] == pytest.approx(0.5, abs=0.031)
    lockstep.answered(1000 * MS)
    assert not any(lockstep.waits(1000 * MS, 30.0 + 0.01 * tick) for tick in range(10))


@pytest.mark.parametrize("lost", [FIRST, ACTION, COMMAND])
def test_what_does_not_come_within_the_patience_is_lost(lost):
    lockstep = acting(patience_s=2.0)
    if lost == FIRST:
        lockstep.begin()
    if lost == COMMAND:
        lockstep.answered(1000 * MS)
        lockstep.commanded()
        for _ in range(COMMAND_STEPS):
            lockstep.stepped()
    assert lockstep.waits(2000 * MS, 5.0)
    lockstep.waits(2000 * MS, 6.9)
    assert not lockstep.lost
    assert not lockstep.waits(2000 * MS, 7.0)
    assert lockstep.lost == lost
    lockstep.begin()
    assert not lockstep.lost


def test_nobody_is_waited_for_outside_of_an_episode_or_without_patience():
    lockstep = acting()
    lockstep.end()
    assert not lockstep.waits(9000 * MS, 0.0)
    assert not acting(patience_s=0.0).waits(9000 * MS, 0.0)
    idle = Lockstep(10.0)
    idle.showed(1000 * MS, 1000 * MS)
    assert not idle.waits(9000 * MS, 0.0)


class Policy:
    """A policy at 20 Hz of simulated time, by its own pacer, that thinks for a real time.

    Messages reach it, and its actions the cell, after a millisecond of real time [s].
    """

    def __init__(self, think_s: float, phase_ns: int) -> None:
        self._think_s, self._tick_ns = think_s, phase_ns
        self._frames = FrameSync(("primary",))
        self._pacer, self._inbox = Pacer(self._frames), []
        self._job: tuple[float, int, int] | None = None
        self._ready_s, self._now_ns = math.inf, 0
        self.late = 0

    def hear(self, now_s: float, what: str, value: float) -> None:
        """A message of the cell: its clock or its pictures [ns], or words that take some time [s]."""
        self._inbox.append((now_s + 0.001, what, value))

    def answers(self, now_s: float) -> list[tuple[int, int]]:
        """Stamp of the pictures and the policy's clock, of each action that is done."""
        while self._inbox and self._inbox[0][0] <= now_s:
            _, what, value = self._inbox.pop(0)
            acts = now_s >= self._ready_s and self._job is None
            if what == "words":
                self._ready_s, self._job = now_s + value, None
            elif what == "pictures":
                self._frames.push("primary", value, None)
                self._think(now_s, self._pacer.arrived(self._now_ns) if acts else None)
            else:
                self._now_ns = value
                while self._tick_ns <= value:
                    self._tick_ns += 50 * MS
                    if acts:
                        self._think(now_s, self._pacer.tick(value)[0])
                    else:
                        self._pacer.skip()
        if self._job is None or now_s < self._job[0]:
            return []
        _, stamp_ns, begun_ns = self._job
        self._job = None
        if self._now_ns - begun_ns > 50 * MS:
            self.late += 1
            return []
        return [(stamp_ns, self._now_ns)]

    def _think(self, now_s: float, frames) -> None:
        if frames is not None:
            self._job = now_s + self._think_s, frames.stamp_ns, self._now_ns


@pytest.mark.parametrize("phase_ms", [5, 25, 45])
@pytest.mark.parametrize(("think_s", "words_s"), [(0.01, 0.02), (0.03, 0.5), (0.3, 0.1), (2.0, 0.1)])
def test_a_policy_answers_all_pictures_in_time_however_slow_it_is(think_s, words_s, phase_ms):
    """Ten episodes of 20 sets of pictures, in real time that is simulated as well."""
    lockstep, policy = Lockstep(60.0), Policy(think_s, phase_ms * MS)
    now_s, steps, ages, sets, lengths = 0.0, 0, [], 0, []
    for _ in range(10):
        begun_s, shown = now_s, 0
        lockstep.end()
        policy.hear(now_s, "words", math.inf)
        while shown < 20:
            now_s += 0.001
            for stamp_ns, at_ns in policy.answers(now_s):
                lockstep.answered(stamp_ns)
                ages.append(at_ns - stamp_ns)
            if lockstep.waits(steps * 10 * MS, now_s):
                continue
            assert not lockstep.lost
            steps += 1
            now_s += 0.005
            policy.hear(now_s, "clock", steps * 10 * MS)
            if steps % 10 == 5:
                stamp_ns = (steps - 5) * 10 * MS
                policy.hear(now_s, "pictures", stamp_ns)
                lockstep.showed(stamp_ns, steps * 10 * MS)
                shown += 1
                if shown == 1:
                    lockstep.begin()
                    policy.hear(now_s, "words", words_s)
        sets += shown
        lengths.append(now_s - begun_s)
    assert policy.late <= 2
    assert len(ages) >= 0.8 * sets
    assert np.quantile(ages, 0.9) <= 110 * MS and np.median(ages) <= 80 * MS
    assert lengths[-1] <= 20 * (think_s + 0.1) + 2.0 * words_s + 8.0 * think_s


def test_after_a_wait_one_step_is_due_at_once_and_the_next_in_time():
    pace = Pace(0.01, 1.0, 0.0)
    assert pace.due(0.05) == 5
    pace.hold(0.5)
    assert [pace.due(0.5), pace.due(0.505), pace.due(0.51)] == [1, 0, 1]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, Timing(10, 0, 5)),
        ({"image_rate_hz": 50.0}, Timing(2, 0, 1)),
        ({"image_delay_s": 0.3}, Timing(10, 30, 5)),
        ({"publish_clock": False}, Timing(10, 0, None)),
        ({"image_rate_hz": 0.0}, None),
    ],
)
def test_pictures_come_at_their_rate_and_are_waited_for_on_a_simulated_clock(given, expected):
    assert timing({**DEFAULTS, **given}) == expected


@pytest.mark.parametrize("name, value", [("real_time_factor", 2.0), ("lockstep_s", 1.0)])
def test_a_clock_that_is_not_simulated_is_neither_sped_up_nor_stopped(name, value):
    check({**DEFAULTS, name: value})
    with pytest.raises(ParameterError, match=f"{name}: expected"):
        check({**DEFAULTS, "publish_clock": False, name: value})


def test_a_trial_ends_with_the_goal_held_or_with_its_time():
    above, far = state_with([0.45, 0.15, RESTING_M + 0.05]), state_with([0.45, 0.0, 0.3])
    trial = Trial(CellTask("reach", "green"), 10.0)
    endings = [trial.step(above) for _ in range(HELD_STEPS * LOOK_STEPS)]
    assert endings == [""] * (len(endings) - 1) + ["success"]
    assert trial.approached(far) == "green"
    trial = Trial(CellTask("reach", "red"), 1.0)
    endings = [trial.step(above) for _ in range(100)]
    assert endings == [""] * 99 + ["failure"]
    assert (trial.seconds, trial.approached(far)) == (1.0, "green")
