"""Frames are paired by stamp; what is old, apart, used or of the future is refused, whatever arrives."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octo_ros.errors import ParameterError
from octo_ros.policy.frames import CAPACITY, REASONS, FrameRefusal, FrameSync
from octo_ros.types import Observation

MS = 1_000_000
CAMERAS = ("primary", "wrist")


def sync(cameras: tuple[str, ...] = CAMERAS, tolerance: int = 50, max_age: int = 200) -> FrameSync:
    return FrameSync(cameras, tolerance * MS, max_age * MS)


def push(frames: FrameSync, camera: str, *stamps: int) -> None:
    """Pushes frames whose picture is their own name and stamp [ms]."""
    for stamp in stamps:
        frames.push(camera, stamp * MS, (camera, stamp))


def taken(result: Observation | FrameRefusal) -> dict[str, int]:
    """Stamps [ms] of the frames in a set."""
    assert isinstance(result, Observation), str(result)
    assert all(name == camera for camera, (name, _) in result.images.items())
    assert result.stamp_ns == max(stamp for _, stamp in result.images.values()) * MS
    return {camera: stamp for camera, (_, stamp) in result.images.items()}


def refused(
    result: Observation | FrameRefusal, reason: str, camera: str, value_s: float, bound_s: float
) -> None:
    assert isinstance(result, FrameRefusal), result
    assert (result.reason, result.camera) == (reason, camera)
    assert result.value_s == pytest.approx(value_s)
    assert result.bound_s == pytest.approx(bound_s)


def test_the_newest_complete_set_is_taken() -> None:
    frames = sync()
    push(frames, "primary", 0, 100, 200)
    push(frames, "wrist", 10, 110)
    assert taken(frames.take(205 * MS)) == {"primary": 100, "wrist": 110}


def test_a_camera_without_frames_is_missing() -> None:
    frames = sync()
    refused(frames.take(0), "missing", "primary", math.inf, 0.2)
    push(frames, "primary", 0)
    refused(frames.take(0), "missing", "wrist", math.inf, 0.2)


def test_a_stalled_camera_is_stale_by_its_stamp() -> None:
    frames = sync()
    push(frames, "primary", 0, 300)
    push(frames, "wrist", 0)
    refused(frames.take(301 * MS), "stale", "wrist", 0.301, 0.2)


def test_age_is_allowed_up_to_the_bound_itself() -> None:
    frames = sync(("primary",))
    push(frames, "primary", 0)
    assert taken(frames.take(200 * MS)) == {"primary": 0}
    late = sync(("primary",))
    push(late, "primary", 0)
    refused(late.take(200 * MS + 1), "stale", "primary", 0.200000001, 0.2)


def test_frames_too_far_apart_are_unpaired() -> None:
    frames = sync()
    push(frames, "primary", 160)
    push(frames, "wrist", 100)
    refused(frames.take(165 * MS), "unpaired", "wrist", 0.06, 0.05)


def test_a_set_comes_once() -> None:
    frames = sync(("primary",))
    push(frames, "primary", 0)
    assert taken(frames.take(10 * MS)) == {"primary": 0}
    refused(frames.take(60 * MS), "repeated", "primary", 0.06, 0.2)
    push(frames, "primary", 0)  # sent again
    refused(frames.take(70 * MS), "repeated", "primary", 0.07, 0.2)
    push(frames, "primary", 100)
    assert taken(frames.take(110 * MS)) == {"primary": 100}


def test_a_late_frame_older_than_the_last_set_makes_no_set() -> None:
    frames = sync(("primary",))
    push(frames, "primary", 100)
    frames.take(110 * MS)
    push(frames, "primary", 70)
    refused(frames.take(111 * MS), "repeated", "primary", 0.011, 0.2)


def test_a_slow_cameras_frame_serves_a_fast_one_within_the_tolerance() -> None:
    frames = sync()
    push(frames, "primary", 0)
    push(frames, "wrist", 0)
    assert taken(frames.take(5 * MS)) == {"primary": 0, "wrist": 0}
    push(frames, "primary", 33)
    assert taken(frames.take(40 * MS)) == {"primary": 33, "wrist": 0}
    push(frames, "primary", 66)
    refused(frames.take(70 * MS), "unpaired", "wrist", 0.066, 0.05)


def test_frames_of_the_future_wait_until_it_comes() -> None:
    frames = sync(("primary",))
    push(frames, "primary", 300)
    refused(frames.take(200 * MS), "future", "primary", 0.1, 0.05)
    assert taken(frames.take(260 * MS)) == {"primary": 300}


def test_a_frame_slightly_ahead_of_the_clock_is_used() -> None:
    frames = sync(("primary",))
    push(frames, "primary", 300)
    assert taken(frames.take(250 * MS)) == {"primary": 300}


def test_a_bag_that_loops_starts_over() -> None:
    frames = sync()
    for stamp in (10_000, 10_200, 10_400):
        push(frames, "primary", stamp)
        push(frames, "wrist", stamp)
        assert taken(frames.take((stamp + 1) * MS))["primary"] == stamp
    for stamp in (0, 200, 400):
        push(frames, "primary", stamp)
        push(frames, "wrist", stamp)
        assert taken(frames.take((stamp + 1) * MS)) == {"primary": stamp, "wrist": stamp}


def test_frames_from_before_a_loop_never_come_back() -> None:
    frames = sync(("primary",))
    push(frames, "primary", 1000)
    assert isinstance(frames.take(900 * MS), FrameRefusal)  # still of the future
    assert isinstance(frames.take(100 * MS), FrameRefusal)  # the clock went back
    refused(frames.take(1000 * MS), "missing", "primary", math.inf, 0.2)


def test_one_straggler_does_not_bring_an_old_set_back() -> None:
    frames = sync(("primary",))
    push(frames, "primary", 1000)
    assert taken(frames.take(1001 * MS)) == {"primary": 1000}
    push(frames, "primary", 500)  # empties the buffer, as a loop would
    refused(frames.take(1002 * MS), "stale", "primary", 0.502, 0.2)
    push(frames, "primary", 1000)
    refused(frames.take(1003 * MS), "repeated", "primary", 0.003, 0.2)
    push(frames, "primary", 1100)
    assert taken(frames.take(1101 * MS)) == {"primary": 1100}


def test_a_frame_from_the_far_future_does_not_block_the_camera() -> None:
    frames = sync(("primary",))
    push(frames, "primary", 1_000_000)
    refused(frames.take(100 * MS), "future", "primary", 999.9, 0.05)
    push(frames, "primary", 110)
    assert taken(frames.take(120 * MS)) == {"primary": 110}


def test_clear_forgets_frames_and_sets() -> None:
    frames = sync(("primary",))
    push(frames, "primary", 100)
    frames.take(100 * MS)
    frames.clear()
    refused(frames.take(100 * MS), "missing", "primary", math.inf, 0.2)
    push(frames, "primary", 100)
    assert taken(frames.take(100 * MS)) == {"primary": 100}


def test_frames_are_handed_through_untouched() -> None:
    frames = sync(("primary",))
    message = object()
    frames.push("primary", 0, message)
    assert frames.take(0).images["primary"] is message


def test_the_buffer_is_bounded() -> None:
    frames = sync(("primary", "wrist"), max_age=10_000)
    push(frames, "primary", *range(10 * CAPACITY))
    assert len(frames._images["primary"]) == len(frames._stamps["primary"]) == CAPACITY
    tight = sync(("primary", "wrist"), tolerance=50, max_age=200)
    push(tight, "primary", *range(0, 3000, 50))
    assert len(tight._images["primary"]) == 6  # 2700 .. 2950: older ones cannot be used any more


def test_a_refusal_reads_as_a_sentence() -> None:
    assert str(FrameRefusal("stale", "wrist", 0.301, 0.2)) == "camera wrist: stale: 0.301 s, bound 0.200 s"


@pytest.mark.parametrize("arguments", [((),), (("a", "a"),), (("a",), -1), (("a",), 0, 0)])
def test_values_out_of_range(arguments: tuple) -> None:
    with pytest.raises(ParameterError):
        FrameSync(*arguments)


def test_an_unknown_camera_is_named() -> None:
    with pytest.raises(ParameterError, match=r"primary, wrist.*'overhead'"):
        sync().push("overhead", 0, None)


# A frame arrives late by `delay`, a clock ticks, the clock jumps; stamps and delays in milliseconds.
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("frame"), st.sampled_from(CAMERAS), st.integers(-80, 400)),
        st.tuples(st.just("take"), st.just(""), st.integers(0, 120)),
        st.tuples(st.just("jump"), st.just(""), st.integers(-2000, 2000)),
    ),
    max_size=60,
)


def run(events: list[tuple[str, str, int]], tolerance: int, max_age: int, jumps: bool):
    """Yields (now [ms], result, every frame pushed so far, clock jumps back so far)."""
    frames, now, pushed, back = sync(CAMERAS, tolerance, max_age), 5000, {c: [] for c in CAMERAS}, 0
    for kind, camera, value in events:
        if kind == "frame":
            push(frames, camera, now - value)
            pushed[camera].append(now - value)
        elif kind == "take":
            now += value
            yield now, frames.take(now * MS), pushed, back
        elif jumps:
            now += value
            back += value < 0


@settings(max_examples=300, deadline=None, derandomize=True)
@given(EVENTS, st.integers(0, 120), st.integers(1, 300), st.booleans())
def test_no_set_is_old_or_apart_or_of_the_future(
    events: list, tolerance: int, max_age: int, jumps: bool
) -> None:
    for now, result, _, _ in run(events, tolerance, max_age, jumps):
        if isinstance(result, Observation):
            stamps = taken(result).values()
            assert now - min(stamps) <= max_age
            assert max(stamps) - now <= tolerance
            assert max(stamps) - min(stamps) <= tolerance
        else:
            assert result.reason in REASONS
            assert result.camera in CAMERAS
            if result.reason in ("missing", "future", "stale", "unpaired"):
                assert result.value_s > result.bound_s or math.isclose(result.value_s, result.bound_s)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(EVENTS, st.integers(0, 120), st.integers(1, 300), st.booleans())
def test_stamps_rise_while_the_clock_does(events: list, tolerance: int, max_age: int, jumps: bool) -> None:
    last: dict[int, int] = {}
    for _, result, _, back in run(events, tolerance, max_age, jumps):
        if isinstance(result, Observation):
            assert result.stamp_ns > last.get(back, -(10**18))
            last[back] = result.stamp_ns


@settings(max_examples=300, deadline=None, derandomize=True)
@given(EVENTS, st.integers(0, 120), st.integers(1, 300))
def test_a_usable_set_is_never_missed(events: list, tolerance: int, max_age: int) -> None:
    """Against every pair there is, while no frame is of the future or as late as after a loop."""
    last = -(10**9)
    timely = [
        (kind, camera, min(max(value, -tolerance), max_age) if kind == "frame" else value)
        for kind, camera, value in events
    ]
    for now, result, pushed, _ in run(timely, tolerance, max_age, jumps=False):
        usable = [
            max(a, b)
            for a in pushed["primary"]
            for b in pushed["wrist"]
            if abs(a - b) <= tolerance and min(a, b) >= now - max_age and max(a, b) > last
        ]
        assert isinstance(result, Observation) == bool(usable), str(result)
        if usable:
            last = max(taken(result).values())
            assert last == max(usable)
