"""Rates and latencies over the last events, for diagnostics and reports."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from octo_ros.types import NANOSECONDS


@dataclass(frozen=True)
class Percentiles:
    """How the durations of a window spread [s]; nan where the window is empty."""

    count: int
    p50: float
    p95: float
    maximum: float


class DurationWindow:
    """The last `size` durations [s]."""

    def __init__(self, size: int = 300) -> None:
        self._durations: deque[float] = deque(maxlen=size)

    def add(self, duration_s: float) -> None:
        """Adds one duration [s]."""
        self._durations.append(duration_s)

    def clear(self) -> None:
        """Forgets every duration."""
        self._durations.clear()

    def percentiles(self) -> Percentiles:
        """Median, 95th percentile and maximum of the durations in the window."""
        if not self._durations:
            return Percentiles(0, float("nan"), float("nan"), float("nan"))
        p50, p95, maximum = np.percentile(np.array(self._durations), (50.0, 95.0, 100.0))
        return Percentiles(len(self._durations), float(p50), float(p95), float(maximum))


class RateWindow:
    """How often something happened within the last `span_s` seconds of the caller's clock."""

    def __init__(self, span_s: float = 5.0) -> None:
        self._span_ns = int(span_s * NANOSECONDS)
        self._stamps: deque[int] = deque()

    def add(self, stamp_ns: int) -> None:
        """Adds one event at `stamp_ns` [ns]; a stamp before the last one starts the window anew."""
        if self._stamps and stamp_ns < self._stamps[-1]:
            self._stamps.clear()
        self._stamps.append(stamp_ns)

    def clear(self) -> None:
        """Forgets every event."""
        self._stamps.clear()

    def rate(self, now_ns: int) -> float:
        """Events a second [1/s] since the oldest event of the window, 0 with fewer than two of them."""
        while self._stamps and self._stamps[0] < now_ns - self._span_ns:
            self._stamps.popleft()
        if len(self._stamps) < 2 or now_ns <= self._stamps[0]:
            return 0.0
        gaps = len(self._stamps) - 1
        # Silence longer than one usual gap counts, so that a stream that ended does not keep its rate.
        usual_ns = (self._stamps[-1] - self._stamps[0]) / gaps
        span_ns = max(self._stamps[-1], now_ns - usual_ns) - self._stamps[0]
        return gaps * NANOSECONDS / span_ns if span_ns > 0 else 0.0
