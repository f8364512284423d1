"""The engine bundle: a folder with ONNX graphs and one manifest a person can read.

`manifest.json` holds everything a robot needs to know of the checkpoint: cameras and their
sizes, window, horizon, head, tokenizer, the data sets' statistics, and the SHA-256 of every
other file. Reading checks all of it, so that what is loaded is what was exported.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from octo_ros.engine.fields import Fields
from octo_ros.errors import BundleError

MANIFEST = "manifest.json"
FORMAT = "octo_ros bundle"
FORMAT_VERSION = 1

DTYPES = ("bool", "uint8", "int64", "float32")
"""Types of the graphs' inputs and outputs, as numpy spells them."""

T = TypeVar("T")


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

    def goal_camera(self) -> str | None:
        """The camera a goal image is for: primary if it takes one, else the first that does, or None."""
        takers = [name for name, camera in self.cameras.items() if camera.takes_goal]
        return "primary" if "primary" in takers else next(iter(takers), None)

    def to_json(self) -> str:
        """The text of `manifest.json`."""
        body = {"format": FORMAT, "format_version": FORMAT_VERSION, **dataclasses.asdict(self)}
        text = json.dumps(body, indent=2)
        return re.sub(r"\[\n\s*([^\[\]{}]*?)\n\s*\]", _on_one_line, text) + "\n"


def _on_one_line(numbers: re.Match[str]) -> str:
    return "[" + re.sub(r",\n\s*", ", ", numbers[1]) + "]"


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
    except (ValueError, OSError, RecursionError) as error:
        raise BundleError(f"{path}: not JSON: {error}") from error
    manifest = read_manifest(body, str(path))
    for name, entry in manifest.files.items():
        _check_file(directory / name, entry)
    return manifest


def read_manifest(body: Any, source: str) -> Manifest:
    """The manifest in a parsed `manifest.json`; files themselves are not looked at.

    Args:
        body: what `json.loads` gave.
        source: path of the file, for messages.

    Raises:
        BundleError: naming the field, what was expected and what came.
    """
    fields = Fields(body, source)
    written = fields.text("format")
    if written != FORMAT:
        raise fields.fail("format", repr(FORMAT), written)
    version = fields.integer("format_version")
    if version != FORMAT_VERSION:
        expected = f"{FORMAT_VERSION}, the version this octo_ros reads (export the checkpoint again)"
        raise fields.fail("format_version", expected, version)
    manifest = Manifest(
        notice=fields.text("notice"),
        checkpoint=fields.mapping("checkpoint"),
        window=fields.integer("window", 1),
        horizon=fields.integer("horizon", 1),
        action_dim=fields.integer("action_dim", 1),
        proprio_size=fields.or_none("proprio_size", lambda name: fields.integer(name, 1)),
        cameras=_each(fields.fields("cameras"), _camera),
        language=fields.or_none("language", lambda name: _finished(fields.fields(name), _language)),
        head=_finished(fields.fields("head"), _head),
        statistics=fields.mapping("statistics"),
        default_dataset=fields.or_none("default_dataset", fields.text),
        graphs=_each(fields.fields("graphs"), _graph),
        files=_each(fields.fields("files"), _file),
        versions=_texts(fields.fields("versions")),
    )
    fields.finish()
    for name in manifest.files:
        if Path(name).name != name or name == MANIFEST:
            raise BundleError(f"{source}: files: expected plain names of other files, got {name!r}")
    for name, graph in manifest.graphs.items():
        if graph.file not in manifest.files:
            raise BundleError(f"{source}: graphs.{name}.file: {graph.file!r} is not listed under files")
    tokenizer = manifest.language.tokenizer_file if manifest.language else None
    if tokenizer is not None and tokenizer not in manifest.files:
        raise BundleError(f"{source}: language.tokenizer_file: {tokenizer!r} is not listed under files")
    return manifest


def _check_file(path: Path, entry: Mapping[str, Any]) -> None:
    try:
        if not path.is_file():
            raise BundleError(f"{path}: missing; the manifest lists it")
        size = path.stat().st_size
        if size != entry["bytes"]:
            raise BundleError(f"{path}: {size} bytes; the manifest says {entry['bytes']}")
        if sha256(path) != entry["sha256"]:
            raise BundleError(
                f"{path}: SHA-256 differs from the manifest's; the file was altered after export"
            )
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error}") from error


def _each(fields: Fields, read: Callable[[Fields], T]) -> dict[str, T]:
    return {name: _finished(fields.fields(name), read) for name in fields.each()}


def _finished(fields: Fields, read: Callable[[Fields], T]) -> T:
    value = read(fields)
    fields.finish()
    return value


def _texts(fields: Fields) -> dict[str, str]:
    return {name: fields.text(name) for name in fields.each()}


def _camera(fields: Fields) -> Camera:
    return Camera(
        height=fields.integer("height", 2),
        width=fields.integer("width", 2),
        takes_goal=fields.flag("takes_goal"),
        center_crop=fields.flag("center_crop"),
    )


def _language(fields: Fields) -> Language:
    return Language(
        max_tokens=fields.integer("max_tokens", 1),
        vocab_size=fields.integer("vocab_size", 1),
        tokenizer_name=fields.text("tokenizer_name"),
        tokenizer_file=fields.or_none("tokenizer_file", fields.text),
    )


def _head(fields: Fields) -> Head:
    return Head(
        kind=fields.text("kind"),
        diffusion_steps=fields.integer("diffusion_steps"),
        max_action=fields.number("max_action"),
    )


def _graph(fields: Fields) -> Graph:
    return Graph(
        file=fields.text("file"),
        inputs=_each(fields.fields("inputs"), _tensor),
        outputs=_each(fields.fields("outputs"), _tensor),
    )


def _tensor(fields: Fields) -> Tensor:
    dtype = fields.text("dtype")
    if dtype not in DTYPES:
        raise fields.fail("dtype", f"one of {', '.join(DTYPES)}", dtype)
    return Tensor(dtype, fields.shape("shape"))


def _file(fields: Fields) -> dict[str, Any]:
    digest = fields.text("sha256")
    if len(digest) != 64 or not set(digest) <= set(string.hexdigits):
        raise fields.fail("sha256", "64 hexadecimal digits", digest)
    return {"sha256": digest.lower(), "bytes": fields.integer("bytes")}
