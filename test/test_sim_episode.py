"""Whole episodes in the simulated cell: the expert succeeds through the safety filter, others do not."""

from __future__ import annotations

import os

import numpy as np
import pytest

pytest.importorskip("octo_ros.sim.scene", reason="robosuite is not installed (the extra 'sim')")

from octo_ros.errors import ParameterError
from octo_ros.safety.decision import FilterState
from octo_ros.sim.cell import Cell
from octo_ros.sim.episode import TICKS, Listener, expert_policy, filter_options, run_episode
from octo_ros.sim.expert import Expert
from octo_ros.sim.tasks import HELD_STEPS, TASKS, CellTask, task_for_seed

EPISODES = int(os.environ.get("OCTO_SIM_EPISODES", "12"))
"""How many episodes of each arm; 12 go twice through the tasks."""


@pytest.fixture(scope="module", params=["panda", "ur5e"])
def cell(request):
    return Cell(request.param)


@pytest.fixture(scope="module")
def panda():
    return Cell("panda")


class Log(Listener):
    """What an episode told."""

    def __init__(self):
        self.begun, self.seen, self.actions, self.states, self.decisions, self.result = (
            [],
            [],
            [],
            [],
            [],
            None,
        )

    def begin(self, task, state):
        self.begun.append(task)

    def step(self, seen, action):
        self.seen.append(seen)
        self.actions.append(action)

    def tick(self, state, decision):
        self.states.append(state)
        self.decisions.append(decision)

    def end(self, result, seen):
        self.result, self.last = result, seen


def test_the_expert_succeeds_at_every_task_and_the_filter_hardly_limits_it(cell):
    results = []
    for seed in range(EPISODES):
        task = task_for_seed(TASKS, seed)
        results.append(run_episode(cell, task, expert_policy(Expert(task, seed)), seed, render=False))
    assert [(result.seed, result.task) for result in results if not result.success] == []
    assert sum(result.limited for result in results) < 0.1 * sum(result.steps for result in results)
    assert {result.filter_state for result in results} <= {FilterState.ACTIVE, FilterState.LIMITED}


def test_the_cube_that_is_lifted_is_the_one_that_is_named(panda):
    log, task = Log(), CellTask("lift", "green")
    assert run_episode(panda, task, expert_policy(Expert(task, 1)), 1, render=False, listener=log).success
    height = {color: cube.position[2] for color, cube in log.states[-1].cubes.items()}
    assert height["green"] > 0.07
    assert max(height["red"], height["blue"]) < 0.03


def test_commands_come_at_100_hz_and_the_tool_keeps_to_workspace_and_speed(panda):
    log, task = Log(), CellTask("lift", "red")
    run_episode(panda, task, expert_policy(Expert(task, 3)), 3, render=False, listener=log)
    assert len(log.states) == TICKS * len(log.actions)
    times = np.array([state.time_ns for state in log.states])
    assert set(np.diff(times)) == {10_000_000}
    tool = np.array([state.tool_position for state in log.states])
    box = panda.robot.workspace
    assert (tool > box.minimum).all()
    assert (tool < box.maximum).all()
    assert np.linalg.norm(np.diff(tool, axis=0), axis=1).max() / 0.01 < 0.3


def test_standing_still_fails_after_the_steps_allowed(panda):
    still = np.array([0.0] * 6 + [1.0])
    result = run_episode(panda, TASKS[0], lambda seen: still, 0, render=False, max_steps=8)
    assert (result.success, result.steps, result.limited, result.frames) == (False, 8, 0, 0)


def test_actions_beyond_the_limits_are_counted_and_keep_to_the_workspace(panda):
    log, dive = Log(), np.array([0.0, 0.0, -0.2, 0.0, 0.0, 0.0, 1.0])
    result = run_episode(panda, TASKS[0], lambda seen: dive, 2, render=False, max_steps=25, listener=log)
    assert result.limited_share > 0.9
    assert "tool speed" in result.refusals
    assert any(limit.startswith("workspace z") for limit in result.refusals)
    assert min(state.tool_position[2] for state in log.states) > panda.robot.workspace.minimum[2]


def test_the_same_seed_gives_the_same_episode(panda):
    logs = [Log(), Log()]
    for log in logs:
        task = CellTask("reach", "blue")
        run_episode(panda, task, expert_policy(Expert(task, 5)), 5, render=False, listener=log)
    np.testing.assert_array_equal(logs[0].actions, logs[1].actions)
    np.testing.assert_array_equal(logs[0].states[-1].joints, logs[1].states[-1].joints)


def test_a_policy_sees_the_words_the_time_and_the_pictures(panda):
    try:
        panda.images()
    except ParameterError as error:
        pytest.skip(str(error))
    log, task = Log(), CellTask("reach", "green")
    result = run_episode(panda, task, expert_policy(Expert(task, 0)), 0, max_steps=3, listener=log)
    assert result.frames == 2 * (3 + 1)
    assert [seen.stamp_ns for seen in log.seen] == [0, 100_000_000, 200_000_000]
    assert {seen.instruction for seen in log.seen} == {"reach the green cube"}
    observation = log.seen[1].observation
    assert observation.stamp_ns == 100_000_000
    assert observation.images["primary"].shape == (256, 256, 3)
    assert set(log.last.images) == {"primary", "wrist"}


def test_success_is_seen_when_the_goal_was_held(panda):
    log, task = Log(), CellTask("reach", "red")
    result = run_episode(panda, task, expert_policy(Expert(task, 0)), 0, render=False, listener=log)
    held = [task.holds(seen.state) for seen in [*log.seen, log.last]]
    assert result.success
    assert held[-HELD_STEPS:] == [True] * HELD_STEPS
    assert not held[-HELD_STEPS - 1]


@pytest.mark.parametrize(
    ("policy", "options", "expected"),
    [
        (lambda seen: np.zeros(6), {}, "action: expected 7 values"),
        (lambda seen: np.zeros(7), {"max_steps": 0}, "max_steps: expected at least 1"),
    ],
)
def test_a_mistake_is_told(panda, policy, options, expected):
    with pytest.raises(ParameterError, match=expected):
        run_episode(panda, TASKS[0], policy, 0, render=False, **options)


def test_the_filters_options_are_its_defaults_at_the_policys_rate():
    assert filter_options().data_rate_hz == 10.0
    assert filter_options(max_tool_speed=0.1).max_tool_speed == 0.1
