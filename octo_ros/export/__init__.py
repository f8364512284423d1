"""From an official Octo checkpoint to an engine bundle. Needs the extra "export" (PyTorch, ONNX)."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from octo_ros.errors import OctoRosError

if TYPE_CHECKING:
    from octo_ros.engine.manifest import Manifest

_NEEDED = ("torch", "onnx", "onnxscript", "msgpack")


def export_checkpoint(
    checkpoint_dir: str | Path,
    bundle_dir: str | Path,
    *,
    step: int | None = None,
    tokenizer: str | Path | None = None,
    dataset: str | None = None,
    notice: str = "",
    license: str | None = None,
    center_crop: bool = True,
    ddim: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Manifest:
    """Writes an engine bundle; see `octo_ros.export.bundle.export_checkpoint` for every argument.

    Raises:
        OctoRosError: a library of the extra "export" is missing, or an error of the export itself.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise OctoRosError(f"export needs {', '.join(missing)}: install octo_ros with its extra 'export'")
    from octo_ros.export import bundle

    return bundle.export_checkpoint(
        checkpoint_dir,
        bundle_dir,
        step=step,
        tokenizer=tokenizer,
        dataset=dataset,
        notice=notice,
        license=license,
        center_crop=center_crop,
        ddim=ddim,
        progress=progress,
    )
