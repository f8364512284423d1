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
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import onnx

from octo_ros.engine.bundle import read_bundle
from octo_ros.engine.frames import CameraFrames, camera_frames
from octo_ros.engine.graphs import check_graphs
from octo_ros.engine.manifest import Manifest
from octo_ros.engine.onnx import OnnxBackend, import_onnxruntime
from octo_ros.engine.tensorrt import TensorRTBackend
from octo_ros.errors import BundleError, ParameterError
from octo_ros.gpu.acceptance import ActionError, Limits
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
from octo_ros.gpu.frames import FrameError, frame_errors, write_frame_graphs
from octo_ros.gpu.judge import Judge, Recording
from octo_ros.gpu.precision import INT8, check_precision
from octo_ros.gpu.rounding import write_rounded
from octo_ros.gpu.typed import write_typed
from octo_ros.staging import new_folder, temporary_sibling

Sizes = Mapping[str, tuple[int, int]]
"""Camera to (height, width) of its frames [pixel], as `octo_ros.engine.frames.parse_sizes` gives them."""


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
    sizes: Sizes | None = None,
) -> Built:
    """Writes the graphs in a precision, for ONNX Runtime's providers, and measures them on the CPU.

    Args:
        bundle: folder of the float32 bundle.
        precision: one of `octo_ros.gpu.precision.PRECISIONS`.
        folder: to write; must not exist or be empty.
        recording: calibrates and judges.
        limits: of the error of the actions.
        progress: called when a stage begins.
        sizes: of the frames that graphs are to prepare; cameras left out are the CPU's.

    Raises:
        ParameterError: sizes that do not fit the bundle, or int8 without a recording.
        BundleError: a bundle or folder that cannot be used, or actions or frames beyond the limits.
    """
    tell = progress or _silent
    _check_calibrated(precision, recording)
    manifest, frames = _read(bundle, sizes)
    judge = Judge.of(bundle, manifest, recording)
    with new_folder(folder, BundleError) as partial:
        files = write_typed(bundle, manifest, precision, partial, judge.calibration, tell)
        preparing = write_frame_graphs(frames, manifest, partial)
        files |= {name: graph.file for name, graph in preparing.items()}
        tell("measure on the CPU", 0, 1)
        whole = dataclasses.replace(manifest, graphs={**manifest.graphs, **preparing})
        with closing(OnnxBackend(partial, whole)) as candidate:
            apart = _checked(frame_errors(candidate, frames))
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            write_rounded(partial, manifest, Path(scratch))
            with closing(OnnxBackend(Path(scratch), manifest)) as candidate:
                error = judge.measure(candidate)
        error.check(limits)
        key = EngineKey(GRAPHS, "", ANY, ANY, precision, ANY, bundle_digest(manifest), graphs_digest(partial))
        engine = dataclasses.replace(_engine(key, files, frames, judge), checks=_checks(error, apart))
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
    sizes: Sizes | None = None,
) -> Built:
    """Builds the engine of a bundle for this machine's GPU, into the cache.

    An engine that was there is replaced, unless it is the very one: of the same graphs, those of the frames'
    sizes included, and options.

    Args:
        bundle, precision, recording, limits, sizes: as `write_graphs`.
        target: a key of `builder.TARGETS`.
        optimization_level: as `Builder`.
        progress: called in every phase.

    Raises:
        ParameterError: as `write_graphs`; no GPU, no TensorRT, or a target that is not this machine.
        BundleError: what TensorRT cannot build, or actions or frames beyond the limits; an engine that was
            there stays.
    """
    from octo_ros.gpu.cuda import Cuda
    from octo_ros.gpu.library import import_tensorrt

    tell = progress or _silent
    _check_calibrated(precision, recording)
    tensorrt, gpu = import_tensorrt(), Cuda().gpu()
    check_target(target, gpu)
    manifest, frames = _read(bundle, sizes)
    judge = Judge.of(bundle, manifest, recording)
    root = cache_root()
    key = EngineKey(
        PLANS, tensorrt.__version__, gpu.name, gpu.compute_capability, precision, target,
        bundle_digest(manifest), flags={"optimization_level": optimization_level},
    )  # fmt: skip
    builder = Builder(tensorrt, timing_cache(root, key), optimization_level)
    folder = engine_folder(root, key)
    with temporary_sibling(folder, BundleError) as partial:
        graphs = partial / "graphs"
        graphs.mkdir()
        files = write_typed(bundle, manifest, precision, graphs, judge.calibration, tell)
        preparing = write_frame_graphs(frames, manifest, graphs)
        files |= {name: graph.file for name, graph in preparing.items()}
        key = dataclasses.replace(key, graphs=graphs_digest(graphs))
        there = _same_engine(folder, key)
        if there is not None:
            return Built(folder, there, fresh=False)
        layers = {}
        for name, file in files.items():
            layers[name] = builder.build(graphs / file, partial / f"{name}.plan", _prefixed(name, tell))
        shutil.rmtree(graphs)
        engine = _engine(key, {name: f"{name}.plan" for name in files}, frames, judge, layers)
        write_engine(partial, engine)  # for the backend, which refuses a folder without
        tell("measure on the GPU", 0, 1)
        candidate = TensorRTBackend(bundle, manifest, precision=precision, engine=partial)
        with closing(candidate):
            apart = _checked(frame_errors(candidate, candidate.frames()))
            error = judge.measure(candidate)
        error.check(limits)
        engine = dataclasses.replace(engine, checks=_checks(error, apart))
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


def _read(bundle: Path, sizes: Sizes | None) -> tuple[Manifest, dict[str, CameraFrames]]:
    """The manifest, and what is prepared for its cameras."""
    manifest = read_bundle(bundle)
    check_graphs(manifest, str(bundle))
    return manifest, camera_frames(manifest, sizes or {})


def _checked(apart: dict[str, FrameError]) -> dict[str, FrameError]:
    """Raises BundleError for a camera whose frames are too far from the CPU's."""
    for camera, error in apart.items():
        error.check(camera)
    return apart


def _checks(error: ActionError, apart: Mapping[str, FrameError]) -> dict[str, float]:
    """What was measured, for `engine.json`."""
    checks = error.to_dict()
    for camera, one in apart.items():
        checks |= {f"frames_{camera}_{name}": value for name, value in one.to_dict().items()}
    return checks


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
    frames: Mapping[str, CameraFrames],
    judge: Judge,
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
        checks={},
        layers=layers or {},
        calibration="; ".join((steps, *judge.steps.notes)),
        versions=versions,
        built=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        frames=frames,
    )


def _prefixed(name: str, tell: Progress) -> Progress:
    return lambda stage, done, total: tell(f"{name}: {stage}", done, total)


def _silent(stage: str, done: int, total: int) -> None:
    pass
