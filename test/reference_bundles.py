"""The official references as engine bundles, exported when first asked for and then kept."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from reference_cases import OURS, SEEDED, whole_checkpoint

TOKENIZER = Path(__file__).parent / "data" / "tokenizer" / "tokenizer.json"

WITH_TOKENIZER = ("v15_language_goal",)
"""References whose bundle gets the tests' tokenizer; the others have none."""


@dataclass(frozen=True)
class Exported:
    """A reference and its bundle.

    Attributes:
        reference: folder with the cases.
        checkpoint: what was exported.
        bundle: what came of it.
    """

    reference: Path
    checkpoint: Path
    bundle: Path


class ReferenceBundles:
    """Exports each reference at most once."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._exported: dict[str, Exported] = {}

    def own(self, name: str) -> Exported:
        """A reference that travels with the project."""
        return self._export(OURS / name)

    def shared(self, shared: Path, name: str) -> Exported:
        """One of those that lie beside it."""
        return self._export(shared / "reference" / name)

    def _export(self, reference: Path) -> Exported:
        name = reference.name
        if name not in self._exported:
            self._exported[name] = self._write(reference, self._folder / name)
        return self._exported[name]

    def _write(self, reference: Path, folder: Path) -> Exported:
        folder.mkdir()
        checkpoint = reference / "checkpoint"
        if reference.parent == OURS and reference.name in SEEDED:
            checkpoint = whole_checkpoint(reference, folder / "checkpoint")
        tokenizer = TOKENIZER if reference.name in WITH_TOKENIZER else None
        _export(checkpoint, folder / "bundle", tokenizer=tokenizer)
        return Exported(reference, checkpoint, folder / "bundle")


def export_tiny(folder: Path) -> Exported:
    """The tiny checkpoint of `official_checkpoint.py`, which has no cases."""
    from official_checkpoint import write_checkpoint

    checkpoint = write_checkpoint(folder / "tiny")
    _export(checkpoint, folder / "bundle", dataset="second", notice="Random weights.")
    return Exported(folder, checkpoint, folder / "bundle")


def reuse_graphs(patch: pytest.MonkeyPatch, exported: Exported) -> None:
    """Lets export take the graphs of an earlier one of the same model, unchecked, which saves its time."""
    from octo_ros.engine.bundle import read_bundle
    from octo_ros.export import bundle as module

    def write_graphs(model: Any, folder: Path) -> Mapping[str, Any]:
        for path in exported.bundle.iterdir():
            if path.suffix in (".onnx", ".bin"):
                shutil.copyfile(path, folder / path.name)
        return read_bundle(exported.bundle).graphs

    patch.setattr(module, "write_graphs", write_graphs)
    patch.setattr(module, "self_check", lambda *_: {})


def _export(checkpoint: Path, bundle: Path, **options: Any) -> None:
    """Export on a machine without a tokenizer of its own."""
    from octo_ros.export import export_checkpoint

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_CACHE", str(bundle.parent / "no_cache"))
        export_checkpoint(checkpoint, bundle, **options)
