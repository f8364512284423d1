"""Runs a bundle's typed graphs in ONNX Runtime on a GPU: one provider, and no other.

`octo_ros build BUNDLE --precision P --graphs-only FOLDER` writes the graphs; `engine` names the folder. ONNX
Runtime drops a provider that does not start, and moves what a provider cannot take to the CPU, with a
warning at most: both are errors here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from octo_ros.engine.engine_backend import EngineBackend
from octo_ros.engine.onnx import OnnxBackend, import_onnxruntime
from octo_ros.errors import ParameterError
from octo_ros.gpu.cache import ANY, GRAPHS, EngineKey, build_command, bundle_digest, cache_root

NO_CPU = "session.disable_cpu_ep_fallback"
ASSIGNED = "session.record_ep_graph_assignment_info"

TF32_OVERRIDE = "NVIDIA_TF32_OVERRIDE"
"""NVIDIA's environment variable that, where it is 0, keeps float32 from being rounded to TF32's 10 bits. For
TensorRT in ONNX Runtime there is no option (microsoft/onnxruntime, issue 26029)."""

NAMED = 5
"""Nodes that a refusal names."""


class OnnxGpuBackend(EngineBackend, OnnxBackend):
    """A provider on the first GPU; inputs and outputs are copied by ONNX Runtime."""

    hint: ClassVar[str]
    """How to install what the provider needs."""

    def _start(self) -> EngineKey:
        here = EngineKey(GRAPHS, "", ANY, ANY, self.precision, target="", bundle=bundle_digest(self.manifest))
        if self._asked is None:
            raise ParameterError(
                f"engine: backend {self.name} needs the folder of the graphs in a precision; "
                f"write it with {build_command(self.directory, here)}"
            )
        self._told = {"provider": f"{self.provider} of ONNX Runtime {import_onnxruntime().__version__}"}
        return here

    def _stop(self) -> None:
        pass

    def _check_provider(self, onnxruntime: Any) -> None:
        try:
            super()._check_provider(onnxruntime)
        except ParameterError as error:
            raise ParameterError(f"{error}: {self.hint}") from error
        if hasattr(onnxruntime, "preload_dlls"):
            onnxruntime.preload_dlls()  # CUDA and cuDNN out of NVIDIA's wheels, where those are installed

    def _options(self, onnxruntime: Any, graph: str) -> Any:
        options = super()._options(onnxruntime, graph)
        options.add_session_config_entry(NO_CPU, "1")
        return options

    def _provider_options(self) -> dict[str, str]:
        return {"device_id": "0"}

    def _session(self, onnxruntime: Any, path: Path, options: Any) -> Any:
        providers = [(self.provider, self._provider_options())]
        return onnxruntime.InferenceSession(str(path), options, providers=providers, enable_fallback=0)

    def _explain(self, onnxruntime: Any, path: Path, name: str) -> None:
        """Opens the graph again, the CPU allowed, to see whether the provider starts and what it leaves."""
        options = OnnxBackend._options(self, onnxruntime, name)
        options.add_session_config_entry(ASSIGNED, "1")
        try:
            session = self._session(onnxruntime, path, options)
        except Exception as error:  # ONNX Runtime's errors share no narrower base
            raise ParameterError(
                f"backend {self.name}: {self.provider} cannot open {path}: {error}: {self.hint}"
            ) from error
        self._check_started(session)
        left = _left_to_cpu(session)
        raise ParameterError(
            f"backend {self.name}: {self.provider} cannot run all of {path}; left to the CPU: {left}"
        )

    def _check_started(self, session: Any) -> None:
        try:
            super()._check_started(session)
        except ParameterError as error:
            raise ParameterError(f"{error}: {self.hint}; ONNX Runtime printed why") from error


def _left_to_cpu(session: Any) -> str:
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return "some nodes, this ONNX Runtime does not say which"
    nodes = [
        f"{node.name} ({node.op_type})"
        for part in session.get_provider_graph_assignment_info()
        if part.ep_name == OnnxBackend.provider
        for node in part.get_nodes()
    ]
    return ", ".join(nodes[:NAMED]) + (f" and {len(nodes) - NAMED} more" if len(nodes) > NAMED else "")


class BoundBackend(OnnxGpuBackend):
    """Keeps on the GPU what one graph hands to the next: outputs stay bound there, and are fed from there."""

    device: ClassVar[str] = "cuda"
    """ONNX Runtime's name of the memory."""

    def _start(self) -> EngineKey:
        self._kept: dict[str, dict[int, tuple[np.ndarray, Any]]] = {}  # graph: id of an output: it, its value
        return super()._start()

    def _stop(self) -> None:
        self._kept = {}

    def _run_session(
        self, name: str, inputs: Mapping[str, np.ndarray], outputs: list[str]
    ) -> list[np.ndarray]:
        session = self._sessions[name]
        binding = session.io_binding()
        for key, array in inputs.items():
            binding.bind_ortvalue_input(key, self._value(array))
        for key in outputs:
            binding.bind_output(key, self.device)
        session.run_with_iobinding(binding)
        values = binding.get_outputs()
        arrays = [value.numpy() for value in values]
        for array in arrays:
            array.flags.writeable = False  # its value on the GPU would not follow
        self._kept[name] = {id(array): (array, value) for array, value in zip(arrays, values, strict=True)}
        return arrays

    def _value(self, array: np.ndarray) -> Any:
        """An array on the GPU: where a graph gave it, it is there already."""
        for kept in self._kept.values():
            if id(array) in kept:
                return kept[id(array)][1]
        from onnxruntime import OrtValue

        return OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), self.device, 0)


