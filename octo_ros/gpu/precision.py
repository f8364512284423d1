"""Which node of a graph computes in which precision, decided on the graph alone.

| part | fp16 | int8 |
|---|---|---|
| pixels, up to the first convolution | float32 | float32 |
| image stem: first convolution | float16 | float16 |
| image stem: further convolutions | float16 | int8 |
| transformer: matrices that are weights | float16 | int8 |
| transformer: attention, norms, activations; projections | float16 | float16 |
| reductions and roots that are written out; what is compared with something | float32 | float32 |
| action head | float32 | float32 |
| `language`, the text encoder | float32 | float32 |
| `prepare_<camera>`, resize and crop of frames | float32 | float32 |

A norm that is one node sums in float32 whatever its inputs are: ONNX says so by its attribute `stash_type`.
The head is a hundredth of a step's arithmetic, and its denoising magnifies errors. T5's released weights
are known to overflow in float16 (huggingface/transformers, issue 5651: a value of 66246 in t5-base), and the
graph runs once an instruction. The graph `task` runs once a task, so int8 would gain nothing there: it
stays float16. The first convolution has three channels: little work, and an image has 8 bits of its own,
which float16 would not keep while frames are resized.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx

from octo_ros.engine.frames import PREPARE
from octo_ros.engine.graphs import HISTORY, LANGUAGE, POLICY, STEP
from octo_ros.errors import ParameterError

FP32, FP16, INT8 = PRECISIONS = ("fp32", "fp16", "int8")
"""Precisions of an engine, and of a node."""

QUANTIZED = (HISTORY, STEP, POLICY)
"""Graphs with nodes in int8."""

TRANSFORMER = "octo.transformer.blocks."
"""In the name of every weight of the transformer's blocks."""

ACTIONS = "actions"

DELICATE = frozenset(
    ("ReduceMean", "ReduceSum", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp", "CumSum", "Sqrt",
     "Reciprocal", "Pow", "Exp", "Log")
)  # fmt: skip
"""Operators that stay float32: they sum many values, or leave the range of float16."""

JUMPING = frozenset(
    ("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal", "ArgMax", "ArgMin", "Floor", "Ceil",
     "Round", "Sign")
)  # fmt: skip
"""Operators whose result may jump with a small error of their input, as the bins of proprioception do."""

MULTIPLYING = ("Conv", "MatMul", "Gemm")
"""Operators behind which an error is no longer that of a rounded input."""


def check_precision(precision: str) -> None:
    """Raises ParameterError for anything but one of `PRECISIONS`."""
    if precision not in PRECISIONS:
        raise ParameterError(f"precision: expected one of {', '.join(PRECISIONS)}, got {precision!r}")


def plan(name: str, model: onnx.ModelProto, precision: str) -> dict[str, str]:
    """What each node computes in.

    Args:
        name: of the graph in the manifest.
        model: the float32 graph, its nodes in order; weights need not be loaded.
        precision: of the engine.

    Returns:
        Node name to one of `PRECISIONS`; "int8" says that the node's two operands are quantized, and
        that it hands on float16. Of nodes that touch no floating-point number it says nothing that
        matters.

    Raises:
        ParameterError: an unknown precision.
    """
    check_precision(precision)
    nodes = model.graph.node
    if precision == FP32 or name == LANGUAGE or name.startswith(PREPARE):
        return dict.fromkeys((node.name for node in nodes), FP32)
    kept = head_nodes(model.graph) | _pixel_nodes(model.graph) | _jumping_nodes(model.graph)
    kept |= {node.name for node in nodes if node.op_type in DELICATE or any(_subgraphs(node))}
    planned = {node.name: FP32 if node.name in kept else FP16 for node in nodes}
    if precision == INT8 and name in QUANTIZED:
        pixels = _pixel_tensors(model.graph)
        weights = {tensor.name for tensor in model.graph.initializer}
        for node in nodes:
            if node.name not in kept and _is_quantized(node, weights, pixels):
                planned[node.name] = INT8
    return planned


def head_nodes(graph: onnx.GraphProto) -> set[str]:
    """Names of the action head's nodes: those that only the actions need, of all outputs."""
    others = [output.name for output in graph.output if output.name != ACTIONS]
    return _needed(graph, [ACTIONS]) - _needed(graph, others)


def inputs_of(node: onnx.NodeProto) -> Iterator[str]:
    """Tensors that a node reads, those that its subgraphs take from around it included."""
    yield from filter(None, node.input)
    for graph in _subgraphs(node):
        inner = {tensor.name for tensor in (*graph.input, *graph.initializer)}
        for below in graph.node:
            yield from (name for name in inputs_of(below) if name not in inner)
            inner.update(below.output)


def _subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g


def _needed(graph: onnx.GraphProto, outputs: Iterable[str]) -> set[str]:
    """Names of the nodes that these outputs depend on."""
    wanted, found = set(outputs), set()
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            found.add(node.name)
            wanted.update(inputs_of(node))
    return found


def _pixel_tensors(graph: onnx.GraphProto) -> set[str]:
    """Images and what comes of them up to a convolution or matrix."""
    pixels = {
        tensor.name for tensor in graph.input if tensor.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    }
    for node in graph.node:
        if node.op_type not in MULTIPLYING and pixels.intersection(node.input):
            pixels.update(node.output)
    return pixels


def _pixel_nodes(graph: onnx.GraphProto) -> set[str]:
    pixels = _pixel_tensors(graph)
    return {node.name for node in graph.node if pixels.intersection(node.output)}


def _jumping_nodes(graph: onnx.GraphProto) -> set[str]:
    """Nodes that jump, and what leads to them from a matrix or an input."""
    wanted, found = set(), set()
    for node in reversed(graph.node):
        leads = wanted.intersection(node.output) and node.op_type not in MULTIPLYING
        if leads or node.op_type in JUMPING:
            found.add(node.name)
            wanted.update(node.input)
    return found


def _is_quantized(node: onnx.NodeProto, weights: set[str], pixels: set[str]) -> bool:
    if node.op_type == "Conv":
        return node.input[1] in weights and node.input[0] not in pixels
    return node.op_type == "MatMul" and node.input[1] in weights and TRANSFORMER in node.input[1]
