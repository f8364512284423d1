"""Engine bundles and what runs them."""

from __future__ import annotations

from pathlib import Path

from octo_ros.engine.backend import Backend
from octo_ros.engine.bundle import Manifest
from octo_ros.engine.onnx import OnnxBackend
from octo_ros.errors import ParameterError

BACKENDS: dict[str, type[Backend]] = {OnnxBackend.name: OnnxBackend}
"""Backends by the name a user gives."""


def open_backend(name: str, directory: str | Path, manifest: Manifest, threads: int | None = None) -> Backend:
    """Opens a bundle's graphs in the named backend; never in another one.

    Args:
        name: a key of `BACKENDS`.
        directory: of the bundle.
        manifest: as `read_bundle` gave it.
        threads: of one graph; None leaves the choice to the backend.

    Raises:
        ParameterError: an unknown backend, or one that cannot run here.
        BundleError: a graph that cannot be loaded or does not fit the manifest.
    """
    if name not in BACKENDS:
        raise ParameterError(f"backend: expected one of {', '.join(sorted(BACKENDS))}, got {name!r}")
    backend = BACKENDS[name](Path(directory), manifest, threads=threads)
    backend.open()
    return backend