class CudaBackend(BoundBackend):
    """CUDA's kernels of ONNX Runtime."""

    name = "onnxruntime-cuda"
    provider = "CUDAExecutionProvider"
    hint = "install octo_ros with its extra 'onnxruntime-gpu', in place of onnxruntime"

    def _provider_options(self) -> dict[str, str]:
        return {**super()._provider_options(), "use_tf32": "0"}


class OnnxTensorRTBackend(BoundBackend):
    """TensorRT, driven by ONNX Runtime: it builds at the first opening, and keeps what it built."""

    name = "onnxruntime-tensorrt"
    provider = "TensorrtExecutionProvider"
    hint = "install octo_ros with its extras 'onnxruntime-gpu' and 'tensorrt', in place of onnxruntime"

    def _provider_options(self) -> dict[str, str]:
        folder = str(_cache(self.name))
        return {
            **super()._provider_options(),
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": folder,
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": folder,
        }

    def _rounding(self) -> str:
        return _tf32()


class TensorRTRTXBackend(OnnxGpuBackend):
    """TensorRT-RTX, a provider in a package of its own that any ONNX Runtime loads."""

    name = "onnxruntime-tensorrt-rtx"
    provider = "NvTensorRTRTXExecutionProvider"
    hint = "install octo_ros with its extra 'tensorrt-rtx', on a machine with an RTX GPU and its driver"

    def _check_provider(self, onnxruntime: Any) -> None:
        try:
            import onnxruntime_ep_nv_tensorrt_rtx as plugin
        except ImportError as error:
            raise ParameterError(
                f"backend {self.name}: needs the package onnxruntime-ep-nv-tensorrt-rtx, which cannot be "
                f"imported ({error}): {self.hint}"
            ) from error
        if not self._devices(onnxruntime):
            try:
                onnxruntime.register_execution_provider_library(self.provider, plugin.get_library_path())
            except Exception as error:  # ONNX Runtime's errors share no narrower base
                raise ParameterError(
                    f"backend {self.name}: cannot be loaded: {error}: {self.hint}"
                ) from error
        if not self._devices(onnxruntime):
            raise ParameterError(f"backend {self.name}: finds no GPU that it runs on: {self.hint}")

    def _devices(self, onnxruntime: Any) -> list[Any]:
        return [device for device in onnxruntime.get_ep_devices() if device.ep_name == self.provider]

    def _session(self, onnxruntime: Any, path: Path, options: Any) -> Any:
        settings = {"nv_runtime_cache_path": str(_cache(self.name)), "enable_cuda_graph": "1"}
        options.add_provider_for_devices(self._devices(onnxruntime)[:1], settings)
        return onnxruntime.InferenceSession(str(path), options, enable_fallback=0)

    def _rounding(self) -> str:
        return _tf32()


def _tf32() -> str:
    """Why TensorRT may round float32, empty where it is told not to."""
    if os.environ.get(TF32_OVERRIDE) == "0":
        return ""
    return f"for TensorRT may round them to TF32 here, unless {TF32_OVERRIDE}=0"


def _cache(name: str) -> Path:
    """An existing folder for what a provider keeps; its files' names tell graphs, GPUs and versions apart."""
    folder = cache_root() / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder
