"""Typed graphs: the bundle's ONNX graphs with each layer's precision in the graph itself.

A strongly typed network of TensorRT, and every execution provider of ONNX Runtime, computes a layer in
the types of its tensors. So the precision is a property of a file, the same for all of them, and can be
looked at and measured without a GPU. Inputs and outputs stay as the manifest has them.

int8 is written as pairs of QuantizeLinear and DequantizeLinear in the form that TensorRT takes: signed,
symmetric, weights stored in 8 bits with one scale a column or channel, activations with one scale a
tensor, biases not quantized, nothing quantized behind a layer ("Explicit Quantization" in TensorRT's
documentation). That TensorRT parses and builds them was never tried: there was no GPU.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from octo_ros.engine.manifest import Manifest
from octo_ros.errors import BundleError
from octo_ros.export.weights_file import WeightsFile
from octo_ros.gpu.calibration import Calibration, graph_inputs
from octo_ros.gpu.half import to_half
from octo_ros.gpu.precision import FP32, INT8, check_precision, plan

OPSET = 19
"""The first version of ONNX's operators whose QuantizeLinear takes float16."""

_MOVING = ("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Gather", "Identity")
"""Operators that move values and read only their first input's."""


def write_typed(
    bundle: Path,
    manifest: Manifest,
    precision: str,
    folder: Path,
    calibration: Calibration | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, str]:
    """Writes every graph of a float32 bundle in a precision, and their weights, each once.

    Args:
        bundle: folder of the bundle.
        manifest: its manifest, as `read_bundle` gave it.
        precision: one of `octo_ros.gpu.precision.PRECISIONS`.
        folder: an existing folder to write into.
        calibration: steps whose activations set the scales of int8; not looked at otherwise.
        progress: called as (graph, done, total) when a graph begins, and once when all are done.

    Returns:
        Graph name to its file in `folder`: the manifest's own names, so that a backend with this folder
        and this manifest runs them as they are.

    Raises:
        ParameterError: an unknown precision.
        BundleError: a bundle that is not float32, or int8 without a calibration.
    """
    check_precision(precision)
    if manifest.precision != "float32":
        raise BundleError(
            f"{bundle}: expected a float32 bundle, got {manifest.precision}; "
            "build from the bundle that `octo_ros export` wrote"
        )
    if precision == INT8 and calibration is None:
        raise BundleError(f"{bundle}: int8 needs a calibration: a bag or an RLDS data set of the robot")
    tell = progress or (lambda stage, done, total: None)
    names = list(manifest.graphs)
    with WeightsFile(folder) as weights:
        for index, name in enumerate(names):
            tell(name, index, len(names))
            file = manifest.graphs[name].file
            model = cast_pixels(onnx.load(bundle / file))
            planned = plan(name, model, precision)
            if INT8 in planned.values():
                model = _quantized(model, planned, graph_inputs(calibration, bundle, manifest, name))
            if set(planned.values()) != {FP32}:
                model = to_half(model, planned)
            onnx.checker.check_model(model, full_check=True)
            weights.take(model)
            (folder / file).write_bytes(model.SerializeToString(deterministic=True))
    tell("done", len(names), len(names))
    return {name: graph.file for name, graph in manifest.graphs.items()}


def cast_pixels(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a graph whose images become float32 at once, before they are moved.

    TensorRT takes 8-bit images only where a cast follows directly (NVIDIA/TensorRT, issue 3985). Values that
    are moved and then cast are those that are cast and then moved.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    del graph.value_info[:]  # of types that change
    images = [value.name for value in graph.input if value.type.tensor_type.elem_type == TensorProto.UINT8]
    floats = {name: f"{name}_float" for name in images}
    nodes = [
        helper.make_node("Cast", [name], [cast], name=f"cast_{name}", to=TensorProto.FLOAT)
        for name, cast in floats.items()
    ]
    for node in graph.node:
        given = node.input[0] if node.input else ""
        if given in floats and node.op_type == "Cast" and node.attribute[0].i == TensorProto.FLOAT:
            floats[node.output[0]] = floats[given]  # it is float32 already
            continue
        for index, name in enumerate(node.input):
            node.input[index] = floats.get(name, name)
        if given in floats and node.op_type in _MOVING:
            floats[node.output[0]] = node.output[0]
        nodes.append(node)
    nodes = [_copied(node) for node in nodes]
    del graph.node[:]
    graph.node.extend(nodes)
    return result


def _is_empty(attribute: onnx.AttributeProto) -> bool:
    return attribute.type == onnx.AttributeProto.INTS and not attribute.ints


def _copied(node: onnx.NodeProto) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    return copy


def _quantized(
    model: onnx.ModelProto, planned: Mapping[str, str], inputs: Iterator[Mapping[str, np.ndarray]]
) -> onnx.ModelProto:
    """The graph with pairs of QuantizeLinear and DequantizeLinear before the planned nodes; else float32."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def get_next(self) -> Mapping[str, np.ndarray] | None:
            return next(inputs, None)

    model = onnx.version_converter.convert_version(model, OPSET)
    for node in model.graph.node:  # the library cannot write an attribute that is an empty list
        for attribute in [one for one in node.attribute if _is_empty(one)]:
            node.attribute.remove(attribute)
    logger = logging.getLogger()
    level = logger.level
    with tempfile.TemporaryDirectory() as scratch:
        before, after = Path(scratch) / "float.onnx", Path(scratch) / "int8.onnx"
        onnx.save(model, before, save_as_external_data=True)
        try:
            logger.setLevel(logging.ERROR)  # its advice on preprocessing does not apply
            quantize_static(
                before,
                after,
                Reader(),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["MatMul", "Conv"],
                nodes_to_quantize=[name for name, kind in planned.items() if kind == INT8],
                per_channel=True,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
                use_external_data_format=True,
                extra_options={
                    "ActivationSymmetric": True,
                    "WeightSymmetric": True,
                    "QuantizeBias": False,
                    "MatMulConstBOnly": True,
                    "OpTypesToExcludeOutputQuantization": ["MatMul", "Conv"],
                    "DefaultTensorType": TensorProto.FLOAT,
                },
            )
        finally:
            logger.setLevel(level)
        return onnx.load(after)
