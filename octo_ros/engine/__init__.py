"""Engine bundles and what runs them."""

from __future__ import annotations

from pathlib import Path

from octo_ros.engine.backend import Backend
from octo_ros.engine.manifest import Manifest
from octo_ros.engine.onnx import OnnxBackend
from octo_ros.errors import ParameterError

BACKENDS: dict[str, type[Backend]] = {OnnxBackend.name: OnnxBackend}
"""Backends by the name a user gives."""


def make_backend(
    name: str, directory: str | Path, manifest: Manifest, threads: int | None = None, spinning: bool = False
) -> Backend:
    """The named backend for a bundle, no graph opened yet; never another one.

    Args:
        name: a key of `BACKENDS`.
        directory: of the bundle.
        manifest: as `read_bundle` gave it.
        threads: of one graph; None leaves the choice to the backend.
        spinning: see `Backend`.

    Raises:
        ParameterError: an unknown backend, or too few threads.
    """
    if name not in BACKENDS:
        raise ParameterError(f"backend: expected one of {', '.join(sorted(BACKENDS))}, got {name!r}")
    return BACKENDS[name](Path(directory), manifest, threads=threads, spinning=spinning)
