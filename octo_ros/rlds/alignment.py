"""Puts the streams of a recording on one line of time, and refuses what does not fit it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from octo_ros.rlds.series import PPM, Series
from octo_ros.rlds.windows import Window
from octo_ros.types import NANOSECONDS


class Misfit(Exception):
    """Why a window is no episode."""


def time_line(window: Window, streams: Sequence[Series], rate_hz: float) -> np.ndarray:
    """(T + 1,) int64 evenly spaced instants of a window [ns], for T steps and the pose after the last.

    Markers say where an episode begins and ends. A window between two instructions is cut to where
    every stream has messages, since cameras may start late and stop in the pause between tasks.

    Raises:
        Misfit: a stream without messages in it, or too short for one step.
    """
    start_ns, end_ns = window.start_ns, window.end_ns
    for stream in streams:
        inside = stream.within(start_ns, end_ns)
        if not len(inside):
            raise Misfit(f"{stream.name}: no message in its {(end_ns - start_ns) / NANOSECONDS:.2f} s")
    if not window.marked:
        firsts = [stream.times_ns[stream.within(start_ns, end_ns)[0]] for stream in streams]
        lasts = [stream.times_ns[stream.within(start_ns, end_ns)[-1]] for stream in streams]
        start_ns, end_ns = int(max(firsts)), int(min(lasts))
    period_ns = NANOSECONDS / rate_hz
    instants = int((end_ns - start_ns) // period_ns) + 1
    if instants < 2:
        length_s = (end_ns - start_ns) / NANOSECONDS
        raise Misfit(f"too short: {length_s:.2f} s, which is less than one step of {1.0 / rate_hz:g} s")
    return start_ns + np.rint(np.arange(instants) * period_ns).astype(np.int64)


def aligned(
    streams: Sequence[Series], times_ns: np.ndarray, bound_s: float
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Index of each stream's message nearest to each instant (T,), and each stream's largest distance [s].

    Raises:
        Misfit: a message further away than `bound_s`; says of which stream, at which step, and how far.
    """
    indices, worst = {}, {}
    for stream in streams:
        if not len(stream.times_ns):
            raise Misfit(f"{stream.name}: no message that can be read")
        index, off_s = stream.nearest(times_ns)
        step = int(np.argmax(off_s))
        if off_s[step] > bound_s:
            raise Misfit(
                f"{stream.name}: at step {step} the nearest message is {off_s[step]:.3f} s away, "
                f"bound {bound_s:g} s"
            )
        indices[stream.name], worst[stream.name] = index, float(off_s[step])
    return indices, worst


def check_drift(streams: Sequence[Series], times_ns: np.ndarray, bound_s: float) -> None:
    """Refuses a window in which a stream's clock has drifted by more than the bound since the start.

    Raises:
        Misfit: says of which stream, how fast and how far.
    """
    for stream in streams:
        drift = stream.drift()
        if drift is None:
            continue
        elapsed_s = float(times_ns[-1] - stream.times_ns[0]) / NANOSECONDS
        off_s = abs(drift.ppm) / PPM * elapsed_s
        if off_s > bound_s:
            raise Misfit(
                f"{stream.name}: its clock drifts by {drift.ppm:+.0f} ppm against the recorder's, "
                f"{off_s:.3f} s by then, bound {bound_s:g} s"
            )


def check_finite(values: Mapping[str, np.ndarray]) -> None:
    """Misfit where a stream's values (T, n) hold one that is not finite; says at which step."""
    for name, rows in values.items():
        finite = np.isfinite(rows).all(axis=1)
        if not finite.all():
            step = int(np.argmin(finite))
            raise Misfit(f"{name}: not finite at step {step}: {rows[step].tolist()}")
