"""Pairs the cameras' frames by their stamps, and refuses what is old, apart or already used.

Time is always the stamp in a frame's header, never the time of its arrival: a camera that
stalls, or whose frames queue up somewhere, shows as age.
"""

from __future__ import annotations

import bisect
import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from octo_ros.errors import ParameterError
from octo_ros.types import NANOSECONDS, Observation

CAPACITY = 32
"""Frames kept per camera, at most."""

REASONS = ("missing", "future", "stale", "unpaired", "repeated")
"""Why `FrameSync.take` gives no frames."""


@dataclass(frozen=True)
class FrameRefusal:
    """Why there is no set of frames now.

    Attributes:
        reason: "missing" (a camera has given no frame), "future" (its frames are stamped later
            than now), "stale" (too old), "unpaired" (newer frames exist, too far apart), or
            "repeated" (nothing new since the last set; no fault unless it lasts).
        camera: the camera to look at.
        value_s: its newest frame's lead (future), age (stale, repeated) or distance from the
            newest frame of all (unpaired) [s]; infinite where missing.
        bound_s: what is allowed [s].
    """

    reason: str
    camera: str
    value_s: float
    bound_s: float

    def __str__(self) -> str:
        return f"camera {self.camera}: {self.reason}: {self.value_s:.3f} s, bound {self.bound_s:.3f} s"


