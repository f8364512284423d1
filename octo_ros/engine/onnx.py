"""Runs a bundle's graphs in ONNX Runtime on the CPU."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from octo_ros.engine.backend import Backend, Signature
from octo_ros.engine.graphs import POLICY, STEP
from octo_ros.engine.manifest import Manifest
from octo_ros.errors import BundleError, ParameterError

MAX_DEFAULT_THREADS = 4
"""Threads taken when none are asked for, at most: the robot's other processes need cores as well."""

DTYPES = {
    "tensor(bool)": "bool",
    "tensor(uint8)": "uint8",
    "tensor(int64)": "int64",
    "tensor(float)": "float32",
}
"""ONNX Runtime's names of the types that a bundle uses, as numpy spells them."""


@dataclass(frozen=True)
class OnnxSettings:
    """How ONNX Runtime trades memory for speed.

    Attributes:
        prepacked: graphs whose matrices are copied into the layout that multiplies fastest. The
            others read theirs from the bundle's file, which is mapped into memory, not copied.
        arena: whether memory of activations is kept in a growing arena instead of being returned.
    """

    prepacked: tuple[str, ...] = (STEP, POLICY)
    arena: bool = True


class OnnxBackend(Backend):
    """One ONNX Runtime session per graph, on one execution provider and no other."""

    name = "onnxruntime"
    provider = "CPUExecutionProvider"

    def __init__(
        self,
        directory: Path,
        manifest: Manifest,
        threads: int | None = None,
        spinning: bool = False,
        settings: OnnxSettings | None = None,
    ) -> None:
        """Args: as `Backend`; threads, None for the machine's cores, 4 at most; settings of memory."""
        super().__init__(directory, manifest, threads, spinning)
        self.threads = threads or min(MAX_DEFAULT_THREADS, len(os.sched_getaffinity(0)))
        self.settings = settings or OnnxSettings()
        self._sessions: dict[str, Any] = {}

    def details(self) -> dict[str, str]:
        return {**super().details(), "provider": self.provider}

    def _open_graph(self, name: str, path: Path) -> tuple[Signature, Signature]:
        onnxruntime = import_onnxruntime()
        self._check_provider(onnxruntime)
        options = self._options(onnxruntime, name)
        try:
            session = self._session(onnxruntime, path, options)
        except Exception as error:  # ONNX Runtime's errors share no narrower base
            self._explain(onnxruntime, path, name)
            raise BundleError(f"{path}: ONNX Runtime cannot load it: {error}") from error
        self._check_started(session)
        self._sessions[name] = session
        return _signature(session.get_inputs()), _signature(session.get_outputs())

    def _check_provider(self, onnxruntime: Any) -> None:
        """Refuses an ONNX Runtime without the provider."""
        available = onnxruntime.get_available_providers()
        if self.provider not in available:
            raise ParameterError(
                f"backend {self.name}: needs {self.provider}; onnxruntime here has {available}"
            )

    def _session(self, onnxruntime: Any, path: Path, options: Any) -> Any:
        """A session of a graph on the provider. ONNX Runtime's own retry on another one is off."""
        return onnxruntime.InferenceSession(str(path), options, providers=[self.provider], enable_fallback=0)

    def _explain(self, onnxruntime: Any, path: Path, name: str) -> None:
        """Raises a better error than ONNX Runtime's for a session that did not open, where there is one."""

    def _check_started(self, session: Any) -> None:
        """A provider that fails to start is dropped by ONNX Runtime with a warning only."""
        if self.provider not in session.get_providers():
            raise ParameterError(
                f"backend {self.name}: {self.provider} did not start; got {session.get_providers()}"
            )

    def _options(self, onnxruntime: Any, graph: str) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.enable_cpu_mem_arena = self.settings.arena
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(self.spinning)))
        options.add_session_config_entry("session.force_spinning_stop", "1")  # between runs
        prepack = graph in self.settings.prepacked
        options.add_session_config_entry("session.disable_prepacking", str(int(not prepack)))
        options.log_severity_level = 3  # errors only
        return options

    def _run_graph(self, name: str, inputs: Mapping[str, np.ndarray], outputs: list[str]) -> list[np.ndarray]:
        try:
            return self._run_session(name, inputs, outputs)
        except Exception as error:  # ONNX Runtime's errors share no narrower base
            raise BundleError(f"{self.directory}: the {name} graph failed: {error}") from error

    def _run_session(
        self, name: str, inputs: Mapping[str, np.ndarray], outputs: list[str]
    ) -> list[np.ndarray]:
        return self._sessions[name].run(outputs, dict(inputs))

    def _close_graph(self, name: str) -> None:
        self._sessions.pop(name, None)


def import_onnxruntime() -> Any:
    """The module; raises ParameterError where it cannot be imported."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ParameterError(f"needs the library onnxruntime, which cannot be imported: {error}") from error
    return onnxruntime


def _signature(tensors: Sequence[Any]) -> dict[str, tuple[str, tuple[int | None, ...]]]:
    return {
        tensor.name: (
            DTYPES.get(tensor.type, tensor.type),
            tuple(size if isinstance(size, int) else None for size in tensor.shape),
        )
        for tensor in tensors
    }
