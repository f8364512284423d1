"""What a run of training is told."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

from octo_ros.errors import ParameterError
from octo_ros.train.batches import SampleOptions
from octo_ros.train.optimiser import FREEZES
from octo_ros.train.schedule import SCHEDULES


@dataclass(frozen=True)
class TrainOptions:
    """The defaults are the official fine-tuning's, but for `steps`, `batch` and `warmup`.

    Attributes:
        steps: of the whole run.
        batch: samples a step.
        peak: learning rate after the warmup.
        warmup: its steps; None for a tenth of the run, 2000 at most.
        schedule: one of `octo_ros.train.schedule.SCHEDULES`.
        weight_decay: on kernels alone.
        clip: largest norm of all gradients together; the official norm.
        ema: share of the averaged weights that a step keeps, 0 for none.
        freeze: one of `octo_ros.train.optimiser.FREEZES`.
        frozen_keys: more official names to freeze, as patterns such as "octo_transformer.obs_*".
        bfloat16: whether layers multiply in bfloat16.
        seed: of every random choice.
        samples: how samples are made.
        device: "cpu", "cuda" or "cuda:N".
        workers: threads that prepare batches, 0 for none.
        save_every, validate_every, log_every: steps between them; None for a tenth of the run.
        validation: samples looked at, at most.
    """

    steps: int = 1000
    batch: int = 16
    peak: float = 3e-4
    warmup: int | None = None
    schedule: str = "cosine"
    weight_decay: float = 0.01
    clip: float = 1.0
    ema: float = 0.0
    freeze: str = "none"
    frozen_keys: tuple[str, ...] = ()
    bfloat16: bool = False
    seed: int = 0
    samples: SampleOptions = field(default_factory=SampleOptions)
    device: str = "cpu"
    workers: int = 2
    save_every: int | None = None
    validate_every: int | None = None
    log_every: int = 10
    validation: int = 64

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "save_every", "validate_every", "log_every", "validation"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ParameterError(f"{name}: expected at least 1, got {value}")
        for name in ("workers", "warmup", "weight_decay", "seed"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ParameterError(f"{name}: expected at least 0, got {value}")
        for name in ("peak", "clip"):
            if not getattr(self, name) > 0:
                raise ParameterError(f"{name}: expected a positive number, got {getattr(self, name)}")
        if not 0 <= self.ema < 1:
            raise ParameterError(f"ema: expected a number from 0 to below 1, got {self.ema}")
        if self.freeze not in FREEZES:
            raise ParameterError(f"freeze: expected one of {', '.join(FREEZES)}, got {self.freeze!r}")
        if self.schedule not in SCHEDULES:
            raise ParameterError(f"schedule: expected one of {', '.join(SCHEDULES)}, got {self.schedule!r}")

    @property
    def warmup_steps(self) -> int:
        """Steps of the warmup."""
        return min(self.steps // 10, 2000) if self.warmup is None else self.warmup

    def every(self, steps: int | None) -> int:
        """Steps between two of something."""
        return max(self.steps // 10, 1) if steps is None else steps

    def signature(self) -> dict[str, Any]:
        """What must be the same when a run goes on: all that its numbers depend on."""
        body = dataclasses.asdict(self)
        for name in ("device", "workers", "save_every", "validate_every", "log_every", "validation"):
            del body[name]
        return json.loads(json.dumps(body))
