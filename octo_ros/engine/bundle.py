"""The engine bundle: a folder with ONNX graphs and one manifest a person can read.

`manifest.json` holds everything a robot needs to know of the checkpoint: cameras and their
sizes, window, horizon, head, tokenizer, the data sets' statistics, and the SHA-256 of every
other file. Reading checks all of it, so that what is loaded is what was exported.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from octo_ros.errors import BundleError

MANIFEST = "manifest.json"
FORMAT = "octo_ros bundle"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Camera:
    """One camera of the checkpoint.

    Attributes:
        height: rows the network takes [pixel].
        width: columns the network takes [pixel].
        takes_goal: whether a goal image is stacked onto this camera's frames.
        center_crop: whether the frame is cropped to the centre 0.9 of its area after resizing,
            as the official inference does for the primary camera.
    """

    height: int
    width: int
    takes_goal: bool
    center_crop: bool


@dataclass(frozen=True)
class Language:
    """How an instruction enters the network.

    Attributes:
        max_tokens: tokens the instruction is padded or cut to.
        vocab_size: rows of the embedding table; every token id is below it.
        tokenizer_name: name the checkpoint gives ("t5-base").
        tokenizer_file: file in the bundle, or None where export found no tokenizer.
    """

    max_tokens: int
    vocab_size: int
    tokenizer_name: str
    tokenizer_file: str | None


@dataclass(frozen=True)
class Head:
    """The action head.

    Attributes:
        kind: the official class name ("DiffusionActionHead").
        diffusion_steps: denoising steps, 0 for a head without noise.
        max_action: bound that normalized actions are clipped to.
    """

    kind: str
    diffusion_steps: int
    max_action: float


@dataclass(frozen=True)
class Tensor:
    """One input or output of a graph: its dtype as numpy spells it, and its fixed shape."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Graph:
    """One ONNX graph of the bundle."""

    file: str
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]


@dataclass(frozen=True)
class Manifest:
    """Everything but the weights.

    Attributes:
        notice: a sentence shown wherever the bundle is used ("" for none); a bundle with random
            weights says so here.
        checkpoint: name of the checkpoint directory, its step, and the number of parameters.
        window: timesteps of history the network takes, the newest one included.
        horizon: actions in a chunk.
        action_dim: values in an action (7).
        proprio_size: values of proprioception, or None where the network takes none.
        cameras: camera name ("primary") to its `Camera`.
        language: None where the checkpoint has no language tokenizer.
        statistics: `dataset_statistics.json` as it came, by data set.
        default_dataset: the data set used when none is named, or None: then one must be named
            unless there is only one.
        graphs: "language" (instruction -> tokens) and "policy" (the rest) to their `Graph`.
        files: file name to {"sha256", "bytes"}, the manifest itself left out.
        versions: versions of the libraries that wrote the bundle.
    """

    notice: str
    checkpoint: Mapping[str, Any]
    window: int
    horizon: int
    action_dim: int
    proprio_size: int | None
    cameras: Mapping[str, Camera]
    language: Language | None
    head: Head
    statistics: Mapping[str, Any]
    default_dataset: str | None
    graphs: Mapping[str, Graph]
    files: Mapping[str, Mapping[str, Any]]
    versions: Mapping[str, str]

    def to_json(self) -> str:
        """The text of `manifest.json`."""
        body = {"format": FORMAT, "format_version": FORMAT_VERSION, **dataclasses.asdict(self)}
        return json.dumps(body, indent=2) + "\n"


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def describe_file(path: Path) -> dict[str, Any]:
    """The manifest's entry for a file: its SHA-256 and its size in bytes."""
    return {"sha256": sha256(path), "bytes": path.stat().st_size}


def read_bundle(directory: str | Path) -> Manifest:
    """Reads and checks a bundle: format, every field, every file's size and hash.

    Raises:
        BundleError: naming the file or field, what was expected and what came.
    """
    directory = Path(directory)
    path = directory / MANIFEST
    if not path.is_file():
        raise BundleError(
            f"{directory}: not an octo_ros bundle: no {MANIFEST}; write one with `octo_ros export`"
        )
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BundleError(f"{path}: not JSON: {error}") from error
    manifest = _manifest(body, path)
    for name, entry in manifest.files.items():
        _check_file(directory, name, entry)
    for graph in manifest.graphs.values():
        if graph.file not in manifest.files:
            raise BundleError(f"{path}: graph file {graph.file} is not listed under files")
    return manifest


def _check_file(directory: Path, name: str, entry: Mapping[str, Any]) -> None:
    if Path(name).name != name:
        raise BundleError(f"{directory / MANIFEST}: files: {name!r} is not a plain file name")
    path = directory / name
    if not path.is_file():
        raise BundleError(f"{path}: missing; the manifest lists it")
    size = path.stat().st_size
    if size != entry.get("bytes"):
        raise BundleError(f"{path}: {size} bytes; the manifest says {entry.get('bytes')}")
    if sha256(path) != entry.get("sha256"):
        raise BundleError(f"{path}: SHA-256 differs from the manifest's; the file was altered after export")


def _manifest(body: Any, path: Path) -> Manifest:
    if not isinstance(body, dict) or body.get("format") != FORMAT:
        raise BundleError(f"{path}: format: expected {FORMAT!r}, got {_of(body, 'format')!r}")
    if body.get("format_version") != FORMAT_VERSION:
        raise BundleError(
            f"{path}: format_version: this octo_ros reads {FORMAT_VERSION}, "
            f"got {body.get('format_version')!r}; export the checkpoint again"
        )
    fields = {field.name for field in dataclasses.fields(Manifest)}
    given = set(body) - {"format", "format_version"}
    if given != fields:
        raise BundleError(
            f"{path}: fields missing: {sorted(fields - given)}, unknown: {sorted(given - fields)}"
        )
    try:
        return Manifest(
            **{
                **{name: body[name] for name in fields},
                "cameras": {name: Camera(**camera) for name, camera in body["cameras"].items()},
                "language": None if body["language"] is None else Language(**body["language"]),
                "head": Head(**body["head"]),
                "graphs": {name: _graph(graph) for name, graph in body["graphs"].items()},
            }
        )
    except (TypeError, KeyError, AttributeError) as error:
        raise BundleError(f"{path}: a field has the wrong shape: {error}") from error


def _graph(body: Mapping[str, Any]) -> Graph:
    def tensors(entries: Mapping[str, Any]) -> dict[str, Tensor]:
        return {name: Tensor(entry["dtype"], tuple(entry["shape"])) for name, entry in entries.items()}

    return Graph(body["file"], tensors(body["inputs"]), tensors(body["outputs"]))


def _of(body: Any, key: str) -> Any:
    return body.get(key) if isinstance(body, dict) else type(body).__name__
