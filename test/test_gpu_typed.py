"""Graphs with their precision in them, looked at as a runtime parses them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed (extra 'export')")

import onnx  # noqa: E402
import onnxruntime  # noqa: E402
from gpu_graphs import BUNDLE, HEAD, POLICY, TRANSFORMER, Parsed  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from octo_ros.engine.bundle import read_bundle  # noqa: E402
from octo_ros.engine.network import WholeNetwork, make_network  # noqa: E402
from octo_ros.engine.onnx import OnnxBackend  # noqa: E402
from octo_ros.errors import BundleError, ParameterError  # noqa: E402
from octo_ros.gpu.calibration import random_calibration, run_steps  # noqa: E402
from octo_ros.gpu.half import SMALLEST, to_half  # noqa: E402
from octo_ros.gpu.precision import FP16, FP32, INT8  # noqa: E402
from octo_ros.gpu.rounding import rounded, write_rounded  # noqa: E402
from octo_ros.gpu.typed import write_typed  # noqa: E402

GRAPHS = ("task", "step", "policy")


@pytest.fixture(scope="module")
def manifest():
    return read_bundle(POLICY)


@pytest.fixture(scope="module")
def steps(manifest):
    return random_calibration(manifest, steps=2)


@pytest.fixture(scope="module", params=[FP32, FP16, INT8])
def typed(request, manifest, steps, tmp_path_factory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp(request.param)
    files = write_typed(POLICY, manifest, request.param, folder, steps)
    assert files == {name: graph.file for name, graph in manifest.graphs.items()}
    return request.param, folder


def test_inputs_and_outputs_are_the_manifests_and_onnx_runtime_runs_it(typed, manifest, steps) -> None:
    precision, folder = typed
    answers = []
    for place in (POLICY, folder):
        with OnnxBackend(place, manifest) as backend:  # which compares names, shapes and types
            answers.append(
                [
                    answer["readout"]
                    for network in (make_network(backend), WholeNetwork(backend))
                    for answer in run_steps(network, steps)
                ]
            )
    bound = {FP32: 0.0, FP16: 0.05, INT8: 1.0}[precision]
    assert 0.0 <= np.abs(np.array(answers[0]) - np.array(answers[1])).max() <= bound


@pytest.mark.parametrize("name", GRAPHS)
def test_precision_of_each_tensor(typed, name) -> None:
    precision, folder = typed
    parsed = Parsed(folder / f"{name}.onnx")
    quantized = precision == INT8 and name != "task"
    half = TensorProto.FLOAT if precision == FP32 else TensorProto.FLOAT16
    counted = {"matrices": 0, "head": 0, "convolutions": 0}
    for node in parsed.nodes("MatMul", "Conv"):
        weight, stored = parsed.weight(node)
        made = parsed.types[node.output[0]]
        if HEAD in weight:
            counted["head"] += 1
            assert (made, stored) == (TensorProto.FLOAT, TensorProto.FLOAT), node.name
        elif TRANSFORMER in weight:
            counted["matrices"] += 1
            assert parsed.is_quantized(node) == quantized, node.name
            assert (made, stored) == (half, TensorProto.INT8 if quantized else half), node.name
        elif node.op_type == "Conv":
            counted["convolutions"] += parsed.is_quantized(node)
            assert made == half, node.name
        if node.op_type == "MatMul":
            assert parsed.types[node.input[0]] == parsed.types[node.input[1]] == made, node.name
    step = name != "task"
    assert counted["matrices"] == 18  # 3 blocks of 6
    assert counted["convolutions"] == (4 if quantized else 0)
    assert bool(counted["head"]) == step
    if step:
        assert parsed.types["actions"] == TensorProto.FLOAT
        assert parsed.makers["actions"].op_type == "Reshape"  # no cast: the head itself is float32


@pytest.mark.parametrize("name", GRAPHS)
def test_images_are_cast_at_once(typed, name) -> None:
    parsed = Parsed(typed[1] / f"{name}.onnx")
    images = [name for name, kind in parsed.types.items() if kind == TensorProto.UINT8]
    readers = [node for node in parsed.graph.node if set(node.input) & set(images)]
    assert images and all(image in {value.name for value in parsed.graph.input} for image in images)
    assert [node.op_type for node in readers] == ["Cast"] * len(images)


def test_quantization_has_the_form_that_tensorrt_takes(typed) -> None:
    precision, folder = typed
    parsed = Parsed(folder / "step.onnx")
    pairs = parsed.nodes("QuantizeLinear", "DequantizeLinear")
    assert bool(pairs) == (precision == INT8)
    for node in pairs:
        scale, zero = (numpy_helper.to_array(parsed.constants[name]) for name in node.input[1:3])
        assert zero.dtype == np.int8 and not zero.any()
        assert (scale > 0).all() and np.isfinite(scale).all()
        integer = node.input[0] if node.op_type == "DequantizeLinear" else node.output[0]
        assert parsed.types[integer] == TensorProto.INT8
        if integer in parsed.constants:
            stored = numpy_helper.to_array(parsed.constants[integer])
            assert scale.shape == (stored.shape[0 if stored.ndim == 4 else 1],)
            assert np.abs(stored.astype(int)).max() == 127
        else:
            assert scale.shape == ()


def test_weights_are_stored_once(typed) -> None:
    precision, folder = typed
    size = {FP32: 1.0, FP16: 0.75, INT8: 0.85}[precision]  # T5 and head are float32; `task` is not int8
    assert (folder / "weights.bin").stat().st_size < size * (POLICY / "weights.bin").stat().st_size + 4096
    places = {}
    for name in ("step", "policy"):
        graph = onnx.load(folder / f"{name}.onnx", load_external_data=False).graph
        places[name] = {
            tensor.name: [entry.value for entry in tensor.external_data]
            for tensor in graph.initializer
            if TRANSFORMER in tensor.name and tensor.external_data
        }
    assert places["step"] == places["policy"] and places["step"]


def test_a_row_that_sees_nothing_attends_evenly_in_float16() -> None:
    """The bundle's mask is -3.4e38, which float16 has not; a masked score must not become infinite."""
    mask = numpy_helper.from_array(np.array(-3.4e38, np.float32), "mask")
    nodes = [
        helper.make_node("Add", ["x", "mask"], ["masked"], name="add"),
        helper.make_node("Softmax", ["masked"], ["y"], name="softmax"),
    ]
    model = rounded(to_half(small_model(nodes, [mask], [1, 4]), {}))
    scores = np.array([[7.0, 0.5, -3.0, 0.5]], np.float32)
    assert run(model, scores).tolist() == [[0.25] * 4]
    assert np.isfinite(run(model, scores * 1000.0)).all()


