"""One set of frames a period: at the tick, or as soon as it comes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octo_ros.policy.frames import FrameSync
from octo_ros.policy.pacing import FollowingPacer, Pacer

MS = 1_000_000
PERIOD = 100 * MS
START = 1_000_000 * MS


def pacer() -> tuple[FrameSync, Pacer]:
    frames = FrameSync(["primary"])
    return frames, Pacer(frames)


def test_frames_that_are_there_are_taken_at_the_tick():
    frames, pace = pacer()
    frames.push("primary", START, "frame")
    taken, refusal = pace.tick(START + 20 * MS)
    assert taken.images == {"primary": "frame"} and refusal is None


def test_a_frame_that_comes_after_the_tick_is_taken_as_it_comes_and_only_one_a_period():
    frames, pace = pacer()
    assert pace.tick(START) == (None, None)
    frames.push("primary", START + 5 * MS, "first")
    assert pace.arrived(START + 6 * MS).images == {"primary": "first"}
    frames.push("primary", START + 40 * MS, "second")
    assert pace.arrived(START + 41 * MS) is None
    taken, refusal = pace.tick(START + PERIOD)
    assert taken.images == {"primary": "second"} and refusal is None


def test_a_period_without_frames_says_why_when_it_is_over():
    frames, pace = pacer()
    assert pace.tick(START) == (None, None)
    assert pace.tick(START + PERIOD)[1].reason == "missing"
    frames.push("primary", START + PERIOD, "frame")
    assert pace.arrived(START + PERIOD + 300 * MS) is None
    assert pace.tick(START + PERIOD + 300 * MS)[1].reason == "stale"


def test_a_skipped_period_takes_nothing():
    frames, pace = pacer()
    pace.tick(START)
    pace.skip()
    frames.push("primary", START + 5 * MS, "frame")
    assert pace.arrived(START + 6 * MS) is None


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    period_ms=st.integers(100, 250),
    phase_ms=st.integers(0, 99),
    jitter=st.lists(st.integers(0, 30), min_size=30, max_size=30),
)
def test_a_camera_no_faster_than_the_ticks_has_every_frame_used_within_a_period(period_ms, phase_ms, jitter):
    """Whatever its phase: a timer alone would let frames slip by when both run at about one rate."""
    frames, pace = pacer()
    stamps = [START + (phase_ms + i * period_ms) * MS for i in range(len(jitter))]
    events = [(stamp + late * MS, 0, stamp) for stamp, late in zip(stamps, jitter, strict=True)]
    events += [(START + i * PERIOD, 1, 0) for i in range(1 + events[-1][0] // PERIOD - START // PERIOD)]
    taken, delays = [], []
    for now_ns, is_tick, stamp in sorted(events):
        if not is_tick:
            frames.push("primary", stamp, stamp)
        found = pace.tick(now_ns)[0] if is_tick else pace.arrived(now_ns)
        if found is not None:
            taken.append(found.stamp_ns)
            delays.append(now_ns - found.stamp_ns)
    assert taken == sorted(set(taken))
    assert max(delays) <= PERIOD + 30 * MS
    # At most one frame is passed over where two fall into one period, and only by jitter.
    gaps = np.diff(taken) / MS
    assert np.max(gaps) <= 2 * period_ms
    if period_ms >= 130:  # never two frames in one period
        assert taken == stamps[: len(taken)] and len(taken) >= len(stamps) - 1


def followed(spacing_ns: int, phase_ms: int, periods: int) -> tuple[np.ndarray, np.ndarray]:
    """How long the frames that were taken had waited, and the times between ticks [ms].

    A camera's frames come every `spacing_ns`, the first `phase_ms` after the first tick.
    """
    frames = FrameSync(["primary"])
    pace, waited, between = FollowingPacer(frames, PERIOD), [], []
    tick, frame = START, START + phase_ms * MS
    while len(between) < periods:
        if frame < tick:
            frames.push("primary", frame, frame)
            pace.came(frame)
            taken, now = pace.arrived(frame), frame
            frame += spacing_ns
        else:
            taken, now = pace.tick(tick)[0], tick
            between.append(pace.next_ns)
            tick += pace.next_ns
        if taken is not None:
            waited.append(now - taken.images["primary"])
    return np.array(waited) / MS, np.array(between) / MS


@settings(max_examples=200, deadline=None, derandomize=True)
@given(spacing_ms=st.integers(92, 148), phase_ms=st.integers(0, 99))
def test_ticks_move_to_the_frames_of_a_camera_that_is_about_as_fast(spacing_ms, phase_ms):
    waited, between = followed(spacing_ms * MS, phase_ms, 40)
    late_ms = max(2, 100 - spacing_ms)  # a fiftieth of the period, or what the camera gains on it
    assert max(waited[8:]) <= late_ms
    assert min(between) >= 80


@settings(max_examples=200, deadline=None, derandomize=True)
@given(spacing_ms=st.integers(100, 148), phase_ms=st.integers(0, 99))
def test_no_frame_of_a_camera_no_faster_than_the_ticks_is_passed_over(spacing_ms, phase_ms):
    waited, between = followed(spacing_ms * MS, phase_ms, 40)
    passed_ms = sum(between[:-1]) - phase_ms
    assert len(waited) >= passed_ms // spacing_ms


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    count=st.integers(2, 10),
    share=st.floats(0.96, 1.04),
    phase_ms=st.integers(0, 99),
)
def test_ticks_move_to_just_after_frames_of_a_camera_that_is_a_multiple_as_fast(count, share, phase_ms):
    spacing_ns = round(share * PERIOD / count)
    waited, between = followed(spacing_ns, phase_ms, 60)
    assert np.all(waited[6:] <= 6 + abs(1 - share) * 100 + 1e-6)  # what a period gains, above the lag
    assert min(between) >= 80
    assert len(waited) >= 58  # every period has its set
    assert np.mean(between[6:]) == pytest.approx(100, rel=0.05)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(share=st.one_of(st.floats(0.56, 0.85), st.floats(0.36, 0.45)), phase_ms=st.integers(0, 99))
def test_ticks_keep_their_rate_beside_a_camera_of_another(share, phase_ms):
    waited, between = followed(round(share * PERIOD), phase_ms, 40)
    assert set(between) == {100.0}
    assert len(waited) >= 38
