"""The gripper's command: open or closed, and slow to change its mind; or moved by changes of its opening."""

from __future__ import annotations

import math

from octo_ros.errors import ParameterError

GRIPPER_MODES = ("absolute", "relative")
"""What an action's gripper value is: the opening, 1 open, or a change of the last commanded opening."""


def relative_opening(last: float, change: float) -> float:
    """The opening in [0, 1] after a change of the last commanded one; a change that is not finite itself."""
    if not math.isfinite(change):
        return change
    return min(max(last + change, 0.0), 1.0)


class GripperLatch:
    """Turns the network's continuous opening into 0.0 (closed) or 1.0 (open).

    Undecided at first: the first value decides. After that it flips only after `votes`
    values in a row on the other side of the threshold.
    """

    def __init__(self, threshold: float = 0.5, votes: int = 1) -> None:
        """Args: threshold, opening above which a value votes for open; votes, at least 1."""
        if not math.isfinite(threshold):
            raise ParameterError(f"gripper threshold: expected a finite number, got {threshold}")
        if votes < 1:
            raise ParameterError(f"gripper votes: expected at least 1, got {votes}")
        self.threshold = threshold
        self.votes = votes
        self.reset()

    def reset(self) -> None:
        """Back to undecided."""
        self._command: float | None = None
        self._against = 0

    def update(self, value: float) -> float:
        """The command after one more opening in [0, 1] (1 open); a NaN changes nothing once decided.

        Raises:
            ParameterError: the very first value is NaN, so that nothing is decided yet.
        """
        if math.isnan(value):
            if self._command is None:
                raise ParameterError("gripper: the first value is NaN; expected an opening")
            return self._command
        vote = 1.0 if value > self.threshold else 0.0
        if self._command is None:
            self._command = vote
        self._against = 0 if vote == self._command else self._against + 1
        if self._against >= self.votes:
            self._command, self._against = vote, 0
        return self._command
