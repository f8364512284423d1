"""Lets the simulated clock wait for those that live by it, so that a slow machine makes no slow policy."""

from __future__ import annotations

from octo_ros.types import NANOSECONDS

ANSWER_NS = NANOSECONDS // 50
"""Simulated time that an action may take from when its pictures are out [ns]."""

COMMAND_STEPS = 3
"""Steps of the cell that one command may serve, once commands come."""

USUAL_S = (0.03, 0.25)
"""Shortest real time that an action is supposed to take usually, and the one supposed at first [s]."""

SLOW_STEPS = 20
"""Before the first action a step takes half of the usual time, twice that after so many steps, and so on."""

FIRST, ACTION, COMMAND = "first action", "action", "command"
"""What the clock waits for."""


class Lockstep:
    """Whether the simulated clock has to wait, within an episode.

    It waits while an action is overdue for pictures that are out, and while the newest command has
    served `COMMAND_STEPS` steps. Before the first action it goes on slowly: the policy may wait for the
    clock itself, until its next period begins. So it may later: where an action takes twice as long as
    usual the clock goes on by a step, and by another after every four times that.

    Args:
        patience_s: longest real time that it waits for one thing [s]; 0 never waits.

    Attributes:
        lost: what did not come within the patience: `FIRST`, `ACTION`, `COMMAND` or "".
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._usual_s = USUAL_S[1]
        self.begin()
        self.end()

    def begin(self) -> None:
        """The policy has its words: the pictures that come from now on are to be answered."""
        self._acting = self._patience_s > 0.0
        self._shown_ns = self._wanted_ns = self._answered_ns = -1  # of sets: newest, oldest without answer
        self._due_ns = 0  # when that answer is due
        self._served: int | None = None  # steps since the newest command, None before the first
        self._awaited = ""  # what it waits for
        self._since_s = self._moved_s = 0.0  # when it began to, and when the clock last went on
        self._helps = 0  # steps by which the clock went on meanwhile
        self.lost = ""

    def end(self) -> None:
        """Nobody is to act, and what did not come is no longer waited for."""
        self._acting, self.lost = False, ""

    def showed(self, stamp_ns: int, now_ns: int) -> None:
        """Pictures of that stamp are out, at that simulated time [ns]."""
        self._shown_ns = stamp_ns
        if self._answered_ns >= self._wanted_ns:
            self._wanted_ns, self._due_ns = stamp_ns, now_ns + ANSWER_NS

    def answered(self, stamp_ns: int) -> None:
        """An action came that answers the pictures of that stamp."""
        self._answered_ns = max(self._answered_ns, stamp_ns)
        if self._shown_ns > self._answered_ns >= self._wanted_ns:
            self._wanted_ns = self._shown_ns

    def commanded(self) -> None:
        """A command came."""
        self._served = 0

    def stepped(self) -> None:
        """The cell went on by a step."""
        if self._served is not None:
            self._served += 1

    def waits(self, now_ns: int, now_s: float) -> bool:
        """Whether to wait at that simulated time [ns]; `now_s` is of a steady clock [s]."""
        lacking = self._lacking(now_ns) if self._acting else ""
        if lacking != self._awaited:
            if self._awaited == ACTION:
                self._usual_s = max(now_s - self._moved_s, 0.9 * self._usual_s, USUAL_S[0])
            self._awaited, self._since_s, self._moved_s, self._helps = lacking, now_s, now_s, 0
        if not lacking:
            return False
        if now_s - self._since_s >= self._patience_s:
            self.lost = lacking
            return False
        if now_s - self._moved_s < self._stand_s():
            return True
        self._moved_s = now_s
        self._helps += 1
        return False

    def _lacking(self, now_ns: int) -> str:
        """What has to come, "" for nothing."""
        if self._answered_ns < 0:
            return FIRST
        if self._wanted_ns > self._answered_ns and now_ns >= self._due_ns:
            return ACTION
        return COMMAND if self._served is not None and self._served >= COMMAND_STEPS else ""

    def _stand_s(self) -> float:
        """How long the clock stands before it goes on by a step nevertheless [s]."""
        if self._awaited == FIRST:
            return self._usual_s / 2.0 * 2.0 ** (self._helps / SLOW_STEPS)
        return self._usual_s * (4.0 if self._helps else 2.0) if self._awaited == ACTION else self._patience_s