class FrameSync:
    """Newest set of frames, one of each camera, within a tolerance of each other and a maximum age.

    A fast camera's frames wait in a bounded buffer for a slow one's, and a slow camera's frame may
    serve more than one set while it is within the tolerance. The stamp of a set (its newest frame's)
    grows from one `take` to the next, so no set comes twice.

    A clock that jumps back (a bag that loops, a simulation that restarts) empties the buffers: seen
    when `now_ns` goes back, or a camera's stamp by more than the maximum age and the tolerance.
    """

    def __init__(
        self, cameras: Sequence[str], tolerance_ns: int = 50_000_000, max_age_ns: int = 200_000_000
    ) -> None:
        """Args: cameras that make a set; furthest stamps in a set, and oldest frame used [ns].

        A frame is also refused while its stamp lies more than the tolerance after now.
        """
        if not cameras or len(set(cameras)) != len(cameras):
            raise ParameterError(f"cameras: expected at least one name, each once, got {list(cameras)}")
        if tolerance_ns < 0 or max_age_ns <= 0:
            got = f"{tolerance_ns} and {max_age_ns} ns"
            raise ParameterError(f"expected a tolerance of at least 0 and a positive maximum age, got {got}")
        self.cameras = tuple(cameras)
        self.tolerance_ns = tolerance_ns
        self.max_age_ns = max_age_ns
        self.clear()

    def clear(self) -> None:
        """Forgets every frame and every set taken."""
        # Per camera: stamps in rising order, and the frame of each.
        self._stamps: dict[str, list[int]] = {camera: [] for camera in self.cameras}
        self._images: dict[str, list[Any]] = {camera: [] for camera in self.cameras}
        self._taken_ns: int | None = None
        self._now_ns: int | None = None

    def push(self, camera: str, stamp_ns: int, image: Any) -> None:
        """Adds a frame; it is handed through untouched, so it may be a message not yet converted.

        Frames may come out of order; a second frame with the same stamp replaces the first.

        Raises:
            ParameterError: a camera that was not named.
        """
        if camera not in self._stamps:
            raise ParameterError(f"camera: expected one of {', '.join(self.cameras)}, got {camera!r}")
        stamps, images = self._stamps[camera], self._images[camera]
        if stamps and stamp_ns < self._useless_ns(stamps[-1]):
            self._drop_frames()
        at = bisect.bisect_left(stamps, stamp_ns)
        if at < len(stamps) and stamps[at] == stamp_ns:
            images[at] = image
            return
        stamps.insert(at, stamp_ns)
        images.insert(at, image)
        useless = bisect.bisect_left(stamps, self._useless_ns(stamps[-1]))
        useless = max(useless, len(stamps) - CAPACITY)
        del stamps[:useless], images[:useless]

    def take(self, now_ns: int) -> Observation | FrameRefusal:
        """The newest set not yet taken, or why there is none.

        Args:
            now_ns: the clock that stamps the frames, now [ns].

        Returns:
            An `Observation` stamped as its newest frame, with every camera's frame; its oldest frame
            is at most `max_age_ns` old.
        """
        self._see_clock(now_ns)
        latest_ns = now_ns + self.tolerance_ns
        newest = {}
        for camera in self.cameras:
            refusal = self._unusable(camera, latest_ns, now_ns)
            if refusal is not None:
                return refusal
            newest[camera] = self._newest(camera, latest_ns)
        oldest_camera = min(newest, key=newest.__getitem__)
        age_ns = now_ns - newest[oldest_camera]
        if age_ns > self.max_age_ns:
            return self._refusal("stale", oldest_camera, age_ns, self.max_age_ns)
        frames = self._newest_set(latest_ns)
        if frames is not None and self._is_new(max(frames.values())) and self._is_fresh(frames, now_ns):
            self._taken_ns = max(frames.values())
            return Observation(
                self._taken_ns, {name: self._image(name, frames[name]) for name in self.cameras}
            )
        if self._is_new(max(newest.values())):
            apart_ns = max(newest.values()) - newest[oldest_camera]
            return self._refusal("unpaired", oldest_camera, apart_ns, self.tolerance_ns)
        return self._refusal("repeated", oldest_camera, age_ns, self.max_age_ns)

    def spacing_ns(self) -> int | None:
        """Time between two frames of the fastest camera, the median of those that are kept, by their stamps
        [ns]; None before there are two of each camera."""
        if any(len(stamps) < 2 for stamps in self._stamps.values()):
            return None
        apart = ([later - stamp for stamp, later in itertools.pairwise(s)] for s in self._stamps.values())
        return min(statistics.median_low(spacings) for spacings in apart)

    def _useless_ns(self, newest_ns: int) -> int:
        """What is older is too old for any set, as the newest is ahead of now by the tolerance at most."""
        return newest_ns - self.max_age_ns - self.tolerance_ns

    def _see_clock(self, now_ns: int) -> None:
        """Drops what a clock that went back has made meaningless: frames and sets of its future."""
        if self._now_ns is not None and now_ns < self._now_ns:
            latest_ns = now_ns + self.tolerance_ns
            for camera in self.cameras:
                kept = bisect.bisect_right(self._stamps[camera], latest_ns)
                del self._stamps[camera][kept:], self._images[camera][kept:]
            if self._taken_ns is not None and self._taken_ns > latest_ns:
                self._taken_ns = None
        self._now_ns = now_ns

    def _drop_frames(self) -> None:
        for camera in self.cameras:
            self._stamps[camera].clear()
            self._images[camera].clear()

    def _newest(self, camera: str, latest_ns: int) -> int | None:
        """Stamp of a camera's newest frame that is not later than `latest_ns`."""
        stamps = self._stamps[camera]
        at = bisect.bisect_right(stamps, latest_ns)
        return stamps[at - 1] if at else None

    def _newest_set(self, latest_ns: int) -> dict[str, int] | None:
        """Stamps of the set whose newest frame is newest, whatever its age.

        Whichever frame is the newest of a set, the best partners are the newest frames before it.
        """
        candidates = {stamp for stamps in self._stamps.values() for stamp in stamps if stamp <= latest_ns}
        for last_ns in sorted(candidates, reverse=True):
            frames = {camera: self._newest(camera, last_ns) for camera in self.cameras}
            if all(stamp is not None and last_ns - stamp <= self.tolerance_ns for stamp in frames.values()):
                return frames
        return None

    def _is_new(self, stamp_ns: int) -> bool:
        return self._taken_ns is None or stamp_ns > self._taken_ns

    def _is_fresh(self, frames: dict[str, int], now_ns: int) -> bool:
        return now_ns - min(frames.values()) <= self.max_age_ns

    def _image(self, camera: str, stamp_ns: int) -> Any:
        return self._images[camera][bisect.bisect_left(self._stamps[camera], stamp_ns)]

    def _unusable(self, camera: str, latest_ns: int, now_ns: int) -> FrameRefusal | None:
        stamps = self._stamps[camera]
        if not stamps:
            return FrameRefusal("missing", camera, math.inf, self.max_age_ns / NANOSECONDS)
        if stamps[0] > latest_ns:
            return self._refusal("future", camera, stamps[0] - now_ns, self.tolerance_ns)
        return None

    @staticmethod
    def _refusal(reason: str, camera: str, value_ns: int, bound_ns: int) -> FrameRefusal:
        return FrameRefusal(reason, camera, value_ns / NANOSECONDS, bound_ns / NANOSECONDS)
