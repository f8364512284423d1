"""A share of a number of trials, and what it proves."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

CONFIDENCE_Z = 1.96
"""Standard deviations of a two-sided interval of 95 %."""


@dataclass(frozen=True)
class Share:
    """A share of a number of trials, and the interval in which the true one is at 95 % confidence."""

    hits: int
    trials: int

    @classmethod
    def of(cls, outcomes: Iterable[bool]) -> Share:
        """The share of those that are true."""
        outcomes = list(outcomes)
        return cls(sum(outcomes), len(outcomes))

    @property
    def value(self) -> float:
        """The share; NaN without a trial."""
        return self.hits / self.trials if self.trials else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's score interval (Wilson 1927), which is right for few trials and near 0 and 1."""
        if not self.trials:
            return 0.0, 1.0
        z2, n = CONFIDENCE_Z**2, self.trials
        middle = (self.value + z2 / (2 * n)) / (1 + z2 / n)
        half = CONFIDENCE_Z / (1 + z2 / n) * math.sqrt(self.value * (1 - self.value) / n + z2 / (4 * n * n))
        return max(middle - half, 0.0), min(middle + half, 1.0)

    def as_json(self) -> dict[str, Any]:
        """Everything, for a file."""
        return {
            "hits": self.hits,
            "trials": self.trials,
            "share": self.value if self.trials else None,
            "interval_95": self.interval,
        }

    def __str__(self) -> str:
        if not self.trials:
            return "-"
        low, high = self.interval
        return f"{self.hits}/{self.trials} = {self.value:.0%} ({low:.0%} to {high:.0%})"
