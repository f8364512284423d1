"""The times of one stream of a recording: which message is nearest to an instant, how its clock drifts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from octo_ros.types import NANOSECONDS

PPM = 1e6


@dataclass(frozen=True)
class Drift:
    """A stream's clock against the recorder's.

    Attributes:
        stream: name, for people.
        ppm: slope of stamp against receive time, less one, in millionths; positive runs fast.
        span_s: receive time over which it was measured [s].
    """

    stream: str
    ppm: float
    span_s: float


@dataclass(frozen=True)
class Series:
    """n messages of one stream, in order of their times.

    Attributes:
        name: "camera primary", for people.
        times_ns: (n,) int64, on the clock of the log [ns].
        order: (n,) int64, the place of each among the topic's messages in the bag.
        values: (n, k) float64, or None of a camera.
        log_ns: (n,) int64, when each was received [ns].
        stamped: whether `times_ns` comes from headers; else it is `log_ns`.
    """

    name: str
    times_ns: np.ndarray
    order: np.ndarray
    values: np.ndarray | None
    log_ns: np.ndarray
    stamped: bool

    def nearest(self, times_ns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Index of the message nearest to each time (T,) [ns], and how far it is off (T,) [s]."""
        after = np.clip(np.searchsorted(self.times_ns, times_ns), 1, max(len(self.times_ns) - 1, 1))
        before = after - 1
        after = np.minimum(after, len(self.times_ns) - 1)
        later = self.times_ns[after] - times_ns < times_ns - self.times_ns[before]
        index = np.where(later, after, before)
        return index, np.abs(self.times_ns[index] - times_ns) / NANOSECONDS

    def held(self, times_ns: np.ndarray) -> np.ndarray:
        """Index of the last message at or before each time (T,) [ns]; -1 where there is none."""
        return np.searchsorted(self.times_ns, times_ns, side="right") - 1

    def within(self, start_ns: int, end_ns: int) -> np.ndarray:
        """Indices of the messages from `start_ns` to `end_ns`, both included [ns]."""
        first, last = np.searchsorted(self.times_ns, (start_ns, end_ns + 1))
        return np.arange(first, last)

    def drift(self) -> Drift | None:
        """How its stamps drift against the times of receipt; None without headers, or at one instant."""
        if not self.stamped or len(self.log_ns) < 2 or np.ptp(self.log_ns) == 0:
            return None
        received = (self.log_ns - self.log_ns[0]) / NANOSECONDS
        lead = (self.times_ns - self.log_ns) / NANOSECONDS
        centred = received - received.mean()
        slope = float(centred @ (lead - lead.mean()) / (centred @ centred))
        return Drift(self.name, slope * PPM, float(np.ptp(received)))
