"""The official references as engine bundles, exported when first asked for and then kept."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
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
    """Exports each reference at most once, however many processes of a test run ask for it.

    Args:
        folder: theirs together; it exists.
    """

    def __init__(self, folder: Path):
        self._folder = folder

    def own(self, name: str) -> Exported:
        """A reference that travels with the project."""
        return self._export(OURS / name)

    def shared(self, shared: Path, name: str) -> Exported:
        """One of those that lie beside it."""
        return self._export(shared / "reference" / name)

    def tiny(self) -> Exported:
        """The tiny checkpoint of `official_checkpoint.py`, which has no cases."""
        from official_checkpoint import write_checkpoint

        folder = self._folder / "tiny"
        exported = Exported(folder, folder / "tiny", folder / "bundle")
        with self._once(folder) as is_new:
            if is_new:
                write_checkpoint(exported.checkpoint)
                _export(exported.checkpoint, exported.bundle, dataset="second", notice="Random weights.")
        return exported

    def _export(self, reference: Path) -> Exported:
        name, folder = reference.name, self._folder / reference.name
        seeded = reference.parent == OURS and name in SEEDED
        checkpoint = folder / "checkpoint" if seeded else reference / "checkpoint"
        with self._once(folder) as is_new:
            if is_new:
                if seeded:
                    whole_checkpoint(reference, checkpoint)
                _export(
                    checkpoint, folder / "bundle", tokenizer=TOKENIZER if name in WITH_TOKENIZER else None
                )
        return Exported(reference, checkpoint, folder / "bundle")

    @contextmanager
    def _once(self, folder: Path) -> Iterator[bool]:
        """Whether the folder is new and to be filled; other processes wait until it is."""
        with FileLock(f"{folder}.lock"):
            done = Path(f"{folder}.done")
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a test that was interrupted
                folder.mkdir()
                yield True
                done.touch()
            else:
                yield False


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
