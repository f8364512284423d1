"""Adversarial inputs of the safety filter, for Hypothesis."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import seed, settings
from hypothesis import strategies as st
from run_seed import SEED
from safety_cell import MILLISECOND, Cell

from octo_ros.safety.decision import ToolDelta
from octo_ros.safety.options import FilterOptions

MOTION = (0.02, -0.01, 0.01)


def examples(count: int):
    """So many examples, others in each run: they follow from the seed that the report shows."""

    def decorate(test):
        return seed(SEED)(settings(deadline=None, max_examples=count, database=None, print_blob=True)(test))

    return decorate


unit = st.floats(-1.0, 1.0)
directions = st.tuples(*[unit] * 6).map(np.array)
sizes = st.sampled_from([1e-4, 0.01, 0.05, 0.3, 1e30, 1e308])
waits = st.sampled_from([1, 1000, MILLISECOND, 50 * MILLISECOND, 100 * MILLISECOND, 290 * MILLISECOND])
pushes = st.lists(st.tuples(directions, sizes, st.integers(1, 8)), min_size=1, max_size=3)


@st.composite
def paces(draw) -> tuple:
    """How time passes: the timer's period or None for steps alone, and the periods of the actions, in ns."""
    ticks = [None, None, 10 * MILLISECOND, 10 * MILLISECOND, 3_333_333, 1000, 77 * MILLISECOND]
    tick_ns = draw(st.sampled_from(ticks))
    periods = draw(st.lists(waits, min_size=1, max_size=5))
    if tick_ns is not None and tick_ns < MILLISECOND:
        periods = [20 * tick_ns]
    elif draw(st.booleans()):
        periods = [100 * MILLISECOND]
    return tick_ns, periods


def push(cell: Cell, plan: list, pace: tuple = (None, [100 * MILLISECOND])) -> None:
    """Acts along each direction in turn."""
    tick_ns, periods = pace
    count = 0
    for direction, size, repeats in plan:
        with np.errstate(over="ignore"):
            translation, rotation = direction[:3] * size, direction[3:] * size
        for _ in range(repeats):
            period_ns, count = periods[count % len(periods)], count + 1
            if tick_ns is not None:
                cell.go_on(period_ns, tick_ns)
                period_ns = 0
            cell.act(translation, rotation, wait_ns=period_ns)


def moving(name: str, ticks: bool, **options: object) -> Cell:
    """A cell whose arm is in motion; by steps alone at 10 Hz, or with ticks."""
    cell = Cell(name, options=FilterOptions(**options))
    cell.begin()
    for _ in range(3):
        if ticks:
            cell.go_on(100 * MILLISECOND)
        cell.act(MOTION, wait_ns=0 if ticks else 100 * MILLISECOND)
    assert cell.oracle.velocity.any()
    return cell


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
