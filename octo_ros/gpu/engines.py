"""From a bundle to an engine: graphs in a precision, plans of TensorRT, and the error of their actions.

What is beyond the limits of its error is not left behind.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import onnx

from octo_ros.engine.backend import Backend
from octo_ros.engine.bundle import read_bundle
from octo_ros.engine.graphs import check_graphs
from octo_ros.engine.manifest import Manifest
from octo_ros.engine.onnx import OnnxBackend, import_onnxruntime
from octo_ros.engine.tensorrt import TensorRTBackend
from octo_ros.errors import BundleError, ParameterError
from octo_ros.gpu.acceptance import ActionError, Limits, action_error
from octo_ros.gpu.builder import HERE, OPTIMIZATION_LEVEL, Builder, Progress, check_target
from octo_ros.gpu.cache import (
    ANY,
    ENGINE,
    GRAPHS,
    PLANS,
    Engine,
    EngineKey,
    bundle_digest,
    cache_root,
    engine_folder,
    graphs_digest,
    read_engine,
    timing_cache,
    write_engine,
)
from octo_ros.gpu.calibration import STEPS, Calibration, random_calibration, read_calibration
from octo_ros.gpu.precision import INT8, check_precision
from octo_ros.gpu.rounding import write_rounded
from octo_ros.gpu.typed import write_typed
from octo_ros.policy.normalization import ActionStatistics, action_statistics
from octo_ros.staging import new_folder, temporary_sibling


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
    def of(cls, bundle: Path, recording: Recording) -> Judge:
        """Reads bundle and steps; errors as `read_calibration`, StatisticsError for an unknown data set."""
        manifest = read_bundle(bundle)
        check_graphs(manifest, str(bundle))
        statistics = action_statistics(manifest, recording.dataset)
        calibration, steps = recording.read(bundle, manifest).split()
        return cls(bundle, manifest, calibration, steps, statistics, recording.normalization)

    def measure(self, candidate: Backend) -> ActionError:
        """How far the candidate's actions are off; it stays open."""
        with closing(OnnxBackend(self.bundle, self.manifest)) as reference:
            return action_error(reference, candidate, self.steps, self.statistics, self.normalization)


@dataclass(frozen=True)
class Built:
    """What `build_engine` made or found.

    Attributes:
        folder: of the engine.
        engine: what its `engine.json` says.
        fresh: whether it was built now; False where the very engine was there.
    """

    folder: Path
    engine: Engine
    fresh: bool


def write_graphs(
    bundle: Path,
    precision: str,
    folder: Path,
    recording: Recording,
    limits: Limits,
    progress: Progress | None = None,
) -> Built:
    """Writes the graphs in a precision, for ONNX Runtime's providers, and measures them on the CPU.

    Args:
        bundle: folder of the float32 bundle.
        precision: one of `octo_ros.gpu.precision.PRECISIONS`.
        folder: to write; must not exist or be empty.
        recording: calibrates and judges.
        limits: of the error of the actions.
        progress: called when a stage begins.

    Raises:
        BundleError: a bundle or folder that cannot be used, or actions beyond the limits.
    """
    tell = progress or _silent
    _check_calibrated(precision, recording)
    judge = Judge.of(bundle, recording)
    with new_folder(folder, BundleError) as partial:
        files = write_typed(bundle, judge.manifest, precision, partial, judge.calibration, tell)
        tell("measure on the CPU", 0, 1)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            write_rounded(partial, judge.manifest, Path(scratch))
            with closing(OnnxBackend(Path(scratch), judge.manifest)) as candidate:
                error = judge.measure(candidate)
        error.check(limits)
        key = EngineKey(
            GRAPHS, "", ANY, ANY, precision, ANY, bundle_digest(judge.manifest), graphs_digest(partial)
        )
        engine = _engine(key, files, judge, error)
        write_engine(partial, engine)
    return Built(folder, engine, fresh=True)


