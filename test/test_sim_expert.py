"""The scripted expert, in a world that does exactly what an action says; no simulator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from transforms3d.euler import euler2mat

from octo_ros.sim.expert import Expert, ExpertOptions, Phase
from octo_ros.sim.layout import scattered
from octo_ros.sim.state import RESTING_M, CellState
from octo_ros.sim.tasks import COLORS, TASKS, CellTask, Judge

NO_NOISE = ExpertOptions(translation_noise=0.0, rotation_noise=0.0)


class Puppet:
    """A tool that goes where it is told, and cubes that stick between closed fingers."""

    def __init__(self, seed: int, slips: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.cubes = scattered(COLORS, random)
        self.position = np.array([0.48, 0.0, 0.30]) + random.uniform(-0.04, 0.04, 3)
        self.rotation = euler2mat(*random.uniform(-0.15, 0.15, 3)) @ np.diag([1.0, -1.0, -1.0])
        self.opening, self.held, self.slips = 1.0, None, slips

    def state(self) -> CellState:
        fingers = self.rotation[:, 1]
        return CellState(
            0, np.zeros(7), np.zeros(7), self.position, self.rotation, self.position,
            float(np.arctan2(fingers[1], fingers[0])), self.opening, dict(self.cubes),
        )  # fmt: skip

    def move(self, action: np.ndarray) -> None:
        self.position = self.position + action[:3]
        self.rotation = euler2mat(*action[3:6]) @ self.rotation
        if self.held:
            cube = self.cubes[self.held]
            self.cubes[self.held] = replace(cube, position=cube.position + action[:3])
        self._close() if action[6] < 0.5 else self._open()

    def _close(self) -> None:
        if self.opening < 0.8:
            return
        if self.opening == 1.0:
            self.opening = 0.8  # on the way
            return
        near = [
            color
            for color, cube in self.cubes.items()
            if np.linalg.norm(cube.position - self.position) < 0.02 and self._along_sides(cube.yaw)
        ]
        if near and self.slips:
            self.slips, near = self.slips - 1, []
        self.held, self.opening = (near[0], 0.5) if near else (None, 0.0)

    def _open(self) -> None:
        if self.held:
            cube = self.cubes[self.held]
            self.cubes[self.held] = replace(cube, position=[*cube.position[:2], RESTING_M])
        self.held, self.opening = None, 1.0

    def _along_sides(self, yaw: float) -> bool:
        skew = (yaw - self.state().finger_yaw + np.pi / 4) % (np.pi / 2) - np.pi / 4
        return abs(skew) < 0.12 and self.rotation[2, 2] < -0.998


def run(puppet: Puppet, task: CellTask, expert: Expert, steps: int = 150) -> tuple[bool, list[np.ndarray]]:
    """Whether the task is done, and the actions."""
    judge, actions = Judge(task), []
    while len(actions) < steps and not judge.look(puppet.state()):
        actions.append(expert.act(puppet.state()))
        puppet.move(actions[-1])
    return judge.success, actions


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.instruction)
def test_every_task_is_done_from_any_start_within_the_bounds_of_a_step(task):
    options = ExpertOptions()
    for seed in range(30):
        done, actions = run(Puppet(seed), task, Expert(task, seed))
        assert done, seed
        moves = np.array(actions)
        assert np.linalg.norm(moves[:, :3], axis=1).max() <= options.max_translation + 0.025
        assert np.linalg.norm(moves[:, 3:6], axis=1).max() <= options.max_rotation + 0.03
        assert set(moves[:, 6]) <= {0.0, 1.0}


def test_a_reach_never_closes_the_gripper_and_stays():
    task = CellTask("reach", "blue")
    expert, puppet = Expert(task, 0, NO_NOISE), Puppet(0)
    for _ in range(80):
        action = expert.act(puppet.state())
        assert action[6] == 1.0
        puppet.move(action)
    assert expert.phase is Phase.APPROACH
    np.testing.assert_allclose(puppet.position - puppet.cubes["blue"].position, [0, 0, 0.05], atol=1e-3)
    assert np.abs(action[:6]).max() < 1e-4


def test_the_gripper_closes_only_at_the_cube_and_stays_closed_while_lifting():
    task = CellTask("lift", "red")
    expert, puppet, phases = Expert(task, 0, NO_NOISE), Puppet(4), []
    for _ in range(60):
        action = expert.act(puppet.state())
        phases.append(expert.phase)
        assert (action[6] == 0.0) == (expert.phase in (Phase.CLOSE, Phase.LIFT))
        if expert.phase is Phase.CLOSE:
            assert np.abs(action[:6]).max() == 0.0
        puppet.move(action)
    assert [phase for i, phase in enumerate(phases) if i == 0 or phases[i - 1] is not phase] == [
        Phase.APPROACH, Phase.CLOSE, Phase.LIFT,
    ]  # fmt: skip


def test_a_grasp_that_missed_is_tried_again():
    task = CellTask("lift", "green")
    puppet = Puppet(1, slips=1)
    done, actions = run(puppet, task, Expert(task, 1))
    assert done
    assert puppet.slips == 0
    closings = np.diff(np.array(actions)[:, 6]) < 0
    assert closings.sum() == 2


def test_what_it_means_to_do_follows_from_the_state_alone():
    task = CellTask("lift", "blue")
    expert, puppet = Expert(task, 3), Puppet(3)
    for _ in range(60):
        state = puppet.state()
        puppet.move(expert.act(state))
        fresh = Expert(task, 99)
        fresh.act(state)
        np.testing.assert_array_equal(fresh.intended, expert.intended)


def test_beside_a_cube_it_rises_before_it_goes_over_it():
    puppet = Puppet(0)
    expert = Expert(CellTask("lift", "red"), 0, NO_NOISE)
    puppet.position = puppet.cubes["red"].position + [0.06, 0.0, 0.0]
    assert expert.act(puppet.state())[2] > 0.01
    puppet.position = puppet.cubes["red"].position + [0.0, 0.0, 0.06]
    assert expert.act(puppet.state())[2] < -0.01


def test_the_noise_is_the_seeds_and_is_not_in_the_intended_action():
    task, state = CellTask("lift", "red"), Puppet(2).state()
    one, same, other = Expert(task, 5), Expert(task, 5), Expert(task, 6)
    noisy = one.act(state)
    np.testing.assert_array_equal(noisy, same.act(state))
    assert not np.array_equal(noisy, other.act(state))
    np.testing.assert_array_equal(one.intended, other.intended)
    np.testing.assert_array_equal(one.intended, Expert(task, 0, NO_NOISE).act(state))
