"""Whether the simulated cell may follow commands yet."""

from __future__ import annotations

import numpy as np


class Takeover:
    """Follows commands only from one that begins where the arm is.

    A filter that was stopped goes on sending where it stopped; after a reset of the cell that is
    somewhere else, and an arm that followed would jump there.

    Args:
        tolerance: furthest of a first command from the measured joints [rad].

    Attributes:
        following: whether commands are followed.
        refused: commands that were not, since the last reset.
    """

    def __init__(self, tolerance: float) -> None:
        self._tolerance = tolerance
        self.reset()

    def reset(self) -> None:
        """The arm was put elsewhere: wait for a command that begins there."""
        self.following, self.refused = False, 0

    def accepts(self, command: np.ndarray, measured: np.ndarray) -> bool:
        """Whether to follow a command (n,) while the joints are at `measured` (n,) [rad]."""
        usable = command.shape == measured.shape and bool(np.isfinite(command).all())
        if usable and not self.following:
            self.following = bool(np.abs(command - measured).max() <= self._tolerance)
        if not (usable and self.following):
            self.refused += 1
            return False
        return True
