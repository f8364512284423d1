"""The loop: batch, loss, step; now and then a look at the actions and a checkpoint."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from octo_ros.errors import ParameterError
from octo_ros.export.save import official_parameters, write_weights
from octo_ros.policy.normalization import Statistics
from octo_ros.train.batches import Batches, in_order
from octo_ros.train.device import find_device, moved, tensor
from octo_ros.train.distill import Teacher
from octo_ros.train.episodes import TrainingDataError
from octo_ros.train.objective import Objective
from octo_ros.train.optimiser import FREEZES, Average, frozen_parameters, make_optimiser, official_keys
from octo_ros.train.options import TrainOptions
from octo_ros.train.precision import use_bfloat16
from octo_ros.train.record import Record, draw_curves
from octo_ros.train.schedule import learning_rate
from octo_ros.train.start import Start
from octo_ros.train.state import RunState, read_state, write_state
from octo_ros.train.validate import ActionErrors, action_errors

Progress = Callable[[str, int, int], None]

TRAINING = "training"
"""Folder beside the checkpoint for the run's own files."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """What came of a run.

    Attributes:
        step: steps done.
        loss: of the last step told.
        errors: of the model's actions at the end.
    """

    step: int
    loss: float
    errors: ActionErrors


class Run:
    """One run of training, in a folder that holds its checkpoint.

    Args:
        start: the model.
        batches: to train on.
        validation: to look at.
        statistics: of the actions.
        options: of the run.
        folder: with the checkpoint's metadata and a folder `TRAINING`.
        facts: more of what must be the same when the run goes on.
        teacher: to learn from instead of from the data, or None.

    Raises:
        ParameterError: options that do not fit the model or the machine.
    """

    def __init__(
        self,
        start: Start,
        batches: Batches,
        validation: Batches,
        statistics: Statistics,
        options: TrainOptions,
        folder: Path,
        facts: Mapping[str, Any],
        teacher: Teacher | None = None,
    ):
        self._start, self.batches, self._validation = start, batches, validation
        self._statistics, self._options, self._folder = statistics, options, folder
        self._device, self._teacher = find_device(options.device), teacher
        self._signature = {**options.signature(), **facts}
        model = start.model.to(self._device)
        self.objective = Objective(model, start.config).to(self._device)
        self.frozen = self._freeze()
        if options.bfloat16:
            use_bfloat16(model)
        dropout = start.config.transformer
        if dropout.dropout_rate or dropout.attention_dropout_rate:
            _log.warning("config.json asks for dropout; training here has none")
        self._optimiser = make_optimiser(model, start.config, self.frozen, options.weight_decay)
        self._own = dict(model.named_parameters())
        self._average = Average(self._own, options.ema) if options.ema else None

    def resume(self) -> int:
        """Takes up the state on the disk; steps done.

        Raises:
            CheckpointError: there is none.
            ParameterError: it is another run's.
        """
        return read_state(self._training, self._state(0), self._signature)

    def train(self, done: int = 0, progress: Progress | None = None) -> Trained:
        """Trains to the end.

        Args:
            done: steps that were done before, as `resume` gave them.
            progress: called as (what, steps done, steps) after every step.

        Raises:
            TrainingDataError: a loss that is not finite.
        """
        options = self._options
        record = Record(self._training, done)
        loss, errors, began = math.nan, None, time.monotonic()
        batches = in_order(self.batches, done, options.steps, options.workers)
        for step, batch in enumerate(batches, start=done):
            told = (step + 1) % options.log_every == 0 or step + 1 == options.steps
            value, square, norm, rate = self._step(step, batch)
            if told:
                loss = self._finite(value.item(), step)
                seconds = (time.monotonic() - began) / (step + 1 - done)
                record.tell(
                    step + 1,
                    loss=loss,
                    square=square.item(),
                    gradient=norm.item(),
                    rate=rate,
                    seconds=seconds,
                )
            if progress is not None:
                progress(f"loss {loss:.3g}", step + 1, options.steps)
            last = step + 1 == options.steps
            if last or (step + 1) % options.every(options.validate_every) == 0:
                errors = self._look(record, step + 1)
            if last or (step + 1) % options.every(options.save_every) == 0:
                self._save(step + 1)
        if errors is None:  # resumed at the end
            errors = self._look(record, options.steps)
        draw_curves(self._training)
        return Trained(options.steps, loss, errors)

    def _step(self, step: int, batch: Any) -> tuple[Tensor, Tensor, Tensor, float]:
        options = self._options
        rate = learning_rate(options.schedule, step, options.peak, options.warmup_steps, options.steps)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        rng = self.batches.draws(step)
        draws = moved(self.objective.draw(rng, self.batches.size), self._device)
        inputs = moved(batch.inputs, self._device)
        actions, counted = (tensor(array, self._device) for array in (batch.actions, batch.action_pad_mask))
        with self._device:
            if self._teacher is not None:
                actions, counted = self._teacher.lesson(inputs, actions, rng)
            loss, square = self.objective(inputs, actions, counted, draws)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        trained = [parameter for name, parameter in self._own.items() if name not in self.frozen]
        norm = torch.nn.utils.clip_grad_norm_(trained, options.clip)
        self._optimiser.step()
        if self._average is not None:
            self._average.update(self._own, step)
        return loss.detach(), square.detach(), norm, rate

    def _look(self, record: Record, step: int) -> ActionErrors:
        raw = None
        if self._average is not None:
            raw = {name: value.detach().clone() for name, value in self._own.items()}
            self._fill(self._average.values)
        errors = action_errors(
            self.objective, self._validation, self._statistics, self._options.validation, self._device
        )
        if raw is not None:
            self._fill(raw)
        record.tell(step, errors=dataclasses.asdict(errors))
        return errors

    @torch.no_grad()
    def _fill(self, values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            self._own[name].copy_(value)

    def _save(self, step: int) -> None:
        values = None if self._average is None else self._average.values
        parameters = official_parameters(self._start.model, self._start.config, values)
        write_weights(self._folder, step, parameters)
        write_state(self._training, self._state(step), self._signature)

    def _state(self, step: int) -> RunState:
        return RunState(step, self._start.model, self._optimiser, self._average)

    def _freeze(self) -> set[str]:
        start, options = self._start, self._options
        patterns: Sequence[str] = (*FREEZES[options.freeze], *options.frozen_keys)
        frozen = frozen_parameters(start.model, start.config, patterns)
        keys = official_keys(start.model, start.config)
        new = {name.replace("/", ".") for name in start.new}
        stuck = sorted(keys[name] for name in frozen if keys[name] in new)
        if stuck:
            raise ParameterError(
                f"freeze: {options.freeze}: {len(stuck)} weights are new and would stay random, "
                f"such as {stuck[0]}: freeze less, or keep cameras and sizes as they are"
            )
        return frozen

    def _finite(self, loss: float, step: int) -> float:
        if not math.isfinite(loss):
            raise TrainingDataError(
                f"step {step + 1}: the loss is {loss}: the rate ({self._options.peak:g}) may be too high"
            )
        return loss

    @property
    def _training(self) -> Path:
        return self._folder / TRAINING
