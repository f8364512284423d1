"""The engine bundle: a folder with ONNX graphs, their weights, and one manifest a person can read.

`manifest.json` holds everything a robot needs to know of the checkpoint: cameras and their
sizes, window, horizon, head, tokenizer, the data sets' statistics, and the SHA-256 of every
other file. Reading checks all of it, so that what is loaded is what was exported.
"""

from __future__ import annotations

import hashlib
import json
import string
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from octo_ros.engine.fields import Fields
from octo_ros.engine.manifest import (
    FORMAT,
    FORMAT_VERSION,
    PRECISIONS,
    SAMPLERS,
    Camera,
    Graph,
    Head,
    Language,
    Manifest,
    Tensor,
)
from octo_ros.errors import BundleError

MANIFEST = "manifest.json"

DTYPES = ("bool", "uint8", "int64", "float32")
"""Types of the graphs' inputs and outputs, as numpy spells them."""

T = TypeVar("T")


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
        precision=_choice(fields, "precision", PRECISIONS),
        checks=_each(fields.fields("checks"), _numbers),
        window=fields.integer("window", 1),
        horizon=fields.integer("horizon", 1),
        action_dim=fields.integer("action_dim", 1),
        proprio_size=fields.or_none("proprio_size", lambda name: fields.integer(name, 1)),
        cameras=_each(fields.fields("cameras"), _camera),
        language=fields.or_none("language", lambda name: _finished(fields.fields(name), _language)),
        vectors=_shapes(fields.fields("vectors")),
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


def _numbers(fields: Fields) -> dict[str, float]:
    return {name: fields.number(name) for name in fields.each()}


def _shapes(fields: Fields) -> dict[str, tuple[int, ...]]:
    return {name: fields.shape(name) for name in fields.each()}


def _choice(fields: Fields, name: str, choices: tuple[str, ...]) -> str:
    value = fields.text(name)
    if value not in choices:
        raise fields.fail(name, f"one of {', '.join(choices)}", value)
    return value


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
        max_action=fields.or_none("max_action", fields.number),
        sampler=_choice(fields, "sampler", (*SAMPLERS, "none")),
        bins=fields.integer("bins"),
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