def build_engine(
    bundle: Path,
    precision: str,
    recording: Recording,
    limits: Limits,
    target: str = HERE,
    optimization_level: int = OPTIMIZATION_LEVEL,
    progress: Progress | None = None,
) -> Built:
    """Builds the engine of a bundle for this machine's GPU, into the cache.

    Args:
        bundle, precision, recording, limits: as `write_graphs`.
        target: a key of `builder.TARGETS`.
        optimization_level: as `Builder`.
        progress: called in every phase.

    Raises:
        ParameterError: no GPU, no TensorRT, or a target that is not this machine.
        BundleError: what TensorRT cannot build, or actions beyond the limits; an engine that was there stays.
    """
    from octo_ros.gpu.cuda import Cuda
    from octo_ros.gpu.library import import_tensorrt

    tell = progress or _silent
    _check_calibrated(precision, recording)
    tensorrt, gpu = import_tensorrt(), Cuda().gpu()
    check_target(target, gpu)
    judge = Judge.of(bundle, recording)
    root = cache_root()
    key = EngineKey(
        PLANS, tensorrt.__version__, gpu.name, gpu.compute_capability, precision, target,
        bundle_digest(judge.manifest), flags={"optimization_level": optimization_level},
    )  # fmt: skip
    builder = Builder(tensorrt, timing_cache(root, key), optimization_level)
    folder = engine_folder(root, key)
    with temporary_sibling(folder, BundleError) as partial:
        graphs = partial / "graphs"
        graphs.mkdir()
        files = write_typed(bundle, judge.manifest, precision, graphs, judge.calibration, tell)
        key = dataclasses.replace(key, graphs=graphs_digest(graphs))
        there = _same_engine(folder, key)
        if there is not None:
            return Built(folder, there, fresh=False)
        layers = {}
        for name, file in files.items():
            layers[name] = builder.build(graphs / file, partial / f"{name}.plan", _prefixed(name, tell))
        shutil.rmtree(graphs)
        engine = _engine(key, {name: f"{name}.plan" for name in files}, judge, None, layers)
        write_engine(partial, engine)  # for the backend, which refuses a folder without
        tell("measure on the GPU", 0, 1)
        candidate = TensorRTBackend(bundle, judge.manifest, precision=precision, engine=partial)
        with closing(candidate):
            error = judge.measure(candidate)
        error.check(limits)
        engine = dataclasses.replace(engine, checks=error.to_dict())
        write_engine(partial, engine)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(partial, folder)
    return Built(folder, engine, fresh=True)


def _check_calibrated(precision: str, recording: Recording) -> None:
    """Raises ParameterError for an unknown precision, and for int8 without a recording."""
    check_precision(precision)
    if precision == INT8 and recording.source is None:
        raise ParameterError("--precision int8 needs --calibrate: a bag or an RLDS data set of the robot")


def _same_engine(folder: Path, key: EngineKey) -> Engine | None:
    """The engine in a folder, where it is whole and of this key."""
    if not (folder / ENGINE).is_file():
        return None
    try:
        engine = read_engine(folder)
    except BundleError:  # damaged, or of an older octo_ros: it is built again
        return None
    return engine if engine.key == key else None


def _engine(
    key: EngineKey,
    files: Mapping[str, str],
    judge: Judge,
    error: ActionError | None,
    layers: Mapping[str, Mapping[str, int]] | None = None,
) -> Engine:
    versions = {"octo_ros": version("octo_ros"), "onnx": onnx.__version__}
    versions["onnxruntime"] = import_onnxruntime().__version__
    if key.version:
        versions["tensorrt"] = key.version
    steps = f"{len(judge.calibration)} steps of {judge.steps.source}, judged by {len(judge.steps)} others"
    return Engine(
        key=key,
        files=dict(files),
        sizes={},
        checks={} if error is None else error.to_dict(),
        layers=layers or {},
        calibration="; ".join((steps, *judge.steps.notes)),
        versions=versions,
        built=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def _prefixed(name: str, tell: Progress) -> Progress:
    return lambda stage, done, total: tell(f"{name}: {stage}", done, total)


def _silent(stage: str, done: int, total: int) -> None:
    pass
