"""A call at a steady rate from a thread of its own; far cheaper than a timer of rclpy's executor.

The executor builds its list of everything it waits for anew before each callback, which takes
about half a millisecond; a hundred times a second that alone is a twentieth of a core.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Heartbeat:
    """Calls a function at a steady rate, on the monotonic clock, until it is stopped.

    A beat that comes late is not made up for: the next one is a period after it.

    Args:
        period_s: from beat to beat [s].
        beat: what is called, while `turn` is held. It must not raise.
        turn: lock of all that must not run at the same time.
    """

    def __init__(self, period_s: float, beat: Callable[[], None], turn: threading.RLock) -> None:
        self._period_s, self._beat, self._turn = period_s, beat, turn
        self._ended = False
        threading.Thread(target=self._run, name="heartbeat", daemon=True).start()

    def stop(self) -> None:
        """Ends it. Called while `turn` is held, it leaves no beat under way or to come."""
        self._ended = True

    def _run(self) -> None:
        due = time.monotonic() + self._period_s
        while True:
            time.sleep(max(due - time.monotonic(), 0.0))
            with self._turn:
                if self._ended:
                    return
                self._beat()
            due = max(due + self._period_s, time.monotonic())
