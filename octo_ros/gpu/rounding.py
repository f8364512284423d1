"""A typed graph as float32 arithmetic with every rounding written out, to be measured without a GPU.

ONNX Runtime's CPU provider has no float16 kernels for most operators. It computes them in float32 and
leaves out the casts between two such nodes, so that 300 * 300 * 0.001 is 90 there and infinity on a GPU.
Here each float16 node is a float32 node whose result is rounded to float16, which the provider may not
leave out. A GPU differs from that in the order and precision of its sums, and rounds less often where it
fuses nodes.
"""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper, numpy_helper

from octo_ros.engine.manifest import Manifest
from octo_ros.export.weights_file import WeightsFile

_MOVING = frozenset(
    ("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Gather", "Identity", "Concat", "Expand",
     "Split", "Relu", "Where", "Flatten")
)  # fmt: skip
"""Operators whose results are among their inputs' values (or 0), so that nothing is left to round."""


def write_rounded(typed: Path, manifest: Manifest, folder: Path) -> None:
    """Writes `rounded` graphs of a folder of typed graphs into an existing folder, and their weights.

    `OnnxBackend(folder, manifest)` then answers as float16 kernels that sum in float32 do.
    """
    with WeightsFile(folder) as weights:
        for graph in manifest.graphs.values():
            model = rounded(onnx.load(typed / graph.file))
            weights.take(model)
            (folder / graph.file).write_bytes(model.SerializeToString(deterministic=True))


def rounded(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy without float16 tensors; each node that made one is followed by a rounding to float16."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    halves = {
        value.name for value in inferred.value_info if value.type.tensor_type.elem_type == TensorProto.FLOAT16
    }
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            tensor.CopyFrom(_whole(tensor))
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        changed = onnx.NodeProto()
        changed.CopyFrom(node)
        for attribute in changed.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.FLOAT
            elif (
                attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == TensorProto.FLOAT16
            ):
                attribute.t.CopyFrom(_whole(attribute.t))
        nodes.append(changed)
        for index, name in enumerate(node.output):
            if name in halves and node.op_type not in _MOVING:
                changed.output[index] = f"{name}_exact"
                nodes += _rounding(changed.output[index], name)
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    return result


def _rounding(source: str, target: str) -> list[onnx.NodeProto]:
    half = f"{target}_rounded"
    return [
        helper.make_node("Cast", [source], [half], name=f"round_{target}", to=TensorProto.FLOAT16),
        helper.make_node("Cast", [half], [target], name=f"widen_{target}", to=TensorProto.FLOAT),
    ]


def _whole(tensor: onnx.TensorProto) -> onnx.TensorProto:
    return numpy_helper.from_array(numpy_helper.to_array(tensor).astype("float32"), tensor.name)
