"""Adversarial inputs of the safety filter, for Hypothesis."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from safety_cell import Cell

from octo_ros.safety.decision import ToolDelta

MOTION = (0.02, -0.01, 0.01)


def examples(count: int) -> settings:
    """As many examples, the same each time."""
    return settings(derandomize=True, deadline=None, max_examples=count)


numbers = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(-0.1, 0.1),
    st.sampled_from([0.0, 1e30, -1e30, 1e308, -1.7e308, 5e-324, math.nan, math.inf, -math.inf]),
)
bad_numbers = st.sampled_from([math.nan, math.inf, -math.inf])
vectors = st.lists(numbers, min_size=3, max_size=3).map(np.array)
misshapen = st.one_of(
    st.none(),
    st.just("abc"),
    st.just([[1.0, 2.0, 3.0]]),
    st.just([1.0, "x", 2.0]),
    st.just([10**400, 0, 0]),
    st.just(1j),
    st.just({}),
    st.lists(numbers, max_size=8).filter(lambda values: len(values) != 3),
)
spoilt = vectors.flatmap(
    lambda vector: st.tuples(st.integers(0, 2), bad_numbers).map(
        lambda change: np.array([change[1] if axis == change[0] else vector[axis] for axis in range(3)])
    )
)
bad_vectors = st.one_of(misshapen, spoilt)
good_vectors = st.lists(st.floats(-0.1, 0.1), min_size=3, max_size=3).map(np.array)
bad_grippers = st.one_of(bad_numbers, st.none(), st.just("open"), st.just([0.5]), st.just(10**400))
bad_stamps = st.sampled_from([None, -1, 2**63, 10**400, 1.5, math.nan, True, "now"])


@st.composite
def malformed_actions(draw) -> tuple:
    """Parts of an action of which at least one cannot be used; a stamp of 0 stands for a fresh one."""
    parts = [draw(good_vectors), draw(good_vectors), draw(st.floats(0, 1)), 0]
    spoil = [bad_vectors, bad_vectors, bad_grippers, bad_stamps]
    for index in draw(st.sets(st.integers(0, 3), min_size=1)):
        parts[index] = draw(spoil[index])
    return tuple(parts)


def malformed(cell: Cell, parts: tuple) -> ToolDelta:
    """The action that such parts make, now."""
    translation, rotation, gripper, stamp = parts
    return ToolDelta(
        cell.now_ns if stamp == 0 and stamp is not False else stamp, translation, rotation, gripper
    )
