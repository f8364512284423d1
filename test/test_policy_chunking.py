"""Overlapping chunks to one action a step."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octo_ros.errors import ParameterError
from octo_ros.policy.chunking import RecedingHorizon, TemporalEnsemble, make_chunking
from octo_ros.policy.options import ActOptions

HORIZON = 4


def chunks(count: int) -> list[np.ndarray]:
    """Chunk k says 100 k + i for the i-th step after it was made."""
    return [np.float32(100 * k + np.arange(HORIZON)[:, None] + np.zeros(7)) for k in range(count)]


def test_the_plain_mean_by_hand() -> None:
    ensemble = TemporalEnsemble(HORIZON)
    actions = [ensemble.step(lambda chunk=chunk: chunk)[0][0] for chunk in chunks(6)]
    assert actions[0] == 0
    assert actions[1] == pytest.approx((1 + 100) / 2)
    assert actions[3] == pytest.approx((3 + 102 + 201 + 300) / 4)
    assert actions[5] == pytest.approx((203 + 302 + 401 + 500) / 4)  # chunks 0 and 1 are used up


def test_positive_weights_favour_older_chunks() -> None:
    ensemble = TemporalEnsemble(HORIZON, weight=1.0)
    first, second = chunks(2)
    ensemble.step(lambda: first)
    action, newest = ensemble.step(lambda: second)
    old, new = 1.0, math.exp(-1.0)
    assert action[0] == pytest.approx((old * 1 + new * 100) / (old + new))
    assert newest is second


@settings(max_examples=100, derandomize=True)
@given(st.floats(-1e6, 1e6), st.integers(1, 12))
def test_the_mean_lies_between_the_answers(weight: float, count: int) -> None:
    ensemble = TemporalEnsemble(HORIZON, weight)
    made = chunks(count)
    for chunk in made:
        action, _ = ensemble.step(lambda chunk=chunk: chunk)
    answers = [made[count - 1 - ago][ago, 0] for ago in range(min(count, HORIZON))]
    assert action.dtype == np.float32 and action.shape == (7,)
    assert min(answers) - 1e-3 <= action[0] <= max(answers) + 1e-3


@settings(max_examples=50, derandomize=True)
@given(st.integers(1, HORIZON), st.integers(1, 20))
def test_receding_runs_the_network_only_when_a_chunk_is_played(execute: int, steps: int) -> None:
    receding, made = RecedingHorizon(HORIZON, execute), iter(chunks(100))
    count = 0

    def infer() -> np.ndarray:
        nonlocal count
        count += 1
        return next(made)

    for at in range(steps):
        action, chunk = receding.step(infer)
        assert action[0] == 100 * (at // execute) + at % execute
        assert chunk[0, 0] == 100 * (at // execute)
    assert count == math.ceil(steps / execute)


@pytest.mark.parametrize("execution", ["ensemble", "receding"])
def test_clear_forgets_and_a_failed_inference_changes_nothing(execution: str) -> None:
    chunking = make_chunking(ActOptions(execution=execution, execute=1), HORIZON)
    first, second = chunks(2)
    expected = chunking.step(lambda: first)[0]

    def fail() -> np.ndarray:
        raise RuntimeError("no frame")

    with pytest.raises(RuntimeError):
        chunking.step(fail)
    after = chunking.step(lambda: second)[0]
    assert after[0] == (50.5 if execution == "ensemble" else 100)
    chunking.clear()
    np.testing.assert_array_equal(chunking.step(lambda: first)[0], expected)


def test_more_steps_than_the_chunk_has() -> None:
    with pytest.raises(ParameterError, match=r"1 to 4.*got 5"):
        make_chunking(ActOptions(execution="receding", execute=5), HORIZON)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("normalization", "minmax"),
        ("execution", "average"),
        ("ensemble_weight", math.nan),
        ("execute", 0),
        ("gripper_threshold", 1.0),
        ("gripper_threshold", math.nan),
        ("gripper_votes", 0),
        ("seed", -1),
        ("history_gap_s", 0.0),
        ("history_gap_s", math.inf),
    ],
)
def test_options_out_of_range_are_named(name: str, value: object) -> None:
    with pytest.raises(ParameterError, match=f"^{name}: expected "):
        ActOptions(**{name: value})
