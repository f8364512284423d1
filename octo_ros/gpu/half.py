"""Puts a plan's half precision into a graph: float16 tensors where it says so, and casts between.

The library's converters (onnxruntime.transformers.float16, onnxconverter-common) put a pair of casts
around every node that stays float32, so that a row of such nodes is rounded to float16 at each edge, and
an initializer that both kinds of node read is rounded for both. Here a tensor has the type of the node
that makes it, a cast stands only where the other type is read, and each kind reads its own initializer.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from octo_ros.errors import BundleError
from octo_ros.gpu.precision import FP16, FP32, inputs_of

LARGEST = 32768.0
"""What a larger constant is cut to in float16: the mask that stands for minus infinity. Half of the
largest float16, so that a score added to it stays finite, and a row that is masked everywhere even."""

SMALLEST = 2.0**-24
"""What a smaller scale of a quantization is raised to: it may not become 0. The smallest float16 above 0."""

_TYPES = {FP16: TensorProto.FLOAT16, FP32: TensorProto.FLOAT}
_ENDINGS = {FP16: "_fp16", FP32: "_fp32"}


def to_half(model: onnx.ModelProto, kinds: Mapping[str, str]) -> onnx.ModelProto:
    """A copy of a float32 graph with some nodes in float16; inputs and outputs stay as they are.

    Args:
        model: with its weights, nodes in order.
        kinds: node name to `FP32`; every other node is in float16.

    Raises:
        BundleError: a tensor whose type cannot be told.
    """
    return _Halving(model, kinds).run()


class _Halving:
    def __init__(self, model: onnx.ModelProto, kinds: Mapping[str, str]) -> None:
        self._model = model
        self._kinds = kinds
        self._floats = float_tensors(model)
        self._constants = {
            tensor.name: tensor for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT
        }
        self._homes: dict[str, str] = {tensor.name: FP32 for tensor in model.graph.input}
        self._nodes: list[onnx.NodeProto] = []
        self._made: dict[tuple[str, str], str] = {}  # tensor and kind: the name it has in that kind
        self._scales = {
            node.input[1]
            for node in model.graph.node
            if node.op_type in ("QuantizeLinear", "DequantizeLinear")
        }
        self._halves: list[onnx.TensorProto] = []
        self._whole: set[str] = set()  # constants that are read in float32

    def run(self) -> onnx.ModelProto:
        outputs = {tensor.name for tensor in self._model.graph.output}
        for node in self._model.graph.node:
            kind = FP32 if self._kinds.get(node.name) == FP32 else FP16
            changed = onnx.NodeProto()
            changed.CopyFrom(node)
            self._read(changed, kind)
            if kind == FP16:
                _retype(changed)
            self._nodes.append(changed)
            for index, name in enumerate(node.output):
                if name not in self._floats:
                    continue
                self._homes[name] = kind
                if name in outputs and kind == FP16:
                    changed.output[index] = name + _ENDINGS[FP16]
                    self._made[name, FP16] = changed.output[index]
                    self._nodes.append(_cast(changed.output[index], name, FP32))
                    self._made[name, FP32] = name
        result = onnx.ModelProto()
        result.CopyFrom(self._model)
        graph = result.graph
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(self._nodes)
        graph.initializer.extend(
            tensor
            for tensor in self._model.graph.initializer
            if tensor.name not in self._constants or tensor.name in self._whole
        )
        graph.initializer.extend(self._halves)
        return result

    def _read(self, node: onnx.NodeProto, kind: str) -> None:
        for index, name in enumerate(node.input):
            if name in self._floats:
                node.input[index] = self._in(name, kind)
        for name in set(inputs_of(node)) - set(node.input):  # of a subgraph
            if name in self._floats and self._in(name, FP32) != name:
                raise BundleError(f"node {node.name}: its subgraph reads {name}, which is float16 around it")

    def _in(self, name: str, kind: str) -> str:
        """The name of a tensor in a kind, made now where it is not there yet."""
        if (name, kind) not in self._made:
            self._made[name, kind] = self._make(name, kind)
        return self._made[name, kind]

    def _make(self, name: str, kind: str) -> str:
        if name in self._constants:
            if kind == FP32:
                self._whole.add(name)
                return name
            least = SMALLEST if name in self._scales else -LARGEST
            self._halves.append(_half(self._constants[name], name + _ENDINGS[FP16], least))
            return name + _ENDINGS[FP16]
        if self._homes[name] == kind:
            return name
        self._nodes.append(_cast(name, name + _ENDINGS[kind], kind))
        return name + _ENDINGS[kind]


def float_tensors(model: onnx.ModelProto) -> set[str]:
    """Names of the float32 tensors of a graph.

    Raises:
        BundleError: a tensor whose type ONNX cannot infer.
    """
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    types = {
        value.name: value.type.tensor_type.elem_type
        for value in (*graph.input, *graph.output, *graph.value_info)
    }
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    for node in graph.node:
        for name in filter(None, node.output):
            if types.get(name, TensorProto.UNDEFINED) == TensorProto.UNDEFINED:
                raise BundleError(f"node {node.name}: expected a type of its output {name}, ONNX infers none")
    return {name for name, kind in types.items() if kind == TensorProto.FLOAT}


def _cast(source: str, target: str, kind: str) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"cast_{target}", to=_TYPES[kind])


def _retype(node: onnx.NodeProto) -> None:
    """Attributes of a float32 node that say what it makes."""
    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
            attribute.i = TensorProto.FLOAT16
        elif attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == TensorProto.FLOAT:
            attribute.t.CopyFrom(_half(attribute.t, attribute.t.name))


def _half(tensor: onnx.TensorProto, name: str, least: float = -LARGEST) -> onnx.TensorProto:
    array = numpy_helper.to_array(tensor)
    cut = np.where(np.isfinite(array), np.clip(array, least, LARGEST), array)
    return numpy_helper.from_array(cut.astype(np.float16), name)
