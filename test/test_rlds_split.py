"""The choice for validation: its size, every task in both parts, and the same in every run."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octo_ros.errors import ParameterError
from octo_ros.rlds.split import validation_episodes

COUNTS = st.lists(st.integers(1, 30), min_size=1, max_size=12)


def instructions(counts):
    return [f"task {task}" for task, count in enumerate(counts) for _ in range(count)]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(COUNTS, st.integers(0, 100))
def test_size_and_tasks_whatever_the_mix(counts, seed):
    words = instructions(counts)
    chosen = validation_episodes(words, seed=seed)
    total, repeated = len(words), sum(count > 1 for count in counts)
    if total == 1:
        assert chosen == frozenset()
        return
    wanted = max(1, round(total / 8))
    assert wanted <= len(chosen) <= max(wanted, total // 5)
    of_task = Counter(words[index] for index in chosen)
    for task, count in enumerate(counts):
        assert of_task[f"task {task}"] < max(count, 2)  # one stays for training where there are two
    if repeated <= max(wanted, total // 5):
        assert all(of_task[f"task {task}"] for task, count in enumerate(counts) if count > 1)


@pytest.mark.parametrize("total", [20, 40, 100, 1000])
def test_of_few_tasks_an_eighth(total):
    chosen = validation_episodes([f"task {i % 3}" for i in range(total)])
    assert 0.1 * total <= len(chosen) <= 0.15 * total
    assert max(Counter(i % 3 for i in chosen).values()) - min(Counter(i % 3 for i in chosen).values()) <= 1


def test_the_same_in_every_run_another_by_seed_and_case_does_not_matter():
    words = instructions([20, 20, 20])
    assert sorted(validation_episodes(words)) == [2, 8, 13, 32, 35, 36, 44, 54]
    assert validation_episodes(words, seed=1) != validation_episodes(words)
    assert validation_episodes([" Lift", "lift "]) != frozenset()
    assert len(validation_episodes(["Lift ", "lift"] * 8)) == 2


def test_none_where_none_is_asked_for():
    assert validation_episodes(instructions([9, 9]), 0.0) == frozenset()
    with pytest.raises(ParameterError, match="share of 0 to 0.5"):
        validation_episodes([], 0.6)
