"""The parts of the nodes that need no ROS graph: the worker, windows, follower, parameters and messages."""

from __future__ import annotations

import gc
import platform
import subprocess
import sys
import threading
import time
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octo_ros.errors import ParameterError
from octo_ros.nodes import memory
from octo_ros.nodes.inference_worker import InferenceWorker, Outcome
from octo_ros.policy.latency import DurationWindow, RateWindow
from octo_ros.sim.joint_follower import JointFollower

SECOND = 1_000_000_000


@pytest.fixture
def outcomes():
    return []


@pytest.fixture
def worker(outcomes):
    worker = InferenceWorker(outcomes.append)
    yield worker
    worker.close()


def wait_for(condition, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.002)


def test_a_busy_worker_refuses_a_second_job(worker, outcomes):
    release = threading.Event()
    assert worker.submit("act", lambda: release.wait(5.0), tag=1)
    assert worker.busy
    assert not worker.submit("act", lambda: "never", tag=2)
    release.set()
    wait_for(lambda: not worker.busy)
    assert worker.submit("act", lambda: "second", tag=3)
    wait_for(lambda: len(outcomes) == 2)
    assert [(outcome.tag, outcome.value) for outcome in outcomes] == [(1, True), (3, "second")]


def test_orders_run_before_the_next_job_and_the_newest_of_a_name_wins(worker, outcomes):
    release, ran = threading.Event(), []
    worker.submit("act", lambda: release.wait(5.0))
    worker.order("task", lambda: ran.append("old task"))
    worker.order("reset", lambda: ran.append("reset"))
    worker.order("task", lambda: ran.append("new task"))
    assert not worker.submit("act", lambda: ran.append("job"))
    release.set()
    wait_for(lambda: len(outcomes) == 3)
    assert ran == ["reset", "new task"]


def test_an_exception_is_an_outcome_and_the_thread_lives_on(worker, outcomes):
    def fail():
        raise ValueError("broken")

    worker.submit("act", fail)
    wait_for(lambda: len(outcomes) == 1)
    assert isinstance(outcomes[0].error, ValueError)
    assert outcomes[0].value is None
    worker.submit("act", lambda: 7)
    wait_for(lambda: len(outcomes) == 2)
    assert outcomes[1] == Outcome("act", None, 7, None, outcomes[1].seconds)


def test_a_closed_worker_takes_and_reports_nothing(outcomes):
    worker = InferenceWorker(outcomes.append)
    release = threading.Event()
    worker.submit("act", lambda: release.wait(5.0))
    threading.Timer(0.05, release.set).start()
    assert worker.close(timeout_s=5.0)
    assert not worker.submit("act", lambda: 1)
    assert outcomes == []


def test_work_ahead_follows_an_outcome_and_keeps_no_job_waiting(outcomes):
    release, began, order = threading.Event(), threading.Event(), []

    def prepare():
        order.append(f"prepared after {len(outcomes)}")
        began.set()
        assert release.wait(5.0)

    worker = InferenceWorker(outcomes.append, prepare)
    assert worker.submit("act", lambda: order.append("first"), tag=1)
    assert began.wait(5.0)
    assert [outcome.tag for outcome in outcomes] == [1]  # the action is out before
    assert not worker.busy
    assert worker.submit("act", lambda: order.append("second"), tag=2)  # taken, not dropped
    assert worker.busy
    release.set()
    wait_for(lambda: len(order) == 4)
    assert order == ["first", "prepared after 1", "second", "prepared after 2"]
    worker.close()
    assert [outcome.name for outcome in outcomes] == ["act", "act"]


def test_nothing_is_computed_ahead_while_work_waits(outcomes):
    release, prepared = threading.Event(), []
    worker = InferenceWorker(outcomes.append, lambda: prepared.append(len(outcomes)))
    worker.submit("act", lambda: release.wait(5.0))
    worker.order("task", lambda: None)
    release.set()
    wait_for(lambda: prepared)
    worker.close()
    assert prepared == [2]


def test_an_error_of_work_ahead_is_an_outcome(outcomes):
    def prepare():
        raise ValueError("broken")

    worker = InferenceWorker(outcomes.append, prepare)
    worker.submit("act", lambda: 1)
    wait_for(lambda: len(outcomes) == 2)
    worker.close()
    assert (outcomes[1].name, str(outcomes[1].error)) == ("prepare", "broken")


