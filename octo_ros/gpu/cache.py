"""Engines on disk: what each was built from and for, where they lie, and which of them may run here.

An engine is a folder: a plan of TensorRT for each graph of a bundle, or the graphs themselves in a precision
(ONNX), and `engine.json`. It says all of what the engine depends on, so that one that is stale or of another
machine is refused instead of run.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from octo_ros.engine.bundle import describe_file, sha256
from octo_ros.engine.fields import Fields
from octo_ros.engine.frames import SIDES, CameraFrames, prepare_graph
from octo_ros.engine.manifest import Manifest
from octo_ros.errors import BundleError

ENGINE = "engine.json"
FORMAT, FORMAT_VERSION = "octo_ros engine", 2

PRECISIONS = ("fp32", "fp16", "int8")
"""Precisions of an engine; `octo_ros.gpu.precision`, which needs ONNX, says what computes in which."""

PLANS, GRAPHS = RUNTIMES = ("tensorrt", "onnx")
"""What an engine consists of: plans of TensorRT, or ONNX graphs for any of ONNX Runtime's providers."""

ANY = "any"
"""GPU of an engine that is not bound to one."""

ROOT = "OCTO_ROS_ENGINES"
"""Environment variable that names the folder of all engines."""

_COMPARED = {
    "bundle": "bundle",
    "precision": "precision",
    "runtime": "kind of engine",
    "gpu": "GPU",
    "compute_capability": "compute capability",
    "version": "TensorRT",
}
"""Fields of a key that must be what is here, in words."""


@dataclass(frozen=True)
class EngineKey:
    """All that an engine depends on.

    Attributes:
        runtime: one of `RUNTIMES`.
        version: of TensorRT; empty for ONNX graphs.
        gpu: name of the GPU, or `ANY`.
        compute_capability: its own ("8.7"), or `ANY`.
        precision: one of `PRECISIONS`.
        target: what was asked for by `octo_ros build --target`.
        bundle: SHA-256 over the bundle's graphs and weights.
        graphs: SHA-256 over the graphs in this precision, and their weights.
        flags: of the builder.
    """

    runtime: str
    version: str
    gpu: str
    compute_capability: str
    precision: str
    target: str
    bundle: str
    graphs: str = ""
    flags: Mapping[str, int] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Engine:
    """What `engine.json` says.

    Attributes:
        key: what the engine depends on.
        files: graph name to its file in the folder.
        sizes: file name to {"sha256", "bytes"}.
        checks: errors that were measured when it was built, as `ActionError` and `FrameError` name them.
        layers: graph name to how many of its layers hand on each type, as TensorRT read them.
        calibration: what the precision was calibrated and judged with.
        versions: of the libraries that made it.
        built: date and time, ISO 8601, UTC.
        frames: by camera, the frames that it prepares itself, each by the graph `prepare_<camera>`.
    """

    key: EngineKey
    files: Mapping[str, str]
    sizes: Mapping[str, Mapping[str, Any]]
    checks: Mapping[str, float]
    layers: Mapping[str, Mapping[str, int]]
    calibration: str
    versions: Mapping[str, str]
    built: str
    frames: Mapping[str, CameraFrames] = dataclasses.field(default_factory=dict)


def cache_root() -> Path:
    """The folder of all engines: `$OCTO_ROS_ENGINES`, else octo_ros/engines in the user's cache."""
    named = os.environ.get(ROOT)
    if named:
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "octo_ros" / "engines"


def bundle_digest(manifest: Manifest) -> str:
    """SHA-256 over a bundle's graphs and weights, from the manifest alone."""
    files = {name: entry["sha256"] for name, entry in manifest.files.items() if _is_model(name)}
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def graphs_digest(folder: Path) -> str:
    """SHA-256 over the graphs and weights in a folder."""
    files = {path.name: sha256(path) for path in folder.iterdir() if _is_model(path.name)}
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def _is_model(name: str) -> bool:
    return name.endswith((".onnx", ".bin"))


def engine_folder(root: Path, key: EngineKey) -> Path:
    """Where the engine of a bundle, precision, GPU and TensorRT lies: one, a newer build replaces it."""
    parts = (key.bundle[:16], key.precision, key.gpu, f"sm{key.compute_capability}", key.runtime, key.version)
    return root / _plain("_".join(filter(None, parts)))


def timing_cache(root: Path, key: EngineKey) -> Path:
    """Where TensorRT's measured times of layers lie, for every engine of this GPU and TensorRT."""
    return root / _plain(f"timing_{key.gpu}_sm{key.compute_capability}_{key.version}.cache")


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "_", name)


def write_engine(folder: Path, engine: Engine) -> None:
    """Writes `engine.json`, with the sizes and hashes of every other file there."""
    sizes = {path.name: describe_file(path) for path in sorted(folder.iterdir()) if path.name != ENGINE}
    body = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        **dataclasses.asdict(dataclasses.replace(engine, sizes=sizes)),
    }
    (folder / ENGINE).write_text(json.dumps(body, indent=2) + "\n", encoding="utf-8")


