"""At most one set of frames a period: what is there at the tick, else the first that comes before the next.

A timer alone would let a camera of about the same rate slip past it: a frame that comes just
after the tick would wait a whole period, and the one after it would replace it.
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

    def _take(self, now_ns: int) -> Observation | None:
        taken = self._frames.take(now_ns)
        self._waiting = taken if isinstance(taken, FrameRefusal) else None
        return None if self._waiting else taken
