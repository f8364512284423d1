"""Who sees whom: the mask against the rules, token by token."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octo_ros.model.attention import Group, attention_mask

PREFIXES = ("task_language", "task_goal")
STEPS = ("obs_primary", "obs_wrist", "obs_task_language", "readout_action", "readout_value")


def groups(names: tuple[str, ...], minimum: int) -> st.SearchStrategy[list[Group]]:
    return st.lists(
        st.tuples(st.sampled_from(names), st.integers(1, 4)),
        min_size=minimum,
        max_size=len(names),
        unique_by=lambda entry: entry[0],
    ).map(lambda entries: [Group(name, tokens) for name, tokens in entries])


def token(index: int, prefix: list[Group], timestep: list[Group], correct: bool) -> tuple[str, int]:
    """Group name and timestep of one token, found as the official code does: by searching, one at a time."""
    search = bisect_right if correct else bisect_left
    count = sum(group.tokens for group in prefix)
    if index < count:
        return prefix[search(list(accumulate(group.tokens for group in prefix)), index)].name, -1
    step, rest = divmod(index - count, sum(group.tokens for group in timestep))
    return timestep[search(list(accumulate(group.tokens for group in timestep)), rest)].name, step


def allowed(viewer: tuple[str, int], seen: tuple[str, int]) -> bool:
    """The rules of OctoTransformer, written out."""
    (viewer_name, viewer_step), (seen_name, seen_step) = viewer, seen
    if seen_step > viewer_step:
        return False
    if viewer_name.startswith("task_"):
        return seen_name.startswith("task_")
    if seen_name.startswith(("task_", "obs_")):
        return True
    return viewer_name.startswith("readout_") and seen_name == viewer_name


@settings(max_examples=60, deadline=None, derandomize=True)
@given(groups(PREFIXES, 0), groups(STEPS, 1), st.integers(1, 3), st.booleans())
def test_mask_follows_the_rules(
    prefix: list[Group], timestep: list[Group], window: int, correct: bool
) -> None:
    mask = attention_mask(prefix, timestep, window, correct)
    total = sum(group.tokens for group in prefix) + window * sum(group.tokens for group in timestep)
    assert mask.shape == (total, total)
    tokens = [token(index, prefix, timestep, correct) for index in range(total)]
    expected = [[allowed(viewer, seen) for seen in tokens] for viewer in tokens]
    np.testing.assert_array_equal(mask, expected)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(groups(PREFIXES, 1), groups(STEPS, 1), st.integers(2, 3), st.booleans())
def test_nothing_sees_a_later_timestep(
    prefix: list[Group], timestep: list[Group], window: int, correct: bool
) -> None:
    mask = attention_mask(prefix, timestep, window, correct)
    start = sum(group.tokens for group in prefix)
    step = sum(group.tokens for group in timestep)
    assert not mask[:start, start:].any()
    for index in range(window - 1):
        end = start + (index + 1) * step
        assert not mask[:end, end:].any()


def test_old_attention_counts_a_first_token_to_the_group_before() -> None:
    timestep = [Group("obs_primary", 3), Group("readout_action", 1)]
    correct = attention_mask([], timestep, 1, correct=True)
    old = attention_mask([], timestep, 1, correct=False)
    assert not correct[0, 3]
    assert old[0, 3]  # the only readout token passes for an observation, so observations see it
    assert old.all()


@pytest.mark.parametrize("correct", [False, True])
def test_readouts_do_not_see_each_other(correct: bool) -> None:
    timestep = [Group("obs_primary", 2), Group("readout_action", 3), Group("readout_value", 3)]
    mask = attention_mask([], timestep, 1, correct)
    assert not mask[4, 7]
    assert not mask[7, 4]
    assert mask[0, 2] != correct  # only the old attention takes the first readout token for an observation
