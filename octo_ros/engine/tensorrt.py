"""Runs a bundle as plans of TensorRT, which `octo_ros build` made for this GPU.

Everything is ordered on one stream, buffers are allocated once, and the graphs that run often are launched
as one CUDA graph each. What "history" hands to "step" stays on the device: between a frame and its action
only frames, masks and noise are copied there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from octo_ros.engine.backend import Signature
from octo_ros.engine.engine_backend import EngineBackend
from octo_ros.engine.frames import PREPARE
from octo_ros.engine.graphs import HISTORY, POLICY, STEP
from octo_ros.errors import ParameterError
from octo_ros.gpu.cache import PLANS, EngineKey, bundle_digest

CAPTURED = (HISTORY, STEP, POLICY, PREPARE)
"""What the names of graphs begin with that run often enough to be worth capturing."""


class TensorRTBackend(EngineBackend):
    """One plan a graph, on the first GPU."""

    name = "tensorrt"

    def _start(self) -> EngineKey:
        from octo_ros.gpu.cuda import Cuda
        from octo_ros.gpu.library import Messages, import_tensorrt

        try:
            self._tensorrt = import_tensorrt()
            self._cuda = Cuda()
            self._messages = Messages(self._tensorrt)
            self._runtime = self._messages.start(self._tensorrt.Runtime)
        except ParameterError as error:
            raise ParameterError(f"backend {self.name}: {error}") from error
        self._cuda.set_waiting(self.spinning)
        self._stream = self._cuda.call("cudaStreamCreateWithFlags", self._cuda.runtime.cudaStreamNonBlocking)
        self._plans: dict[str, Any] = {}
        gpu = self._cuda.gpu()
        self._told = {
            "provider": f"TensorRT {self._tensorrt.__version__}",
            "gpu": f"{gpu.name}, compute capability {gpu.compute_capability}",
        }
        return EngineKey(
            PLANS, self._tensorrt.__version__, gpu.name, gpu.compute_capability,
            precision=self.precision, target="", bundle=bundle_digest(self.manifest),
        )  # fmt: skip

    def _stop(self) -> None:
        self._cuda.call("cudaStreamDestroy", self._stream)

    def _open_graph(self, name: str, path: Path) -> tuple[Signature, Signature]:
        from octo_ros.gpu.plan import LoadedPlan

        plan = LoadedPlan(self._tensorrt, self._runtime, self._messages, self._cuda, self._stream, path)
        self._plans[name] = plan
        if name.startswith(CAPTURED):
            reason = plan.capture()
            if reason:
                self._told[f"{name} without a CUDA graph"] = reason
        return plan.inputs, plan.outputs

    def _run_graph(self, name: str, inputs: Mapping[str, np.ndarray], outputs: list[str]) -> list[np.ndarray]:
        arrays = self._plans[name].run(inputs, outputs)
        for other, plan in self._plans.items():
            if other != name:
                plan.take_over(self._plans[name], dict(zip(outputs, arrays, strict=True)))
        return arrays

    def _close_graph(self, name: str) -> None:
        plan = self._plans.pop(name, None)
        if plan is not None:
            plan.close()
