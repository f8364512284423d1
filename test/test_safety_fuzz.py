"""A bounded part of `make fuzz`, and proof that it finds a filter that is wrong."""

from __future__ import annotations

import time

import pytest
from run_seed import SEED
from safety_episodes import run_episode

from octo_ros.safety.constraints import Clearance, JointPosition, JointVelocity, ToolSpeed, WorkspaceBox

SECONDS = 10.0


def test_episodes_of_an_adversary_find_no_violation():
    begun, steps, index = time.monotonic(), 0, 0
    while time.monotonic() - begun < SECONDS:
        outcome = run_episode(SEED, index)
        assert not outcome.violation, (
            f"{outcome.violation}\n{outcome.trace}\n"
            f"repeat it: python bench/fuzz_safety.py --seed {SEED} --episode {index}"
        )
        steps += outcome.steps
        index += 1
    assert steps > 1000


def test_an_episode_is_determined_by_seed_and_number():
    first, second, other = (run_episode(*which) for which in ((5, 3), (5, 3), (5, 4)))
    assert (first.about, first.steps, first.statuses, first.worst) == (
        second.about,
        second.steps,
        second.statuses,
        second.worst,
    )
    assert first.worst != other.worst


def everything_goes(self, motion):
    """A constraint that allows every motion."""
    return 1.0, None


DEFECTS = {  # what to break, and the invariant that is then found to be
    "joint velocity": (JointVelocity, "allow", everything_goes, "3 joint velocity"),
    "joint position": (JointPosition, "allow", everything_goes, "braking"),
    "tool speed": (ToolSpeed, "allow", everything_goes, "6 tool"),
    "workspace": (WorkspaceBox, "allow", everything_goes, "boxes|7 workspace|9 from outside"),
    "clearance": (Clearance, "allow", everything_goes, "20 distance"),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_filter_without_one_of_its_constraints_is_found(monkeypatch, defect):
    holder, name, broken, invariant = DEFECTS[defect]
    monkeypatch.setattr(holder, name, broken)
    for index in range(60):
        violation = run_episode(SEED, index).violation
        if violation:
            break
    assert violation
    assert any(words in violation for words in invariant.split("|")), violation
