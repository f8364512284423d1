"""What the safety filter does with a policy's actions, counted from what the two nodes publish."""

from __future__ import annotations

from octo_ros.safety.decision import Status
from octo_ros.types import NANOSECONDS

TAKEN = (Status.OK.value, Status.LIMITED.value, Status.INVALID.value)
"""What is said of an action while the filter lets actions move the arm, or refuses one of them."""


class Tally:
    """Counts the actions of one episode.

    The filter tells one decision for each action and, while it moves the arm, one more for each other
    limit that it meets; an action is limited where any of them says so.

    Attributes:
        actions: that the filter decided on while it followed.
        limited: those that it shortened or refused, at once or while they moved the arm.
        stopped: whether it stopped by itself, after which nothing moves.
        ages_s: from the pictures' stamp to the decision, of each action [s].
    """

    def __init__(self) -> None:
        self.actions = self.limited = 0
        self.stopped = False
        self.ages_s: list[float] = []
        self._undecided_ns: int | None = None  # stamp of an action whose decision is still to come
        self._counted = False  # whether the present action is one of `actions`
        self._whole = True  # whether it has not been limited

    def action(self, stamp_ns: int) -> None:
        """The policy answers the pictures of that stamp."""
        self._undecided_ns = stamp_ns

    def decision(self, status: str, stamp_ns: int) -> None:
        """The filter tells a decision, made at that time."""
        self.stopped |= status == Status.STOPPED.value
        if self._undecided_ns is not None:
            self._counted, self._whole = status in TAKEN, True
            if self._counted:
                self.actions += 1
                self.ages_s.append((stamp_ns - self._undecided_ns) / NANOSECONDS)
            self._undecided_ns = None
        if self._counted and self._whole and status in (Status.LIMITED.value, Status.INVALID.value):
            self.limited += 1
            self._whole = False
