"""Stand-ins for `tensorrt` and `cuda.bindings.runtime` on a machine without a GPU.

They have the names and signatures of the real bindings (TensorRT 10 and 11, cuda-bindings 12 and 13, as
far as octo_ros uses them), refuse what these would refuse, and compute: a plan is the ONNX graph, device
memory is memory of this process, and a captured graph is a list of calls.
"""

from __future__ import annotations

import ctypes
import enum
import functools
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

MAGIC = b"a plan: "


class Status(enum.IntEnum):
    """Some of cudaError_t."""

    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2
    cudaErrorInsufficientDriver = 35
    cudaErrorStreamCaptureUnsupported = 900


class CopyKind(enum.IntEnum):
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2
    cudaMemcpyDeviceToDevice = 3


class Stream:
    """A stream; what is ordered while it captures is kept instead of done."""

    def __init__(self, number: int) -> None:
        self.number, self.captured = number, None

    def __int__(self) -> int:
        return self.number

    def order(self, work: Callable[[], None]) -> None:
        (self.captured.append if self.captured is not None else lambda call: call())(work)


class Cuda:
    """`cuda.bindings.runtime`: every function gives its status first."""

    cudaError_t, cudaMemcpyKind = Status, CopyKind
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)
    cudaStreamNonBlocking, cudaDeviceScheduleSpin, cudaDeviceScheduleBlockingSync = 1, 1, 4

    def __init__(self, name: str, compute_capability: tuple[int, int], devices: int = 1) -> None:
        self._name, self._capability, self._devices = name, compute_capability, devices
        self.memory: dict[str, dict[int, Any]] = {"host": {}, "device": {}}
        self.streams: dict[int, Stream] = {}
        self.copies: Counter[str] = Counter()  # bytes by direction, of copies that were done
        self.launches, self.flags = 0, None
        self.room = 1 << 40  # of the device [byte]

    def cudaGetDeviceCount(self):
        if not self._devices:
            return Status.cudaErrorInsufficientDriver, None
        return Status.cudaSuccess, self._devices

    def cudaGetErrorName(self, status):
        return Status.cudaSuccess, status.name.encode()

    def cudaGetErrorString(self, status):
        return Status.cudaSuccess, b"words of the driver"

    def cudaGetLastError(self):
        return (Status.cudaSuccess,)

    def cudaGetDeviceProperties(self, device):
        major, minor = self._capability
        name = self._name.encode() + b"\0" * 8
        return Status.cudaSuccess, SimpleNamespace(name=name, major=major, minor=minor)

    def cudaSetDeviceFlags(self, flags):
        self.flags = flags
        return (Status.cudaSuccess,)

    def cudaMemGetInfo(self):
        used = sum(map(ctypes.sizeof, self.memory["device"].values()))
        return Status.cudaSuccess, self.room - used, self.room

    def _allocate(self, where: str, size: int):
        if size > self.cudaMemGetInfo()[1]:
            return Status.cudaErrorMemoryAllocation, None
        block = (ctypes.c_uint8 * size)(*[0xAB] * min(size, 64))  # never zeros by luck
        address = ctypes.addressof(block)
        self.memory[where][address] = block
        return Status.cudaSuccess, address

    def cudaMalloc(self, size):
        return self._allocate("device", size)

    def cudaMallocHost(self, size):
        return self._allocate("host", size)

    def cudaFree(self, address):
        del self.memory["device"][address]
        return (Status.cudaSuccess,)

    def cudaFreeHost(self, address):
        del self.memory["host"][address]
        return (Status.cudaSuccess,)

    def cudaMemcpyAsync(self, target, source, size, kind, stream):
        places = {1: ("device", "host"), 2: ("host", "device"), 3: ("device", "device")}[kind]
        for place, address in zip(places, (target, source), strict=True):
            assert size <= ctypes.sizeof(self.memory[place][address]), f"{kind.name} beyond a buffer"

        def copy() -> None:
            self.copies[kind.name.removeprefix("cudaMemcpy")] += size
            ctypes.memmove(target, source, size)

        stream.order(copy)
        return (Status.cudaSuccess,)

    def cudaStreamCreateWithFlags(self, flags):
        assert flags == self.cudaStreamNonBlocking
        stream = Stream(len(self.streams) + 7)
        self.streams[stream.number] = stream
        return Status.cudaSuccess, stream

    def cudaStreamDestroy(self, stream):
        del self.streams[stream.number]
        return (Status.cudaSuccess,)

    def cudaStreamSynchronize(self, stream):
        assert stream.captured is None, "a capturing stream cannot be waited for"
        return (Status.cudaSuccess,)

    def cudaStreamBeginCapture(self, stream, mode):
        stream.captured = []
        return (Status.cudaSuccess,)

    def cudaStreamEndCapture(self, stream):
        graph, stream.captured = stream.captured, None
        return Status.cudaSuccess, graph

    def cudaGraphInstantiate(self, graph, flags):
        return Status.cudaSuccess, list(graph)

    def cudaGraphDestroy(self, graph):
        return (Status.cudaSuccess,)

    def cudaGraphExecDestroy(self, graph):
        graph.append("destroyed")
        return (Status.cudaSuccess,)

    def cudaGraphLaunch(self, graph, stream):
        self.launches += 1
        for call in graph:
            call()
        return (Status.cudaSuccess,)


