"""Energy that the machine says it used: a GPU's own counter by NVML, or a Jetson's power sensors by jtop."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

Counter = Callable[[], float]
"""Energy so far, from any start [J]."""


def energy_counter(stack: ExitStack) -> tuple[Counter, str] | None:
    """A counter and what it counts, or None where neither library finds a sensor.

    NVML counts the first GPU of the machine, every process's work. A Jetson's sensors give the power of the
    whole board, so that counter must be read often: power is taken to be what it was at the reading before.

    Args:
        stack: lets go of the library at its end.
    """
    return _nvml(stack) or _jetson(stack)


def _nvml(stack: ExitStack) -> tuple[Counter, str] | None:
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        stack.callback(pynvml.nvmlShutdown)
        gpu = pynvml.nvmlDeviceGetHandleByIndex(0)
        pynvml.nvmlDeviceGetTotalEnergyConsumption(gpu)
    except pynvml.NVMLError:  # no driver, or a GPU without the counter
        return None
    return lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(gpu) / 1e3, "the GPU, by NVML"


def _jetson(stack: ExitStack) -> tuple[Counter, str] | None:
    try:
        import jtop
    except ImportError:
        return None
    try:
        jetson = stack.enter_context(jtop.jtop())
    except jtop.JtopException:  # its service does not run
        return None
    return _Integral(jetson).read, "the board, by jtop"


class _Integral:
    def __init__(self, jetson: Any) -> None:
        self._jetson, self._joules, self._read = jetson, 0.0, time.perf_counter()

    def read(self) -> float:
        now = time.perf_counter()
        self._joules += self._jetson.power["tot"]["power"] / 1e3 * (now - self._read)  # mW
        self._read = now
        return self._joules