def test_roundings_are_written_out() -> None:
    small = numpy_helper.from_array(np.array(1e-3, np.float32), "small")
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["square"], name="square"),
        helper.make_node("Mul", ["square", "small"], ["y"], name="shrink"),
    ]
    model = to_half(small_model(nodes, [small], [1]), {})
    assert run(rounded(model), np.array([300.0], np.float32)) == np.inf
    third = run(rounded(model), np.array([1.0 / 3.0], np.float32))
    expected = np.float16(np.float16(1 / 3) * np.float16(1 / 3)) * np.float16(1e-3)
    assert third == np.float32(expected)


def test_a_rounded_graph_answers_as_its_typed_one(manifest, steps, typed, tmp_path) -> None:
    write_rounded(typed[1], manifest, tmp_path)
    answers = []
    for place in (typed[1], tmp_path):
        with OnnxBackend(place, manifest) as backend:
            answers.append([answer["readout"] for answer in run_steps(make_network(backend), steps)])
    difference = np.abs(np.array(answers[0]) - np.array(answers[1])).max()
    assert difference <= {FP32: 0.0, FP16: 0.05, INT8: 1.0}[typed[0]]


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_plan_gives_a_valid_graph_with_the_planned_types(data) -> None:
    count = data.draw(st.integers(1, 8))
    shared = numpy_helper.from_array(np.array([0.7, -0.2, 1.5], np.float32), "shared")
    tensors, nodes, kinds = ["x", "shared"], [], {}
    for index in range(count):
        operator = data.draw(st.sampled_from(["Add", "Mul", "Tanh", "Neg"]))
        inputs = [data.draw(st.sampled_from(tensors)) for _ in range(2 if operator in ("Add", "Mul") else 1)]
        output = "y" if index == count - 1 else f"t{index}"
        nodes.append(helper.make_node(operator, inputs, [output], name=f"n{index}"))
        kinds[f"n{index}"] = data.draw(st.sampled_from([FP32, FP16]))
        tensors.append(output)
    model = small_model(nodes, [shared], [3])
    result = to_half(model, kinds)
    onnx.checker.check_model(result, full_check=True)
    graph = onnx.shape_inference.infer_shapes(result, strict_mode=True).graph
    types = {
        value.name: value.type.tensor_type.elem_type
        for value in (*graph.input, *graph.output, *graph.value_info)
    } | {tensor.name: tensor.data_type for tensor in graph.initializer}
    assert types["x"] == types["y"] == TensorProto.FLOAT
    wanted = {FP32: TensorProto.FLOAT, FP16: TensorProto.FLOAT16}
    for node in graph.node:
        if node.op_type != "Cast":
            assert {types[name] for name in (*node.input, *node.output)} == {wanted[kinds[node.name]]}
    given_x = np.array([-0.5, 0.1, 0.9], np.float32)
    exact, got = run(model, given_x), run(rounded(result), given_x)
    if set(kinds.values()) == {FP32}:
        assert np.array_equal(exact, got)
    else:
        assert np.abs(exact - got).max() <= 0.02 * max(1.0, np.abs(exact).max())