TYPES = {"BOOL": np.bool_, "UINT8": np.uint8, "INT64": np.int64, "FLOAT": np.float32, "HALF": np.float16}
DataType = enum.Enum("DataType", list(TYPES))
_OF_ONNX = {9: DataType.BOOL, 2: DataType.UINT8, 7: DataType.INT64, 1: DataType.FLOAT, 10: DataType.HALF}


class TensorRT(ModuleType):
    """`tensorrt`, its classes made for one `Cuda`.

    Attributes:
        refusal: what the parser says of every graph, "" for nothing.
        unbuildable: what a build logs as its error, "" where builds succeed.
        uncapturable: whether running cannot be captured.
        timings: timing caches that builds began with.
    """

    DataType = DataType
    TensorIOMode = enum.Enum("TensorIOMode", ["NONE", "INPUT", "OUTPUT"])
    BuilderFlag = enum.Enum("BuilderFlag", ["TF32"])

    def __init__(self, cuda: Cuda, version: str = "10.13.3.9") -> None:
        super().__init__("tensorrt")
        self.__version__ = version
        self.cuda = cuda
        self.refusal = self.unbuildable = ""
        self.uncapturable = False
        self.timings: list[bytes] = []
        strongly_typed = 0 if version.startswith("11") else 1
        self.NetworkDefinitionCreationFlag = enum.IntEnum(
            "NetworkDefinitionCreationFlag", {"STRONGLY_TYPED": strongly_typed}
        )
        self.ILogger, self.IProgressMonitor = Logger, ProgressMonitor
        self.Builder = lambda logger: Builder(self, logger)
        self.OnnxParser = lambda network, logger: Parser(self, network)
        self.Runtime = lambda logger: Runtime(self, logger)

    @staticmethod
    def nptype(kind: DataType) -> type:
        return TYPES[kind.name]


class Logger:
    Severity = enum.IntEnum("Severity", ["INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"], start=0)

    def __init__(self) -> None:
        self.started = True


class ProgressMonitor:
    def __init__(self) -> None:
        self.started = True


class Network:
    """A parsed graph; its layers are the nodes."""

    def __init__(self, flags: int) -> None:
        self.flags, self.model = flags, None

    @property
    def num_layers(self) -> int:
        return len(self.model.graph.node)

    def get_layer(self, index: int) -> Any:
        node = self.model.graph.node[index]
        kind = "CONSTANT" if node.op_type == "Constant" else "ELEMENTWISE"
        output = SimpleNamespace(dtype=self.types.get(node.output[0], DataType.FLOAT))
        return SimpleNamespace(
            name=node.name, type=SimpleNamespace(name=kind), num_outputs=1, get_output=lambda _: output
        )

    @functools.cached_property
    def types(self) -> dict[str, DataType]:
        inferred = onnx.shape_inference.infer_shapes(self.model).graph.value_info
        return {value.name: _OF_ONNX[value.type.tensor_type.elem_type] for value in inferred}


class Builder:
    def __init__(self, tensorrt: TensorRT, logger: Logger) -> None:
        assert logger.started
        self._tensorrt, self._logger = tensorrt, logger

    def create_network(self, flags: int = 0) -> Network:
        return Network(flags)

    def create_builder_config(self) -> Any:
        return Config(self._tensorrt)

    def build_serialized_network(self, network: Network, config: Config) -> bytes | None:
        assert network.flags == 1 << self._tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED
        assert "TF32" in config.cleared
        if self._tensorrt.unbuildable:
            self._logger.log(Logger.Severity.ERROR, self._tensorrt.unbuildable)
            return None
        monitor = config.progress_monitor
        if monitor is not None:
            assert monitor.started
            monitor.phase_start("Building", None, 2)
            monitor.phase_start("Tactics", "Building", 3)
            assert all(monitor.step_complete("Tactics", step) for step in range(3))
            monitor.phase_finish("Tactics")
            monitor.phase_finish("Building")
        if config.cache is not None:
            self._tensorrt.timings.append(config.cache.content)
            config.cache.content += b"times;"
        return MAGIC + network.model.SerializeToString()


