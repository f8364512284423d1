"""Success of many episodes: shares with confidence intervals, by instruction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

CONFIDENCE_Z = 1.96
"""Standard deviations of a two-sided interval of 95 %."""


@dataclass(frozen=True)
class EpisodeScore:
    """How one episode went.

    Attributes:
        instruction: what was asked for.
        seed: of the cell.
        success: whether it was done in time.
        actions: actions of the policy that the filter decided on.
        limited: those that it shortened or refused.
        seconds: simulated time that it took [s].
    """

    instruction: str
    seed: int
    success: bool
    actions: int
    limited: int
    seconds: float


@dataclass(frozen=True)
class Share:
    """A share of a number of trials, and the interval in which the true one is at 95 % confidence."""

    hits: int
    trials: int

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

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.hits}/{self.trials} = {self.value:.0%} ({low:.0%} to {high:.0%})"


@dataclass(frozen=True)
class Evaluation:
    """All episodes of one policy under one setting."""

    setting: str
    episodes: tuple[EpisodeScore, ...]

    @property
    def success(self) -> Share:
        """Episodes that succeeded."""
        return _successes(self.episodes)

    @property
    def limited(self) -> Share:
        """Actions that the filter changed."""
        return Share(
            sum(episode.limited for episode in self.episodes),
            sum(episode.actions for episode in self.episodes),
        )

    def by_instruction(self) -> dict[str, Share]:
        """Successes of each instruction, in the order in which they first came."""
        instructions = dict.fromkeys(episode.instruction for episode in self.episodes)
        return {
            instruction: _successes([e for e in self.episodes if e.instruction == instruction])
            for instruction in instructions
        }

    def as_json(self) -> dict[str, Any]:
        """Everything, for a file."""
        return {
            "setting": self.setting,
            "success": _as_json(self.success),
            "limited_actions": _as_json(self.limited),
            "by_instruction": {name: _as_json(share) for name, share in self.by_instruction().items()},
            "episodes": [asdict(episode) for episode in self.episodes],
        }

    def __str__(self) -> str:
        lines = [f"{self.setting}: {self.success}"]
        lines += [f"  {name:24} {share}" for name, share in self.by_instruction().items()]
        lines.append(
            f"  {'limited by the filter':24} {self.limited.value:.1%} of {self.limited.trials} actions"
        )
        return "\n".join(lines)


def _successes(episodes: Sequence[EpisodeScore]) -> Share:
    return Share(sum(episode.success for episode in episodes), len(episodes))


def _as_json(share: Share) -> dict[str, Any]:
    return {
        "hits": share.hits,
        "trials": share.trials,
        "share": share.value if share.trials else None,
        "interval_95": share.interval,
    }
