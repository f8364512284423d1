"""One thread that owns the policy: it runs one job at a time and never queues a second one.

The thread that asks for work never waits. Orders (a new task, a reset) are few and must not
be lost: they run before the next job, and a newer order of the same name replaces an older. What can
be computed ahead runs after each of them, when its outcome is out, or while the next job's input is
still coming.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

AHEAD = 8
"""Calls that wait for an idle moment, at most; the oldest give way."""


@dataclass(frozen=True)
class Outcome:
    """How a job or an order ended.

    Attributes:
        name: the job's or order's name.
        tag: what the caller gave with it.
        value: what the call returned, None where it raised.
        error: what the call raised, None where it returned.
        seconds: how long the call took [s].
    """

    name: str
    tag: Any
    value: Any
    error: Exception | None
    seconds: float


@dataclass(frozen=True)
class _Work:
    name: str
    tag: Any
    call: Callable[[], Any]


class InferenceWorker:
    """A thread for one job at a time.

    Args:
        report: called from the worker's thread with each `Outcome`; must not block.
        prepare: called after each reported outcome, if nothing is waiting; None for nothing to do. A job
            that is offered meanwhile is taken and runs next. Only an error of it is reported.
    """

    def __init__(self, report: Callable[[Outcome], None], prepare: Callable[[], None] | None = None) -> None:
        self._report = report
        self._prepare = prepare
        self._orders: dict[str, _Work] = {}
        self._job: _Work | None = None
        self._ahead: deque[_Work] = deque(maxlen=AHEAD)
        self._running = False
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="octo inference", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether a job or an order runs or waits; a job offered now would be refused."""
        with self._changed:
            return self._running or self._job is not None or bool(self._orders)

    def order(self, name: str, call: Callable[[], Any], tag: Any = None) -> None:
        """Runs `call` before the next job, in place of a waiting order of the same name."""
        with self._changed:
            self._orders.pop(name, None)
            self._orders[name] = _Work(name, tag, call)
            self._changed.notify()

    def submit(self, name: str, call: Callable[[], Any], tag: Any = None) -> bool:
        """Runs `call` now; returns False, and does nothing, if the worker is busy or closed."""
        with self._changed:
            if self._closed or self._running or self._job is not None or self._orders:
                return False
            self._job = _Work(name, tag, call)
            self._changed.notify()
            return True

    def ahead(self, call: Callable[[], Any]) -> None:
        """Runs `call` if nothing else is to do, for the next job to find it done; that job drops what has not
        begun. Only an error of it is reported, as "ahead"."""
        with self._changed:
            self._ahead.append(_Work("ahead", None, call))
            self._changed.notify()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def close(self, timeout_s: float = 10.0) -> bool:
        """Ends the thread after the call that runs; False if that takes longer than `timeout_s` [s]."""
        with self._changed:
            self._closed = True
            self._orders.clear()
            self._job = None
            self._ahead.clear()
            self._changed.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (work := self._next()) is not None:
            outcome = _done(work)
            if work.name == "ahead":
                if outcome.error is not None:
                    self._report(outcome)
                continue
            with self._changed:
                self._running = False
                closed = self._closed
            if not closed:
                self._report(outcome)
            if self._prepare is not None and not closed and not self.busy:
                prepared = _done(_Work("prepare", None, self._prepare))
                if prepared.error is not None:
                    self._report(prepared)

    def _next(self) -> _Work | None:
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or self._orders or self._job is not None or self._ahead
            )
            if self._closed:
                return None
            if not self._orders and self._job is None:
                return self._ahead.popleft()
            self._running = True
            if self._orders:
                return self._orders.pop(next(iter(self._orders)))
            self._ahead.clear()
            work, self._job = self._job, None
            return work


def _done(work: _Work) -> Outcome:
    started = time.perf_counter()
    value, error = None, None
    try:
        value = work.call()
    except Exception as raised:  # the owner decides; a thread that died would be silent
        error = raised
    return Outcome(work.name, work.tag, value, error, time.perf_counter() - started)
