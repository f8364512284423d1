"""The actions a bag's robot really took, beside those the policy would have taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from octo_ros.errors import BagError
from octo_ros.types import ACTION_AXES, NANOSECONDS


@dataclass(frozen=True)
class Comparison:
    """Recorded actions beside the predicted ones, and how far apart they are.

    Attributes:
        recorded: (n, 7) the recorded action of each step, NaN where there is none [m, rad, opening].
        matched: (n,) bool, whether a message was found for the step.
        error: (7,) mean absolute error of each axis, NaN where nothing could be compared [m, rad, opening].
        compared: number of steps compared.
        not_finite: number of recorded actions with a value that is not finite.
    """

    recorded: np.ndarray
    matched: np.ndarray
    error: np.ndarray
    compared: int
    not_finite: int


class RecordedActions:
    """Recorded actions by log time, physical units, axes as `octo_ros.types.ACTION_AXES`."""

    def __init__(self) -> None:
        self._stamps: list[int] = []
        self._values: list[np.ndarray] = []

    def __len__(self) -> int:
        return len(self._stamps)

    def add(self, log_ns: int, values: Sequence[float]) -> None:
        """Adds one; values that are not finite are kept, to be shown.

        Raises:
            BagError: not 7 values.
        """
        array = np.asarray(values, dtype=np.float64)
        if array.shape != (len(ACTION_AXES),):
            raise BagError(f"recorded action: expected {len(ACTION_AXES)} values, got {array.size}")
        self._stamps.append(log_ns)
        self._values.append(array)

    def compare(self, stamps_ns: Sequence[int], predicted: np.ndarray, tolerance_s: float) -> Comparison:
        """Matches each step with the recorded action nearest in time.

        Args:
            stamps_ns: n stamps of the steps [ns].
            predicted: (n, 7) what the policy answered [m, rad, opening].
            tolerance_s: furthest apart that a match may be [s].
        """
        recorded = np.full((len(stamps_ns), len(ACTION_AXES)), np.nan)
        matched = np.zeros(len(stamps_ns), dtype=bool)
        times = np.array(self._stamps, dtype=np.int64)
        for i, stamp in enumerate(stamps_ns):
            if not len(times):
                break
            after = int(np.searchsorted(times, stamp))
            nearest = min(
                (j for j in (after - 1, after) if 0 <= j < len(times)), key=lambda j: abs(times[j] - stamp)
            )
            if abs(int(times[nearest]) - stamp) <= tolerance_s * NANOSECONDS:
                recorded[i], matched[i] = self._values[nearest], True
        comparable = np.isfinite(recorded) & np.isfinite(predicted)
        apart = np.where(comparable, np.abs(np.where(comparable, recorded, 0.0) - predicted), 0.0)
        counts = comparable.sum(axis=0)
        error = np.where(counts > 0, apart.sum(axis=0) / np.maximum(counts, 1), np.nan)
        not_finite = sum(not np.isfinite(values).all() for values in self._values)
        return Comparison(recorded, matched, error, int(matched.sum()), not_finite)
