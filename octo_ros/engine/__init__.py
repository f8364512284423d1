"""Engine bundles and what runs them."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from octo_ros.engine.backend import Backend
from octo_ros.engine.manifest import Manifest
from octo_ros.errors import ParameterError

ON_CPU = "onnxruntime"

BACKENDS = {
    ON_CPU: "octo_ros.engine.onnx:OnnxBackend",
    "onnxruntime-cuda": "octo_ros.engine.onnx_gpu:CudaBackend",
    "onnxruntime-tensorrt": "octo_ros.engine.onnx_gpu:OnnxTensorRTBackend",
    "onnxruntime-tensorrt-rtx": "octo_ros.engine.onnx_gpu:TensorRTRTXBackend",
    "tensorrt": "octo_ros.engine.tensorrt:TensorRTBackend",
}
"""Module and class of each backend, by the name a user gives; all but the first run on a GPU."""


def make_backend(
    name: str,
    directory: str | Path,
    manifest: Manifest,
    threads: int | None = None,
    spinning: bool = False,
    *,
    precision: str = "",
    engine: str | Path | None = None,
) -> Backend:
    """The named backend for a bundle, no graph opened yet; never another one.

    Args:
        name: a key of `BACKENDS`.
        directory: of the bundle.
        manifest: as `read_bundle` gave it.
        threads: of one graph; None leaves the choice to the backend.
        spinning: see `Backend`.
        precision: of a GPU's engine, "fp32", "fp16" or "int8"; may be left empty where `engine` says it.
        engine: folder that `octo_ros build` wrote, for a GPU; None for the one in the cache.

    Raises:
        ParameterError: an unknown backend, too few threads, or a precision or engine that does not fit it.
    """
    if name not in BACKENDS:
        raise ParameterError(f"backend: expected one of {', '.join(sorted(BACKENDS))}, got {name!r}")
    module, _, kind = BACKENDS[name].partition(":")
    backend = getattr(import_module(module), kind)
    if name != ON_CPU:
        folder = None if engine is None else Path(engine)
        return backend(Path(directory), manifest, threads, spinning, precision=precision, engine=folder)
    if precision or engine is not None:
        raise ParameterError(
            f"backend {name} runs the bundle as it is: expected no precision and no engine, "
            f"got {precision!r} and {engine}"
        )
    return backend(Path(directory), manifest, threads, spinning)