def test_a_scale_never_becomes_zero() -> None:
    scale = numpy_helper.from_array(np.array(1e-12, np.float32), "scale")
    zero = numpy_helper.from_array(np.array(0, np.int8), "zero")
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"], name="q"),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"], name="dq"),
    ]
    (kept,) = (
        tensor
        for tensor in to_half(small_model(nodes, [scale, zero], [1]), {}).graph.initializer
        if tensor.data_type == TensorProto.FLOAT16
    )
    assert numpy_helper.to_array(kept) == SMALLEST > 0


def test_int8_needs_a_calibration(manifest, tmp_path) -> None:
    with pytest.raises(BundleError, match="int8 needs a calibration"):
        write_typed(POLICY, manifest, INT8, tmp_path)


def test_a_bundle_that_is_quantized_already_is_refused(manifest, tmp_path) -> None:
    quantized = dataclasses.replace(manifest, precision="int8")
    with pytest.raises(BundleError, match="expected a float32 bundle, got int8"):
        write_typed(POLICY, quantized, FP16, tmp_path)


def test_an_unknown_precision_is_named(manifest, tmp_path) -> None:
    with pytest.raises(ParameterError, match="got 'fp8'"):
        write_typed(POLICY, manifest, "fp8", tmp_path)
    assert not any(tmp_path.iterdir())


def test_progress_names_every_graph(tmp_path) -> None:
    told: list[tuple[str, int, int]] = []
    bundle = read_bundle(BUNDLE)
    write_typed(BUNDLE, bundle, FP16, tmp_path, progress=lambda *stage: told.append(stage))
    names = [*bundle.graphs, "done"]
    assert told == [(name, index, len(bundle.graphs)) for index, name in enumerate(names)]


def small_model(nodes, constants, shape):
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def run(model, x):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    options.intra_op_num_threads = 1
    content = model.SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return session.run(["y"], {"x": x})[0]
