"""Choices a user makes about how the policy acts; every one has a default that the official code has."""

from __future__ import annotations

import math
from dataclasses import dataclass

from octo_ros.errors import ParameterError

NORMALIZATIONS = ("mean_std", "bounds")
"""How actions were scaled in training: to mean 0 and deviation 1, or p01..p99 to [-1, 1]."""

EXECUTIONS = ("ensemble", "receding")
"""What is done with overlapping chunks: a weighted mean of them, or the first actions of each."""


@dataclass(frozen=True)
class ActOptions:
    """How `Policy.act` prepares frames and turns chunks into actions.

    Attributes:
        dataset: data set whose statistics scale actions and proprioception; None takes the
            manifest's default, or the only one.
        normalization: "mean_std" or "bounds", as the checkpoint was trained.
        execution: "ensemble" averages what the last `horizon` chunks say of this step;
            "receding" runs the network every `execute` steps and plays its chunk in between.
        ensemble_weight: 0 is a plain mean; positive values favour older chunks [1/chunk].
        execute: steps played of each chunk, 1 to the horizon; "receding" only.
        center_crop: whether cameras that the manifest crops are cropped to the centre 0.9 of their area.
        gripper_threshold: opening above which the gripper is commanded open, in (0, 1).
        gripper_votes: equal answers in a row that flip the gripper, at least 1.
        temperature: of a head that chooses among discrete values; 0 takes the likeliest.
        seed: makes every run's noise the same; None draws new noise each run.
        history_gap_s: a longer time between frames restarts the history [s].
        mask_language: True lets a bundle without a tokenizer run on goal images or on nothing, with
            the words masked; False makes an instruction to such a bundle an error.
    """

    dataset: str | None = None
    normalization: str = "mean_std"
    execution: str = "ensemble"
    ensemble_weight: float = 0.0
    execute: int = 1
    center_crop: bool = True
    gripper_threshold: float = 0.5
    gripper_votes: int = 1
    temperature: float = 1.0
    seed: int | None = None
    history_gap_s: float = 0.5
    mask_language: bool = False

    def __post_init__(self) -> None:
        """Raises ParameterError for a value outside its range."""
        if self.normalization not in NORMALIZATIONS:
            raise _wrong("normalization", f"one of {', '.join(NORMALIZATIONS)}", self.normalization)
        if self.execution not in EXECUTIONS:
            raise _wrong("execution", f"one of {', '.join(EXECUTIONS)}", self.execution)
        if not math.isfinite(self.ensemble_weight):
            raise _wrong("ensemble_weight", "a finite number", self.ensemble_weight)
        if self.execute < 1:
            raise _wrong("execute", "at least 1 step", self.execute)
        if not 0.0 < self.gripper_threshold < 1.0:
            raise _wrong("gripper_threshold", "a value between 0 and 1", self.gripper_threshold)
        if self.gripper_votes < 1:
            raise _wrong("gripper_votes", "at least 1", self.gripper_votes)
        if not 0.0 <= self.temperature < math.inf:
            raise _wrong("temperature", "a finite number of at least 0", self.temperature)
        if self.seed is not None and self.seed < 0:
            raise _wrong("seed", "at least 0", self.seed)
        if not 0.0 < self.history_gap_s < math.inf:
            raise _wrong("history_gap_s", "a positive, finite time in seconds", self.history_gap_s)


def _wrong(name: str, expected: str, got: object) -> ParameterError:
    return ParameterError(f"{name}: expected {expected}, got {got!r}")
