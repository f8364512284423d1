"""What a constraint answers, and the rule for a start that already violates it."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from octo_ros.safety.decision import Refusal
from octo_ros.safety.motion import BRANCH, Motion

SLACK = 1e-6
"""Share of every speed that is not used, so that rounding never crosses a limit."""

ROUNDING = 1e-9
"""Relative excess below which a motion counts as allowed in full; far less than `SLACK`."""


class Constraint(ABC):
    """One promise about every motion that is emitted.

    A motion is looked at together with the braking that can follow it, so that what is allowed
    once can always be ended within the constraint.
    """

    @abstractmethod
    def allow(self, motion: Motion) -> tuple[float, Refusal | None]:
        """1 and None where `motion` keeps the constraint to its last stop.

        Otherwise a fraction in [0, 1), about how much of the motion's velocity would, and what binds.
        """

    def outside(self, joints: np.ndarray) -> list[Refusal]:
        """What `joints` (n,) at rest violate."""
        return []

    def is_outside(self, joints: np.ndarray) -> bool:
        """Whether `joints` (n,) at rest violate it."""
        return bool(self.outside(joints))


def fraction_within(bound: float, asked: float) -> float:
    """The share of `asked` that stays within `bound`: exactly 1 where all of it does."""
    if asked <= bound * (1.0 + ROUNDING):
        return 1.0
    return max(float(bound / asked), 0.0)


def first_violation(
    margins: np.ndarray, wanted: np.ndarray, between: np.ndarray | None = None
) -> tuple[int, int] | None:
    """Where a path first leaves a constraint: index of the sample and of the column, or None.

    Args:
        margins: (k, m) distance to each of m bounds at k samples along the path, negative beyond it.
        wanted: (k,) margin that each sample needs.
        between: (k,) by how much the margin can be less between a sample and the one before.

    A sample is in order where it has the margin it needs. Where the sample before it lacked
    that already, it must be better than that one, by `between`: from outside, the way in is always open.
    """
    before = margins[:-1] if between is None else margins[:-1] + between[1:, None]
    needed = np.minimum(wanted[1:, None], before)
    short = margins[1:] < needed
    if not short.any():
        return None
    sample = int(np.flatnonzero(short.any(axis=1))[0])
    column = int(np.argmax(np.where(short[sample], needed[sample] - margins[sample + 1], -np.inf)))
    return sample + 1, column


def path_violation(
    margins: np.ndarray, wanted: np.ndarray, step: int, between: np.ndarray | None = None
) -> tuple[int, int] | None:
    """As `first_violation`, of a motion: on the line to its stop, else on the other way to brake.

    Args:
        margins, wanted, between: as there, for all samples of the motion.
        step: index of the sample at the end of the step, where the other way begins.
    """
    line = slice(None, -BRANCH)
    found = first_violation(margins[line], wanted[line], None if between is None else between[line])
    if found is None:
        branch = [step, *range(len(margins) - BRANCH, len(margins))]
        found = first_violation(margins[branch], wanted[branch])
        if found is not None:
            return branch[found[0]], found[1]
    return found
