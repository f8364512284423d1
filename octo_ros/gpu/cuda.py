"""The CUDA runtime as NVIDIA binds it to Python (`cuda.bindings.runtime`), with errors that say what failed.

Of the bindings there are, this is the one that NVIDIA keeps itself and uses in TensorRT's own samples;
its wheels are there for x86-64 and arm64, for CUDA 12 (JetPack 6) and 13 (JetPack 7), and need the driver
alone.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from octo_ros.errors import BundleError, ParameterError

INSTALL = "install octo_ros with its extra 'tensorrt', on a machine with an NVIDIA GPU and its driver"


@dataclass(frozen=True)
class Gpu:
    """A GPU, as far as an engine depends on it.

    Attributes:
        name: as the driver gives it ("Orin", "NVIDIA H100 80GB HBM3").
        compute_capability: "8.7" of an Orin.
    """

    name: str
    compute_capability: str


class Cuda:
    """The CUDA runtime of this process, on its first GPU (`CUDA_VISIBLE_DEVICES` says which that is).

    Functions are called by their names in CUDA's documentation; each raises BundleError with CUDA's own
    words instead of returning a status.
    """

    def __init__(self) -> None:
        """Raises ParameterError where the bindings, the driver or the GPU are missing."""
        try:
            from cuda.bindings import runtime
        except ImportError as error:
            raise ParameterError(
                f"needs the Python package cuda-bindings, which cannot be imported ({error}): {INSTALL}"
            ) from error
        self.runtime = runtime
        try:
            count = self.call("cudaGetDeviceCount")
        except BundleError as error:
            raise ParameterError(f"needs an NVIDIA GPU: {error}") from error
        if count < 1:
            raise ParameterError("needs an NVIDIA GPU: the driver reports none")

    def call(self, function: str, *arguments: Any) -> Any:
        """What a function of the runtime gives, without its status.

        Raises:
            BundleError: it failed; with CUDA's name and text of the error.
        """
        status, *results = getattr(self.runtime, function)(*arguments)
        if status != self.runtime.cudaError_t.cudaSuccess:
            name, text = (
                getattr(self.runtime, query)(status)[1].decode()
                for query in ("cudaGetErrorName", "cudaGetErrorString")
            )
            raise BundleError(f"CUDA: {function} failed: {name} ({text})")
        return results[0] if len(results) == 1 else tuple(results)

    def gpu(self) -> Gpu:
        """The first GPU."""
        properties = self.call("cudaGetDeviceProperties", 0)
        name = properties.name.split(b"\0")[0].decode()
        return Gpu(name, f"{properties.major}.{properties.minor}")

    def set_waiting(self, spinning: bool) -> None:
        """How a thread waits for the GPU: keeping its core busy, or asleep until it is woken."""
        flag = "cudaDeviceScheduleSpin" if spinning else "cudaDeviceScheduleBlockingSync"
        self.call("cudaSetDeviceFlags", getattr(self.runtime, flag))

    def memory_in_use(self) -> int:
        """Memory of the GPU that any process holds [byte]."""
        free, total = self.call("cudaMemGetInfo")
        return total - free

    def copy(self, direction: str, target: int, source: int, size: int, stream: Any) -> None:
        """Orders a copy of `size` bytes; direction "HostToDevice", "DeviceToHost" or "DeviceToDevice"."""
        kind = getattr(self.runtime.cudaMemcpyKind, f"cudaMemcpy{direction}")
        self.call("cudaMemcpyAsync", target, source, size, kind, stream)

    def capture(self, stream: Any, work: Callable[[], None]) -> Any:
        """A graph of what `work` orders on a stream, ready to be launched; nothing is run.

        Raises:
            BundleError: the work cannot be captured.
        """
        mode = self.runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self.call("cudaStreamBeginCapture", stream, mode)
        try:
            work()
        except BaseException:
            self.runtime.cudaStreamEndCapture(stream)  # its status is that of the failure
            self.runtime.cudaGetLastError()
            raise
        graph = self.call("cudaStreamEndCapture", stream)
        try:
            return self.call("cudaGraphInstantiate", graph, 0)
        finally:
            self.call("cudaGraphDestroy", graph)


class Buffer:
    """A tensor twice: in page-locked memory of the host, for fast copies, and on the device.

    Attributes:
        host: the host's, an array of the tensor's dtype and shape.
        device: address on the device.
        size: [byte].
    """

    def __init__(self, cuda: Cuda, dtype: str, shape: tuple[int, ...]) -> None:
        """Allocates both; raises BundleError where memory is short."""
        self._cuda = cuda
        self.size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        self._pinned: int | None = cuda.call("cudaMallocHost", self.size)
        try:
            self.device: int = cuda.call("cudaMalloc", self.size)
        except BaseException:
            cuda.call("cudaFreeHost", self._pinned)
            raise
        content = (ctypes.c_uint8 * self.size).from_address(self._pinned)
        self.host = np.frombuffer(content, dtype=dtype).reshape(shape)

    def send(self, stream: Any) -> None:
        """Orders the copy to the device."""
        self._cuda.copy("HostToDevice", self.device, self._pinned, self.size, stream)

    def fetch(self, stream: Any) -> None:
        """Orders the copy to the host."""
        self._cuda.copy("DeviceToHost", self._pinned, self.device, self.size, stream)

    def free(self) -> None:
        """Frees both; `host` must not be touched after."""
        if self._pinned is not None:
            self._cuda.call("cudaFreeHost", self._pinned)
            self._cuda.call("cudaFree", self.device)
            self._pinned = None
