"""One plan of TensorRT in memory: its buffers, its copies, and its launch as one CUDA graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from octo_ros.engine.backend import Signature
from octo_ros.errors import BundleError
from octo_ros.gpu.cuda import Buffer, Cuda
from octo_ros.gpu.library import Messages


class LoadedPlan:
    """A deserialized plan with fixed shapes; free it with `close`.

    An input that is there already is not sent again: one that `take_over` brought, or the very array that was
    sent before, where nobody can have changed it.
    """

    def __init__(
        self, tensorrt: Any, runtime: Any, messages: Messages, cuda: Cuda, stream: Any, path: Path
    ) -> None:
        """Loads a plan, allocates every buffer, and runs it once on zeros.

        Args:
            tensorrt: the module.
            runtime: TensorRT's.
            messages: what its logger hears.
            cuda: the CUDA runtime.
            stream: on which everything is ordered.
            path: of the plan.

        Raises:
            BundleError: TensorRT cannot load or run it, or memory is short.
        """
        self._path, self._cuda, self._stream = path, cuda, stream
        self._messages = messages
        self._captured: Any = None
        self._buffers: dict[str, Buffer] = {}
        self._there: dict[str, np.ndarray | None] = {}
        self._engine = runtime.deserialize_cuda_engine(path.read_bytes())
        if self._engine is None:
            raise BundleError(f"{path}: TensorRT cannot load it: {messages.take()}")
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise BundleError(f"{path}: TensorRT cannot run it: {messages.take()}")
        self.inputs, self.outputs = _signatures(tensorrt, self._engine, path)
        try:
            for name, (dtype, shape) in {**self.inputs, **self.outputs}.items():
                buffer = self._buffers[name] = Buffer(cuda, dtype, shape)
                buffer.host[...] = 0
                if not self._context.set_tensor_address(name, buffer.device):
                    raise BundleError(f"{path}: TensorRT refuses the buffer of {name}: {messages.take()}")
            for name in self.inputs:
                self._buffers[name].send(stream)
            self._order()  # what TensorRT does at a first run only must not be captured
            cuda.call("cudaStreamSynchronize", stream)
        except BaseException:
            self.close()
            raise

    def capture(self) -> str:
        """Makes one CUDA graph of the run and the copies out; empty, or why that cannot be."""
        try:
            self._captured = self._cuda.capture(self._stream, self._order)
        except BundleError as error:  # a loop or condition in the network, say
            return str(error)
        return ""

    def run(self, inputs: Mapping[str, np.ndarray], outputs: Iterable[str]) -> list[np.ndarray]:
        """Runs the plan; the arrays it gives cannot be written to.

        Raises:
            BundleError: TensorRT or CUDA failed.
        """
        for name in self.inputs:
            self._bring(name, inputs[name])
        if self._captured is None:
            self._order()
        else:
            self._cuda.call("cudaGraphLaunch", self._captured, self._stream)
        self._cuda.call("cudaStreamSynchronize", self._stream)
        return [_frozen(self._buffers[name].host) for name in outputs]

    def take_over(self, other: LoadedPlan, arrays: Mapping[str, np.ndarray]) -> None:
        """Copies outputs of another plan's last run into inputs of this one, on the device.

        Args:
            other: that gave them.
            arrays: by name, as its `run` gave them.
        """
        for name, array in arrays.items():
            if name in self.inputs and self.inputs[name] == other.outputs[name]:
                source, target = other._buffers[name], self._buffers[name]
                self._cuda.copy("DeviceToDevice", target.device, source.device, target.size, self._stream)
                self._there[name] = array

    def close(self) -> None:
        """Frees the buffers and the plan."""
        if self._captured is not None:
            self._cuda.call("cudaGraphExecDestroy", self._captured)
        self._captured = self._context = self._engine = None
        while self._buffers:
            self._buffers.popitem()[1].free()

    def _bring(self, name: str, array: np.ndarray) -> None:
        if array is self._there.get(name):
            return
        buffer = self._buffers[name]
        np.copyto(buffer.host, array)
        buffer.send(self._stream)
        self._there[name] = array if _is_frozen(array) else None

    def _order(self) -> None:
        """The run, and the copies of its outputs to the host."""
        if not self._context.execute_async_v3(int(self._stream)):
            raise BundleError(f"{self._path}: TensorRT failed: {self._messages.take()}")
        for name in self.outputs:
            self._buffers[name].fetch(self._stream)


def _signatures(tensorrt: Any, engine: Any, path: Path) -> tuple[Signature, Signature]:
    """Inputs and outputs: name to dtype as numpy spells it, and shape."""
    inputs, outputs = {}, {}
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        shape = tuple(engine.get_tensor_shape(name))
        if min(shape, default=1) < 1:
            raise BundleError(f"{path}: {name}: expected a fixed shape, got {shape}")
        dtype = np.dtype(tensorrt.nptype(engine.get_tensor_dtype(name))).name
        given = engine.get_tensor_mode(name) == tensorrt.TensorIOMode.INPUT
        (inputs if given else outputs)[name] = (dtype, shape)
    return inputs, outputs


def _frozen(array: np.ndarray) -> np.ndarray:
    copy = np.array(array)
    copy.flags.writeable = False
    return copy


def _is_frozen(array: np.ndarray) -> bool:
    """Whether nobody can have changed an array since it was made."""
    return array.base is None and not array.flags.writeable
