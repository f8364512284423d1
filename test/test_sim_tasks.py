"""The words of the simulated cell, when a task is done, and where the cubes lie."""

from __future__ import annotations

import numpy as np
import pytest

from octo_ros.errors import ParameterError
from octo_ros.resources import robot_urdf
from octo_ros.safety.robot import Robot
from octo_ros.sim.arms import ARMS, arm_model
from octo_ros.sim.layout import APART_M, REGION, TURN, scattered
from octo_ros.sim.state import CUBE_M, RESTING_M, CellState, Cube
from octo_ros.sim.tasks import COLORS, HELD_STEPS, TASKS, CellTask, Judge, chosen_tasks, task_for_seed


def state_with(grasp, **heights):
    """A state whose grasp point is at `grasp`, with the cubes on a line, raised by `heights` [m]."""
    cubes = {
        color: Cube(np.array([0.45, 0.15 * place, RESTING_M + heights.get(color, 0.0)]), 0.0)
        for place, color in enumerate(COLORS)
    }
    grasp = np.array(grasp, dtype=float)
    return CellState(0, np.zeros(7), np.zeros(7), grasp, np.diag([1.0, -1.0, -1.0]), grasp, 0.0, 1.0, cubes)


def test_a_reach_is_met_above_the_cube_that_is_named_and_no_other():
    above_green = state_with([0.45, 0.15, RESTING_M + 0.05])
    assert CellTask("reach", "green").holds(above_green)
    assert not CellTask("reach", "red").holds(above_green)
    assert not CellTask("reach", "blue").holds(above_green)


@pytest.mark.parametrize("offset", [(0.031, 0, 0.05), (0, -0.031, 0.05), (0, 0, 0.081), (0, 0, -0.011)])
def test_a_reach_is_not_met_a_little_further_off(offset):
    assert not CellTask("reach", "red").holds(state_with(np.array([0.45, 0.0, RESTING_M]) + offset))


def test_a_lift_is_met_by_the_height_of_the_cube_that_is_named():
    lifted = state_with([0.0, 0.0, 0.5], green=0.0501)
    assert CellTask("lift", "green").holds(lifted)
    assert not CellTask("lift", "red").holds(lifted)
    assert not CellTask("lift", "green").holds(state_with([0.0, 0.0, 0.5], green=0.0499))


def test_the_judge_wants_the_goal_held_without_a_gap_and_keeps_its_word():
    judge, met, missed = Judge(CellTask("lift", "red")), state_with([0, 0, 0], red=0.1), state_with([0, 0, 0])
    for _ in range(HELD_STEPS - 1):
        assert not judge.look(met)
    assert not judge.look(missed)
    assert [judge.look(met) for _ in range(HELD_STEPS)] == [False] * (HELD_STEPS - 1) + [True]
    assert judge.look(missed)


def test_tasks_are_chosen_by_all_by_verb_and_by_sentence():
    assert chosen_tasks("all") == TASKS
    assert [task.instruction for task in chosen_tasks("lift")] == [
        "lift the red cube", "lift the green cube", "lift the blue cube",
    ]  # fmt: skip
    assert chosen_tasks("reach the green cube") == (CellTask("reach", "green"),)
    assert len({task.instruction for task in TASKS}) == len(TASKS)


def test_another_sentence_is_refused_with_those_that_there_are():
    with pytest.raises(ParameterError, match="'lift the red cube'.*got 'fold the towel'"):
        chosen_tasks("fold the towel")


def test_consecutive_seeds_go_through_every_task():
    assert {task_for_seed(TASKS, seed) for seed in range(7, 7 + len(TASKS))} == set(TASKS)


def test_cubes_lie_apart_in_their_region_and_no_two_seeds_alike():
    places = [scattered(COLORS, np.random.default_rng(seed)) for seed in range(200)]
    for cubes in places:
        xyz = np.array([cube.position for cube in cubes.values()])
        gaps = np.linalg.norm(xyz[:, None] - xyz[None], axis=2)[np.triu_indices(len(COLORS), k=1)]
        assert gaps.min() >= APART_M
        assert (xyz[:, :2] >= REGION[0]).all()
        assert (xyz[:, :2] <= REGION[1]).all()
        assert (xyz[:, 2] == RESTING_M).all()
        assert all(abs(cube.yaw) <= TURN < np.pi / 4 for cube in cubes.values())
    assert len({tuple(cubes["red"].position) for cubes in places}) == len(places)
    again = scattered(COLORS, np.random.default_rng(3))["blue"]
    np.testing.assert_array_equal(again.position, places[3]["blue"].position)


@pytest.mark.parametrize("name", list(ARMS))
def test_the_tool_may_go_wherever_a_cube_is_grasped_or_lifted(name):
    workspace = Robot.from_file(robot_urdf(name), collision=False).workspace
    above = ARMS[name].grasp_m  # from the grasp point up to the tip
    low = [*(np.array(REGION[0]) - 0.05), CUBE_M / 2.0 + 0.007 + above]
    high = [*(np.array(REGION[1]) + 0.05), 0.16 + above]
    assert (workspace.minimum + 0.005 <= low).all()
    assert (workspace.maximum - 0.005 >= high).all()


def test_an_arm_that_the_cell_lacks_is_refused_with_those_it_has():
    with pytest.raises(ParameterError, match="has panda, ur5e, got 'fr3'"):
        arm_model("fr3")