class TimingCache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> bytes:
        return self.content


class Config:
    progress_monitor = None
    builder_optimization_level = None

    def __init__(self, tensorrt: TensorRT) -> None:
        self.cleared: set[str] = set()
        self.cache: TimingCache | None = None

    def clear_flag(self, flag: enum.Enum) -> None:
        self.cleared.add(flag.name)

    def create_timing_cache(self, content: bytes) -> TimingCache:
        return TimingCache(content)

    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:
        if cache.content.startswith(b"foreign") and not ignore_mismatch:
            return False
        self.cache = cache
        return True

    def get_timing_cache(self) -> TimingCache:
        return self.cache


class Parser:
    def __init__(self, tensorrt: TensorRT, network: Network) -> None:
        self._tensorrt, self._network = tensorrt, network

    def parse_from_file(self, path: str) -> bool:
        self._network.model = onnx.load(path)
        return not self._tensorrt.refusal

    @property
    def num_errors(self) -> int:
        return int(bool(self._tensorrt.refusal))

    def get_error(self, index: int) -> Any:
        words = self._tensorrt.refusal
        return SimpleNamespace(node_name=lambda: "n1", node_operator=lambda: "Foo", desc=lambda: words)


class Runtime:
    def __init__(self, tensorrt: TensorRT, logger: Logger) -> None:
        assert logger.started
        self._tensorrt, self._logger = tensorrt, logger

    def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
        if not plan.startswith(MAGIC):
            self._logger.log(Logger.Severity.ERROR, "Serialization assertion failed")
            return None
        return Engine(self._tensorrt, plan.removeprefix(MAGIC))


class Engine:
    def __init__(self, tensorrt: TensorRT, content: bytes) -> None:
        self.tensorrt = tensorrt
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        graph = onnx.ModelProto.FromString(content).graph
        self.tensors = {value.name: value.type.tensor_type for value in (*graph.input, *graph.output)}
        self.inputs = [value.name for value in graph.input]

    @property
    def num_io_tensors(self) -> int:
        return len(self.tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(axis.dim_value or -1 for axis in self.tensors[name].shape.dim)

    def get_tensor_dtype(self, name: str) -> DataType:
        return _OF_ONNX[self.tensors[name].elem_type]

    def get_tensor_mode(self, name: str) -> enum.Enum:
        modes = TensorRT.TensorIOMode
        return modes.INPUT if name in self.inputs else modes.OUTPUT

    def create_execution_context(self) -> Context:
        return Context(self)


class Context:
    def __init__(self, engine: Engine) -> None:
        self._engine, self._addresses = engine, {}

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return address in self._engine.tensorrt.cuda.memory["device"]

    def execute_async_v3(self, stream_handle: int) -> bool:
        engine, cuda = self._engine, self._engine.tensorrt.cuda
        assert set(self._addresses) == set(engine.tensors), "a tensor without an address"
        assert isinstance(stream_handle, int)
        stream = cuda.streams[stream_handle]
        if stream.captured is not None and engine.tensorrt.uncapturable:
            return False
        stream.order(self._execute)
        return True

    def _execute(self) -> None:
        names = [name for name in self._engine.tensors if name not in self._engine.inputs]
        given = {name: self._view(name).copy() for name in self._engine.inputs}
        for name, array in zip(names, self._engine.session.run(names, given), strict=True):
            np.copyto(self._view(name), array)

    def _view(self, name: str) -> np.ndarray:
        block = self._engine.tensorrt.cuda.memory["device"][self._addresses[name]]
        dtype = TYPES[self._engine.get_tensor_dtype(name).name]
        return np.frombuffer(block, dtype).reshape(self._engine.get_tensor_shape(name))


def install(
    monkeypatch: pytest.MonkeyPatch,
    cache: Path,
    name: str = "Orin",
    compute_capability: tuple[int, int] = (8, 7),
    version: str = "10.13.3.9",
    devices: int = 1,
) -> TensorRT:
    """Makes imports find the stand-ins, and engines lie in `cache`."""
    cuda = Cuda(name, compute_capability, devices)
    tensorrt = TensorRT(cuda, version)
    bindings = ModuleType("cuda.bindings")
    bindings.runtime = cuda
    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt)
    monkeypatch.setitem(sys.modules, "cuda", ModuleType("cuda"))
    monkeypatch.setitem(sys.modules, "cuda.bindings", bindings)
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", cuda)
    monkeypatch.setenv("OCTO_ROS_ENGINES", str(cache))
    return tensorrt
