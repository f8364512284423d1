"""How PyTorch's exporter is run: silently, and without work of which nothing is left in a graph."""

from __future__ import annotations

import contextlib
import functools
import gc
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch.fx


@contextlib.contextmanager
def exporter() -> Iterator[None]:
    """For one graph: it comes out the same to the byte, in less time."""
    with _without_stack_traces(), _registry_kept(), _garbage_left(), _silence():
        yield


@contextlib.contextmanager
def _without_stack_traces() -> Iterator[None]:
    """Nodes do not note the lines of Python that made them, where PyTorch has the setting."""
    config = getattr(torch.fx, "config", None)
    before = getattr(config, "do_not_emit_stack_traces", None)
    if before is None:
        yield
        return
    config.do_not_emit_stack_traces = True
    try:
        yield
    finally:
        config.do_not_emit_stack_traces = before


@contextlib.contextmanager
def _registry_kept() -> Iterator[None]:
    """The table of operators is made once a process; PyTorch makes it for each graph, out of their source.

    It has no setting for that; a version that makes the table elsewhere goes on as it does.
    """
    try:
        from torch.onnx._internal.exporter._registration import ONNXRegistry as registry
    except ImportError:
        registry = None
    before = vars(registry).get("from_torchlib") if registry is not None else None
    if not isinstance(before, classmethod):
        yield
        return
    registry.from_torchlib = staticmethod(functools.partial(_made_once, registry.from_torchlib))
    try:
        yield
    finally:
        registry.from_torchlib = before


@functools.cache
def _made_once(make: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return make(*args, **kwargs)


@contextlib.contextmanager
def _garbage_left() -> Iterator[None]:
    """No search for garbage among the many objects of a trace, which nearly all stay until its end."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keeps the exporter's progress and its remarks on other packages off the user's screen."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
