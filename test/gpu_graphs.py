"""What the tests of typed graphs share: the shipped bundles, and what a graph says of itself."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import tensorrt_double
from onnx import TensorProto

from octo_ros.engine.bundle import read_bundle
from octo_ros.engine.frames import CameraFrames
from octo_ros.engine.onnx import OnnxBackend
from octo_ros.engine.onnx_gpu import BoundBackend
from octo_ros.gpu.cache import PLANS, Engine, EngineKey, bundle_digest, read_engine, write_engine
from octo_ros.gpu.frames import write_frame_graphs

DEMO = Path(__file__).resolve().parent.parent / "demo"
POLICY, BUNDLE, BAG = DEMO / "policy", DEMO / "bundle", DEMO / "bag"

WRIST = {"wrist": "/camera/primary/image_raw"}
"""The shipped policy sees one camera, which the shipped bag has under another name."""

TRANSFORMER, HEAD = "octo.transformer.blocks.", "octo.head."


class Parsed:
    """A graph as a runtime parses it: each tensor's type and maker."""

    def __init__(self, path: Path) -> None:
        model = onnx.load(path)
        self.graph = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
        self.types = {
            value.name: value.type.tensor_type.elem_type
            for value in (*self.graph.input, *self.graph.output, *self.graph.value_info)
        }
        self.constants = {tensor.name: tensor for tensor in self.graph.initializer}
        self.types |= {name: tensor.data_type for name, tensor in self.constants.items()}
        self.makers = {name: node for node in self.graph.node for name in node.output}

    def nodes(self, *operators: str) -> list[onnx.NodeProto]:
        """The nodes of some operators."""
        return [node for node in self.graph.node if node.op_type in operators]

    def weight(self, node: onnx.NodeProto) -> tuple[str, int]:
        """Name and stored type of what a matrix or convolution multiplies by, a quantized one's too."""
        name = node.input[1]
        maker = self.makers.get(name)
        if maker is not None and maker.op_type == "DequantizeLinear":
            name = maker.input[0]
        return name, self.types[name]

    def is_quantized(self, node: onnx.NodeProto) -> bool:
        """Whether both operands come from a DequantizeLinear of 8 bits."""
        makers = [self.makers.get(name) for name in node.input[:2]]
        return all(
            maker is not None
            and maker.op_type == "DequantizeLinear"
            and self.types[maker.input[0]] == TensorProto.INT8
            for maker in makers
        )


class OnCpu(BoundBackend):
    """The binding of inputs and outputs, where there is no GPU."""

    name = "bound-on-cpu"
    provider = "CPUExecutionProvider"
    hint = "it is always there"
    device = "cpu"

    def _options(self, onnxruntime, graph):
        return OnnxBackend._options(self, onnxruntime, graph)

    def _provider_options(self):
        return {}


def write_plans(folder: Path, bundle: Path, frames: dict[str, CameraFrames] | None = None) -> Engine:
    """An engine of the stand-in for an Orin: a bundle's own graphs as plans, and those of the frames."""
    manifest = read_bundle(bundle)
    preparing = write_frame_graphs(frames or {}, manifest, folder)
    for source, graphs in ((bundle, manifest.graphs), (folder, preparing)):
        for name, graph in graphs.items():
            model = onnx.load(source / graph.file)
            (folder / f"{name}.plan").write_bytes(tensorrt_double.MAGIC + model.SerializeToString())
    for graph in preparing.values():
        (folder / graph.file).unlink()
    key = EngineKey(PLANS, "10.13.3.9", "Orin", "8.7", "fp32", "here", bundle_digest(manifest))
    files = {name: f"{name}.plan" for name in (*manifest.graphs, *preparing)}
    built = "2026-11-27T00:00:00+00:00"
    write_engine(folder, Engine(key, files, {}, {}, {}, "nothing", {}, built, frames or {}))
    return read_engine(folder)


def nvidia_parser():
    """TensorRT-RTX: NVIDIA's own parser and builder, which need no GPU to build for one."""
    try:
        import tensorrt_rtx
    except ImportError:
        tensorrt_rtx = pytest.importorskip(
            "tensorrt_rtx_bindings", reason="TensorRT-RTX is not installed (extra 'tensorrt-rtx')"
        )
    return tensorrt_rtx
