"""The policy that ships for the demo does what words say: from one picture, and in the simulated cell."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest

from octo_ros import load_policy
from octo_ros.errors import ParameterError
from octo_ros.policy.options import ActOptions
from octo_ros.resources import share_path
from octo_ros.types import Observation, Task

PICTURE = Path(__file__).parent / "data" / "cell" / "wrist.png"
"""What the Panda's wrist camera sees of the scene of seed 100010 as it begins."""

MEANT = {"red": (4.3, -3.0, -17.2), "green": (-1.7, -11.8, -13.5), "blue": (-3.7, 7.1, -16.1)}
"""Colour to dx dy dz [mm] that the expert takes there for "reach the ... cube"."""


@pytest.fixture(scope="module")
def policy():
    with load_policy(share_path("demo/policy"), options=ActOptions(seed=0), threads=1) as policy:
        yield policy


@pytest.mark.parametrize("color", MEANT)
def test_the_words_decide_where_it_goes(policy, color):
    picture = cv2.cvtColor(cv2.imread(str(PICTURE)), cv2.COLOR_BGR2RGB)
    policy.reset()
    policy.set_task(Task(instruction=f"reach the {color} cube"))
    action = policy.act(Observation(1, {"wrist": picture})).physical
    np.testing.assert_allclose(action[:3] * 1e3, MEANT[color], atol=3.0)
    assert action[6] == 1.0


def test_it_is_small_and_says_that_it_is_for_simulation(policy):
    files = list(share_path("demo/policy").iterdir())
    assert sum(file.stat().st_size for file in files) < 20e6
    assert "must not move a real arm" in policy.manifest.notice
    assert not any(camera.center_crop for camera in policy.manifest.cameras.values())


@pytest.mark.skipif(importlib.util.find_spec("robosuite") is None, reason="robosuite is not installed (sim)")
@pytest.mark.parametrize(("verb", "color"), [("reach", "blue"), ("lift", "red"), ("lift", "green")])
def test_it_does_its_task_in_the_cell(policy, verb, color):
    from octo_ros.sim.cell import Cell
    from octo_ros.sim.episode import run_episode, student_policy
    from octo_ros.sim.tasks import CellTask

    cell, task = Cell("panda"), CellTask(verb, color)
    try:
        cell.images()
    except ParameterError as error:
        pytest.skip(str(error))
    result = run_episode(cell, task, student_policy(policy, task), 100_010, max_steps=80)
    cell.close()
    assert result.success
