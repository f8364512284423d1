"""The state of a run on the disk, whole at any moment, and going on from it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from octo_ros.errors import CheckpointError, ParameterError
from octo_ros.model.octo import Octo
from octo_ros.train.optimiser import Average

FILE = "state.pt"


@dataclass(frozen=True)
class RunState:
    """What a run consists of between two steps. Random numbers are no part of it: they depend on the seed
    and the step alone.

    Attributes:
        step: steps done.
        model: being trained.
        optimiser: with its moments.
        average: averaged weights, or None.
    """

    step: int
    model: Octo
    optimiser: torch.optim.Optimizer
    average: Average | None


def write_state(folder: Path, state: RunState, signature: Mapping[str, Any]) -> None:
    """Replaces the state in a folder, in one move.

    Args:
        folder: an existing one.
        state: of the run.
        signature: what must be the same when it goes on.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    body: dict[str, Any] = {
        "step": state.step,
        "model": state.model.state_dict(),
        "optimiser": state.optimiser.state_dict(),
        "average": None if state.average is None else state.average.values,
        "signature": json.dumps(signature),
    }
    partial = folder / f".{FILE}.{os.getpid()}.partial"
    try:
        with partial.open("wb") as file:
            torch.save(body, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, folder / FILE)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise CheckpointError(f"{folder / FILE}: cannot be written: {error}") from error


def read_state(folder: Path, state: RunState, signature: Mapping[str, Any]) -> int:
    """Fills a run that was just begun with the state on the disk.

    Args:
        folder: where it lies.
        state: of the new run; model, optimiser and average are filled in place.
        signature: of the new run.

    Returns:
        Steps done.

    Raises:
        CheckpointError: no state, or one that cannot be read.
        ParameterError: another run's; the message names what differs.
    """
    path = folder / FILE
    if not path.is_file():
        raise CheckpointError(f"{path}: missing; there is no run to resume")
    try:
        body = torch.load(path, map_location="cpu", weights_only=True)
        before = json.loads(body["signature"])
    except Exception as error:  # torch raises several kinds for malformed files
        raise CheckpointError(f"{path}: not the state of a run: {error}") from error
    differing = _differences(before, json.loads(json.dumps(signature)))
    if differing:
        raise ParameterError(
            f"{path}: the run was begun otherwise and cannot be resumed so: {'; '.join(differing)}"
        )
    state.model.load_state_dict(body["model"], strict=True)
    state.optimiser.load_state_dict(body["optimiser"])
    if state.average is not None:
        device = next(state.model.parameters()).device
        averages: Mapping[str, Tensor] = body["average"]
        state.average.values = {name: tensor.to(device) for name, tensor in averages.items()}
    return int(body["step"])


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    found = []
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            found.append(f"{prefix}{key} was {old!r:.60}, is {new!r:.60}")
    return found
