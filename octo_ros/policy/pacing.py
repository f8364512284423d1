"""At most one set of frames a period: what is there at the tick, else the first that comes before the next.

A timer alone would let a camera of about the same rate slip past it: a frame that comes just
after the tick would wait a whole period, and the one after it would replace it.

A `FollowingPacer` moves the ticks of a live node, too: two rates that are the same keep the phase in which
they happened to start, and every frame would wait for the tick as long as the first one did.
"""

from __future__ import annotations

from octo_ros.policy.frames import FrameRefusal, FrameSync
from octo_ros.types import Observation


class Pacer:
    """Hands out the sets of frames of a `FrameSync`, one a period."""

    def __init__(self, frames: FrameSync) -> None:
        self._frames = frames
        self._waiting: FrameRefusal | None = None  # why the present period has no set yet

    def tick(self, now_ns: int) -> tuple[Observation | None, FrameRefusal | None]:
        """A period begins: its set of frames, if there is one, and why the period before had none."""
        unserved, self._waiting = self._waiting, None
        return self._take(now_ns), unserved

    def arrived(self, now_ns: int) -> Observation | None:
        """A frame came: the set of frames, if the present period still waits for one."""
        return None if self._waiting is None else self._take(now_ns)

    def skip(self) -> None:
        """The present period needs no frames."""
        self._waiting = None

    @property
    def waits(self) -> bool:
        """Whether the present period still waits for a set of frames."""
        return self._waiting is not None

    def _take(self, now_ns: int) -> Observation | None:
        taken = self._frames.take(now_ns)
        self._waiting = taken if isinstance(taken, FrameRefusal) else None
        return None if self._waiting else taken


class FollowingPacer(Pacer):
    """Moves the ticks to the frames of cameras whose rate is about the ticks', or a multiple of it.

    Beside a camera of about their own rate the ticks come just before its frames, each of which is taken
    as it comes; the rate is then the camera's. Beside a camera of twice the rate or more they come just after
    a frame. Cameras of other rates are left to the ticks. No frame is passed over to get there: periods are
    shortened, each by a fifth at most.

    Attributes:
        next_ns: from the last tick to the next [ns].
    """

    LEAD = 0.02
    """How long before the frames of a camera of its own rate a tick should come, as a share of the period."""

    LAG = 0.03
    """How long after the frames of a faster camera a tick should come, as a share of the period; twice that
    is left as it is."""

    OWN = (0.9, 1.5)
    """Time between the frames of a camera of its own rate, as shares of the period."""

    MULTIPLE = 0.05
    """How far from the period some whole number of a faster camera's frames may last, as a share of it."""

    SHORTEST = 0.8
    """The shortest time between two ticks, as a share of the period."""

    def __init__(self, frames: FrameSync, period_ns: int) -> None:
        super().__init__(frames)
        self._period_ns = period_ns
        self._lag_ns = round(self.LAG * period_ns)
        self._came_ns: int | None = None
        self.next_ns = period_ns

    def came(self, now_ns: int) -> None:
        """A frame came, whether it can be used or not; to be told before `arrived`."""
        self._came_ns = now_ns

    def tick(self, now_ns: int) -> tuple[Observation | None, FrameRefusal | None]:
        self.next_ns = self._period_ns
        taken, unserved = super().tick(now_ns)
        if taken is not None and self._came_ns is not None:
            self._follow(now_ns - self._came_ns)
        return taken, unserved

    def skip(self) -> None:
        super().skip()
        self.next_ns = self._period_ns

    def _follow(self, waited_ns: int) -> None:
        """Places the next tick; the frames of this one have waited for it [ns]."""
        spacing_ns = self._frames.spacing_ns()
        if not spacing_ns or waited_ns < 0:
            return
        shortest_ns = round(self.SHORTEST * self._period_ns)
        share = spacing_ns / self._period_ns
        count = round(1.0 / share)  # frames a period
        if self.OWN[0] <= share <= self.OWN[1] and waited_ns < spacing_ns:
            next_ns = spacing_ns - waited_ns - round(self.LEAD * self._period_ns)
            self.next_ns = max(next_ns, shortest_ns)
        elif count >= 2 and abs(count * share - 1.0) <= self.MULTIPLE:
            early_ns = waited_ns - self._lag_ns if waited_ns > 2 * self._lag_ns else 0
            next_ns = count * spacing_ns - early_ns
            self.next_ns = next_ns if next_ns >= shortest_ns else next_ns + spacing_ns
