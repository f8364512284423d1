"""Which cube counts as approached."""

from __future__ import annotations

import numpy as np
import pytest
from test_sim_tasks import state_with

from octo_ros.sim.approach import LOW_M, NEAR_M, NONE, Approach, nearest
from octo_ros.sim.state import RESTING_M
from octo_ros.sim.tasks import COLORS, HELD_STEPS

HOME = [0.45, 0.0, 0.3]


def over(color: str, sideways: float = 0.0, above: float = 0.05):
    """The arm near a cube: so far beside its axis and above its centre [m]."""
    return state_with([0.45 - sideways, 0.15 * COLORS.index(color), RESTING_M + above])


def approached(*visits) -> str:
    """What an episode of (state, observations) comes to."""
    approach = Approach()
    for state, looks in visits:
        for _ in range(looks):
            approach.look(state)
    return approach.color(visits[-1][0])


@pytest.mark.parametrize("color", COLORS)
def test_a_cube_at_which_the_arm_stays_is_approached(color):
    assert approached((over(color), HELD_STEPS)) == color


def test_the_first_cube_counts_wherever_the_arm_goes_afterwards():
    assert approached((over("green"), HELD_STEPS), (over("red"), 50)) == "green"


def test_passing_over_a_cube_is_no_approach():
    assert approached((over("green"), HELD_STEPS - 1), (over("red"), HELD_STEPS)) == "red"


def test_an_arm_that_reaches_nothing_approached_the_cube_that_it_ends_at():
    beside = over("blue", sideways=NEAR_M - 0.001, above=LOW_M - 0.001)
    assert approached((over("red"), 1), (beside, 3)) == "blue"


@pytest.mark.parametrize(
    "state",
    [state_with(HOME), over("red", sideways=NEAR_M + 0.001), over("red", above=LOW_M + 0.001)],
    ids=["high", "beside", "above"],
)
def test_an_arm_that_ends_at_no_cube_approached_none(state):
    assert approached((state, 30)) == NONE


def test_of_two_cubes_at_hand_the_nearer_sideways_is_the_nearest():
    between = state_with([0.45, 0.07, RESTING_M])
    assert nearest(between) == NONE
    between.cubes["red"].position[:] = [0.45, 0.03, RESTING_M]
    assert nearest(between) == "red"
    between.cubes["green"].position[:] = [0.45, 0.08, RESTING_M]
    assert nearest(between) == "green"


def test_a_cube_that_is_carried_away_is_approached_still():
    held = over("green", above=0.0)
    approach = Approach()
    for height in np.linspace(0.0, 0.2, 2 * HELD_STEPS):
        held.cubes["green"].position[2] = RESTING_M + height
        held.grasp_position[2] = RESTING_M + height
        approach.look(held)
    assert approach.color(state_with(HOME)) == "green"
