"""The gripper latch: first value decides, flips need votes in a row."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octo_ros.errors import ParameterError
from octo_ros.policy.gripper import GripperLatch, relative_opening


def test_first_value_decides() -> None:
    assert GripperLatch(votes=3).update(0.9) == 1.0
    assert GripperLatch(votes=3).update(0.1) == 0.0
    assert GripperLatch().update(0.5) == 0.0  # open only above the threshold


def test_flips_after_votes_in_a_row() -> None:
    latch = GripperLatch(0.5, votes=3)
    values = [0.9, 0.1, 0.1, 0.9, 0.1, 0.1, 0.1, 0.1, 0.9]
    assert [latch.update(value) for value in values] == [1, 1, 1, 1, 1, 1, 0, 0, 0]


@settings(max_examples=100, derandomize=True)
@given(st.lists(st.floats(-10, 10), min_size=1, max_size=60), st.integers(1, 5), st.floats(0.1, 0.9))
def test_every_flip_follows_enough_equal_votes(values: list[float], votes: int, threshold: float) -> None:
    latch = GripperLatch(threshold, votes)
    commands = [latch.update(value) for value in values]
    assert set(commands) <= {0.0, 1.0}
    for at in range(1, len(values)):
        if commands[at] != commands[at - 1]:
            assert at + 1 >= votes
            assert all(
                (value > threshold) == (commands[at] == 1.0) for value in values[at + 1 - votes : at + 1]
            )


def test_nan_changes_nothing_and_cannot_decide() -> None:
    latch = GripperLatch()
    with pytest.raises(ParameterError, match="NaN"):
        latch.update(math.nan)
    latch.update(0.9)
    assert latch.update(math.nan) == 1.0


def test_reset_is_undecided_again() -> None:
    latch = GripperLatch(votes=5)
    latch.update(0.9)
    latch.reset()
    assert latch.update(0.1) == 0.0


@pytest.mark.parametrize("arguments", [(math.nan, 1), (0.5, 0)])
def test_values_out_of_range(arguments: tuple) -> None:
    with pytest.raises(ParameterError):
        GripperLatch(*arguments)


@given(st.floats(0.0, 1.0), st.floats())
def test_a_relative_opening_stays_in_range_and_passes_what_is_no_number(last: float, change: float) -> None:
    opening = relative_opening(last, change)
    if math.isfinite(change):
        assert 0.0 <= opening <= 1.0
        assert opening == min(max(last + change, 0.0), 1.0)
    else:
        assert math.isnan(opening) if math.isnan(change) else opening == change
