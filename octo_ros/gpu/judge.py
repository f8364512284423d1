"""With what a precision is calibrated, and what measures how far its actions are from float32's."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from octo_ros.engine.backend import Backend
from octo_ros.engine.manifest import Manifest
from octo_ros.engine.onnx import OnnxBackend
from octo_ros.gpu.acceptance import ActionError, action_error
from octo_ros.gpu.calibration import STEPS, Calibration, random_calibration, read_calibration
from octo_ros.policy.normalization import ActionStatistics, action_statistics


@dataclass(frozen=True)
class Recording:
    """With what a precision is calibrated and judged.

    Attributes:
        source: a rosbag2 or an RLDS data set; None for noise, which judges no precision.
        steps, seed, names, instruction: as `read_calibration` takes them.
        dataset: whose statistics scale the actions; None for the bundle's own.
        normalization: how actions were scaled in training.
    """

    source: Path | None = None
    steps: int = STEPS
    seed: int = 0
    names: Mapping[str, str] = field(default_factory=dict)
    instruction: str | None = None
    dataset: str | None = None
    normalization: str = "mean_std"

    def read(self, bundle: Path, manifest: Manifest) -> Calibration:
        """The steps; errors as `read_calibration`."""
        if self.source is None:
            return random_calibration(manifest, steps=self.steps, seed=self.seed)
        return read_calibration(
            self.source, bundle, manifest, steps=self.steps, seed=self.seed, names=self.names or None,
            instruction=self.instruction, dataset=self.dataset,
        )  # fmt: skip


@dataclass(frozen=True)
class Judge:
    """Measures candidates against the float32 bundle on the CPU.

    Attributes:
        bundle, manifest: the float32 bundle.
        calibration: steps that int8 is calibrated with.
        steps: other steps of the same recording, which both are given.
        statistics, normalization: that scale the actions.
    """

    bundle: Path
    manifest: Manifest
    calibration: Calibration
    steps: Calibration
    statistics: ActionStatistics
    normalization: str

    @classmethod
    def of(cls, bundle: Path, manifest: Manifest, recording: Recording) -> Judge:
        """Reads the steps; errors as `read_calibration`, StatisticsError for an unknown data set."""
        statistics = action_statistics(manifest, recording.dataset)
        calibration, steps = recording.read(bundle, manifest).split()
        return cls(bundle, manifest, calibration, steps, statistics, recording.normalization)

    def measure(self, candidate: Backend) -> ActionError:
        """How far the candidate's actions are off; it stays open."""
        with closing(OnnxBackend(self.bundle, self.manifest)) as reference:
            return action_error(reference, candidate, self.steps, self.statistics, self.normalization)