def read_engine(folder: Path) -> Engine:
    """Reads `engine.json` and checks every file's size and hash.

    Raises:
        BundleError: naming the file or field, what was expected and what came.
    """
    path = folder / ENGINE
    if not path.is_file():
        raise BundleError(f"{folder}: not an engine: no {ENGINE}; `octo_ros build` writes one")
    try:
        fields = Fields(json.loads(path.read_text(encoding="utf-8")), str(path))
    except (ValueError, OSError, RecursionError) as error:
        raise BundleError(f"{path}: not JSON: {error}") from error
    for name, expected, written in (
        ("format", FORMAT, fields.text("format")),
        ("format_version", FORMAT_VERSION, fields.integer("format_version")),
    ):
        if written != expected:
            raise fields.fail(name, f"{expected!r}; build the engine again", written)
    engine = Engine(
        key=_key(fields.fields("key")),
        files=_texts(fields.fields("files")),
        sizes=fields.mapping("sizes"),
        checks=dict(fields.mapping("checks")),
        layers=fields.mapping("layers"),
        calibration=fields.text("calibration"),
        versions=_texts(fields.fields("versions")),
        built=fields.text("built"),
        frames=_frames(fields.fields("frames")),
    )
    fields.finish()
    for name in map(prepare_graph, engine.frames):
        if name not in engine.files:
            raise BundleError(f"{path}: files.{name}: missing, though frames names its camera")
    for name in {*engine.files.values(), *engine.sizes}:
        file = folder / name
        if Path(name).name != name or not file.is_file() or describe_file(file) != engine.sizes.get(name):
            raise BundleError(f"{file}: missing, or not what was built; build the engine again")
    return engine


def _key(fields: Fields) -> EngineKey:
    texts = [field.name for field in dataclasses.fields(EngineKey) if field.name != "flags"]
    key = EngineKey(**{name: fields.text(name) for name in texts}, flags=dict(fields.mapping("flags")))
    fields.finish()
    return key


def _frames(fields: Fields) -> dict[str, CameraFrames]:
    frames = {}
    for camera in fields.each():
        one = fields.fields(camera)
        sides = (one.integer(name, SIDES[0]) for name in ("height", "width"))
        frames[camera] = CameraFrames(*sides, one.flag("center_crop"))
        one.finish()
    return frames


def _texts(fields: Fields) -> dict[str, str]:
    return {name: fields.text(name) for name in fields.each()}


def build_command(bundle: Path, key: EngineKey, frames: Mapping[str, CameraFrames] | None = None) -> str:
    """The command that makes the engine of a key, which prepares these cameras' frames."""
    calibrate = " --calibrate BAG_OR_RLDS" if key.precision == "int8" else ""
    graphs = " --graphs-only FOLDER" if key.runtime == GRAPHS else ""
    sizes = "".join(f" --frames {camera}={made}" for camera, made in (frames or {}).items())
    return f"octo_ros build {bundle} --precision {key.precision}{calibrate}{sizes}{graphs}"


def check_engine(folder: Path, engine: Engine, here: EngineKey, bundle: Path) -> None:
    """Refuses an engine that is not of this bundle, precision, GPU and TensorRT.

    Args:
        folder: of the engine, for the message.
        engine: as read.
        here: what is here; `graphs`, `flags` and `target` are not compared.
        bundle: folder of the bundle, for the command.

    Raises:
        BundleError: what differs, and the command that builds the engine again.
    """
    differences = []
    for name, words in _COMPARED.items():
        built, wanted = getattr(engine.key, name), getattr(here, name)
        if built not in (wanted, ANY):
            if name == "bundle":
                built, wanted = built[:16], wanted[:16]
            differences.append(f"{words}: built for {built or 'none'}, here is {wanted or 'none'}")
    if differences:
        raise BundleError(
            f"{folder}: this engine may not run here: {'; '.join(differences)}. "
            f"Build it again: {build_command(bundle, here, engine.frames)}"
        )


def find_engine(here: EngineKey, bundle: Path, folder: Path | None = None) -> tuple[Path, Engine]:
    """The engine to run.

    Args:
        here: what is here; its precision may be empty where a folder is given, whose own is then taken.
        bundle: folder of the bundle.
        folder: of the engine; None for the cache.

    Raises:
        BundleError: none, a damaged one, or one that may not run here; with the command that builds it.
    """
    if folder is not None:
        engine = read_engine(folder)
        here = dataclasses.replace(here, precision=here.precision or engine.key.precision)
        check_engine(folder, engine, here, bundle)
        return folder, engine
    root = cache_root()
    folder = engine_folder(root, here)
    if not (folder / ENGINE).is_file():
        others = sorted(path.parent.name for path in root.glob(f"{here.bundle[:16]}*/{ENGINE}"))
        there = f"; of this bundle there are {', '.join(others)}" if others else ""
        raise BundleError(
            f"no engine of {bundle} for {here.precision} on {here.gpu} with TensorRT {here.version} in {root}"
            f"{there}. Build it: {build_command(bundle, here)}"
        )
    engine = read_engine(folder)
    check_engine(folder, engine, here, bundle)
    return folder, engine