@given(
    st.lists(st.floats(-3.0, 3.0), min_size=3, max_size=3),
    st.lists(st.tuples(st.floats(-10.0, 10.0), st.floats(-0.1, 0.5)), max_size=20),
)
@settings(max_examples=60, deadline=None)
def test_the_follower_keeps_its_speed_limits_and_never_overshoots(start, commands):
    limits = np.array([0.5, 1.0, 2.0])
    follower = JointFollower(np.array(start), limits)
    for target, dt in commands:
        assert follower.follow(np.full(3, target))
        before = follower.positions.copy()
        follower.advance(dt)
        moved = follower.positions - before
        assert (np.abs(moved) <= limits * max(dt, 0.0) + 1e-12).all()
        assert (np.abs(target - follower.positions) <= np.abs(target - before) + 1e-12).all()


def test_the_follower_arrives_and_ignores_a_malformed_target():
    follower = JointFollower(np.zeros(2), np.ones(2))
    follower.follow(np.array([0.1, -0.1]))
    assert not follower.follow(np.array([np.nan, 0.0]))
    assert not follower.follow(np.zeros(3))
    for _ in range(100):
        follower.advance(0.01)
    np.testing.assert_allclose(follower.positions, [0.1, -0.1], atol=1e-6)


@pytest.mark.parametrize("limits", [[1.0, 0.0], [1.0, np.inf], [1.0], [1.0, np.nan]])
def test_the_follower_refuses_unusable_limits(limits):
    with pytest.raises(ParameterError, match="joint follower"):
        JointFollower(np.zeros(2), np.array(limits))


def test_the_rate_is_that_of_the_events_and_falls_when_they_end():
    window = RateWindow(span_s=5.0)
    for i in range(50):
        window.add(i * SECOND // 10)
    last = 49 * SECOND // 10
    assert window.rate(last) == pytest.approx(10.0)
    assert window.rate(last + SECOND) < 9.0
    assert window.rate(last + 10 * SECOND) == 0.0


def test_a_clock_that_jumps_back_starts_the_rate_anew():
    window = RateWindow()
    for stamp in (10 * SECOND, 11 * SECOND, 1 * SECOND, 2 * SECOND):
        window.add(stamp)
    assert window.rate(2 * SECOND) == pytest.approx(1.0)


@given(st.lists(st.floats(0.0, 10.0), min_size=1, max_size=50))
@settings(max_examples=60, deadline=None)
def test_percentiles_are_ordered_and_within_the_values(durations):
    window = DurationWindow(size=30)
    for duration in durations:
        window.add(duration)
    result = window.percentiles()
    kept = durations[-30:]
    assert result.count == len(kept)
    assert min(kept) - 1e-12 <= result.p50 <= result.p95 + 1e-12
    assert result.p95 <= result.maximum == max(kept)


def test_what_is_asked_for_ahead_runs_when_idle_and_a_job_drops_the_rest(worker, outcomes):
    done, go = [], threading.Event()
    worker.ahead(lambda: (done.append("first"), go.wait(5.0)))
    wait_for(lambda: done)
    worker.ahead(lambda: done.append("second"))
    assert worker.submit("act", lambda: done.append("job"))
    go.set()
    wait_for(lambda: outcomes)
    assert worker.close() and worker.closed
    assert done == ["first", "job"]
    assert [outcome.name for outcome in outcomes] == ["act"]  # of what is ahead only an error is told


def test_an_error_of_what_is_ahead_is_told(worker, outcomes):
    worker.ahead(lambda: 1 / 0)
    wait_for(lambda: outcomes)
    assert outcomes[0].name == "ahead" and isinstance(outcomes[0].error, ZeroDivisionError)


def test_what_is_kept_out_of_collection_is_looked_at_by_the_next_call():
    class Loop:
        pass

    loop = Loop()
    loop.itself = loop
    gone = weakref.ref(loop)
    try:
        memory.keep_out_of_collection()
        del loop
        gc.collect()
        assert gc.get_freeze_count() > 0 and gone() is not None
        memory.keep_out_of_collection()
        assert gone() is None
    finally:
        gc.unfreeze()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt's numbers are glibc's")
def test_glibc_takes_every_size_of_memory_to_keep():
    code = "from octo_ros.nodes.memory import keep_freed_memory; assert keep_freed_memory()"
    subprocess.run([sys.executable, "-c", code], check=True)
