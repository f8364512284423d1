"""bench/roofline.py: what it counts equals what a person counts on graphs small enough for that."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from octo_ros.engine.manifest import Graph, Tensor
from octo_ros.errors import BundleError
from octo_ros.gpu.precision import FP16, FP32, INT8

ROOT = Path(__file__).resolve().parent.parent
SPEC = importlib.util.spec_from_file_location("roofline", ROOT / "bench" / "roofline.py")
roofline = sys.modules["roofline"] = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(roofline)

DEVICE = roofline.Device("one", {FP32: 1e9, FP16: 2e9, INT8: 4e9}, 1e9)
WEIGHT = "octo.transformer.blocks.0.weight"


def value(name: str, shape: tuple[int, ...], kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def counted(folder: Path, nodes, weights, inputs, outputs, precision=FP32, name="step"):
    """Counts a graph of these parts."""
    initializers = [
        numpy_helper.from_array(np.zeros(shape, np.float32), name) for name, shape in weights.items()
    ]
    ends = [{name: Tensor("float32", shape) for name, shape in some.items()} for some in (inputs, outputs)]
    graph = helper.make_graph(
        nodes, name, [value(*one) for one in inputs.items()], [value(*one) for one in outputs.items()],
        initializers,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    onnx.save(model, folder / "graph.onnx")
    return roofline.count(name, folder / "graph.onnx", Graph("graph.onnx", *ends), precision)


def block(folder: Path, precision: str, shape=(2, 3, 4), wide=5):
    """A product with a weight, (2, 3, 4) x (4, 5), and one of its result with its own transpose."""
    nodes = [
        helper.make_node("MatMul", ["x", WEIGHT], ["y"], "project"),
        helper.make_node("Transpose", ["y"], ["z"], "turn", perm=[0, 2, 1]),
        helper.make_node("MatMul", ["y", "z"], ["scores"], "attend"),
    ]
    batch, rows, depth = shape
    return counted(
        folder, nodes, {WEIGHT: (depth, wide)}, {"x": shape}, {"scores": (batch, rows, rows)}, precision
    )  # fmt: skip


def test_products_of_matrices_equal_those_counted_by_hand(tmp_path):
    got = block(tmp_path, FP16)
    # 2 * 3 rows times 5 columns, 4 multiply-adds each; then 2 times 3 * 3 of 5 each.
    assert [one.operations for one in got.products] == [2 * 2 * 3 * 5 * 4, 2 * 2 * 3 * 3 * 5]
    assert [one.precision for one in got.products] == [FP16, FP16]
    assert [(one.read, one.weight, one.written) for one in got.products] == [(24, 20, 30), (60, 0, 18)]
    assert got.weights == 20 * 2 and got.sparse_weights == 20 * 2 * 9 / 16
    assert got.ends == 4 * (24 + 18)


def test_only_weights_of_the_transformer_are_counted_in_int8(tmp_path):
    got = block(tmp_path, INT8)
    assert [one.precision for one in got.products] == [INT8, FP16]
    assert got.operations(INT8) == 240 and got.operations() == 240 + 180
    assert got.weights == 20 and got.sparse_weights == 20 * 5 / 8
    # int8 reads bytes and writes float16.
    assert got.products[0].bytes() == 24 + 20 + 2 * 30 and got.products[1].bytes() == 2 * 60 + 2 * 18


def test_times_are_the_longer_of_arithmetic_and_memory(tmp_path):
    got = block(tmp_path, FP16)
    arithmetic, once = 420 / 2e9, (40 + 168) / 1e9
    assert got.at_least(DEVICE) == pytest.approx(max(arithmetic, once))
    assert got.one_by_one(DEVICE) == pytest.approx((2 * (24 + 20 + 30) + 2 * (60 + 18)) / 1e9)
    fast = roofline.Device("memory", DEVICE.rates, 1e15)
    assert got.at_least(fast) == got.one_by_one(fast) == pytest.approx(arithmetic)
    assert got.at_least(fast, sparse=True) == pytest.approx(240 / 4e9 + 180 / 2e9)  # weights alone are sparse


@pytest.mark.parametrize(("group", "depth"), [(1, 6 * 9), (3, 2 * 9)])
def test_convolutions_equal_those_counted_by_hand(tmp_path, group, depth):
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], "stem", strides=[2, 2], pads=[1] * 4, group=group)
    weights = {"w": (12, 6 // group, 3, 3), "b": (12,)}
    got = counted(tmp_path, [node], weights, {"x": (1, 6, 8, 10)}, {"y": (1, 12, 4, 5)})
    assert got.operations() == 2 * (12 * 4 * 5) * depth
    assert got.weights == 4 * (math.prod(weights["w"]) + 12)


def test_a_gemm_may_be_turned(tmp_path):
    node = helper.make_node("Gemm", ["x", "w"], ["y"], "gemm", transA=1, transB=1)
    got = counted(tmp_path, [node], {"w": (5, 4)}, {"x": (4, 3)}, {"y": (3, 5)})
    assert got.operations() == 2 * 3 * 5 * 4


def test_the_text_encoder_stays_float32(tmp_path):
    node = helper.make_node("MatMul", ["x", WEIGHT], ["y"], "project")
    got = counted(tmp_path, [node], {WEIGHT: (4, 5)}, {"x": (3, 4)}, {"y": (3, 5)}, INT8, "language")
    assert got.products[0].precision == FP32 and got.weights == got.sparse_weights == 80


def test_a_branch_is_refused(tmp_path):
    inner = helper.make_graph([helper.make_node("Identity", ["x"], ["o"])], "inner", [], [value("o", (3,))])
    node = helper.make_node("If", ["c"], ["y"], "choose", then_branch=inner, else_branch=inner)
    graph = helper.make_graph(
        [node], "step", [value("c", (), TensorProto.BOOL), value("x", (3,))], [value("y", (3,))]
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), tmp_path / "graph.onnx")
    with pytest.raises(BundleError, match="If choose: loops and branches are not counted"):
        roofline.count("step", tmp_path / "graph.onnx", Graph("graph.onnx", {}, {}), FP32)


def test_an_unknown_shape_is_refused(tmp_path):
    node = helper.make_node("MatMul", ["x", "w"], ["y"], "project")
    with pytest.raises(BundleError, match="project: no shape is inferred for x"):
        counted(tmp_path, [node], {"w": (4, 5)}, {"x": ("rows", 4)}, {"y": (3, 5)})


sizes = st.integers(1, 7)


@given(st.tuples(sizes, sizes, sizes), sizes, st.sampled_from((FP32, FP16, INT8)))
def test_lower_precision_and_sparsity_never_take_longer(tmp_path_factory, shape, wide, precision):
    folder = tmp_path_factory.mktemp("graph")
    got = block(folder, precision, shape, wide)
    batch, rows, depth = shape
    assert got.operations() == 2 * batch * rows * wide * (depth + rows)
    for sparse in (False, True):
        assert got.at_least(DEVICE, sparse) <= got.at_least(DEVICE)
        assert got.one_by_one(DEVICE, sparse) <= block(folder, FP32, shape, wide).one_by_one(DEVICE)


def test_devices_are_what_their_data_sheets_say():
    large, small, server = roofline.DEVICES
    # Sparse int8 of a tensor core: 2048 operations a clock.
    assert 4 * large.rates[FP16] == pytest.approx(64 * 2048 * 1.3e9, rel=0.01)
    assert 4 * small.rates[FP16] == pytest.approx(56 * 2048 * 0.939e9, rel=0.01)
    assert server.rates[INT8] == 1979e12 and server.bandwidth == 3.35e12
    assert large.bandwidth == small.bandwidth == 256 / 8 * 6400e6  # a bus of 256 bits at 6400 MT/s


def test_the_report_of_the_demo_bundle_is_a_table_of_its_graphs():
    lines = list(roofline.report(ROOT / "demo" / "bundle"))
    assert [line.split("|")[1].strip() for line in lines if line.startswith("| `")] == [
        "`step`", "`history`", "`task`", "`language`",
    ]  # fmt: skip
    assert sum(line.startswith("| AGX Orin 64 GB") for line in lines) == 4


def test_frames_are_counted_as_dense_products_in_float32():
    sizes = {"primary": (480, 640), "wrist": (479, 641)}
    lines = list(roofline.report(ROOT / "demo" / "bundle", sizes))
    rows = {line.split("|")[1].strip(): line.split("|")[2:4] for line in lines if line.startswith("| `")}
    for name, height, width, target in (("primary", 480, 640, 256), ("wrist", 479, 641, 128)):
        operations = 2 * 3 * target * width * (height + target)
        assert [cell.strip() for cell in rows[f"`prepare_{name}`"]] == [f"{operations / 1e9:.2f}", "0%"]
    assert sum("| frames, fp32 |" in line for line in lines) == len(roofline.DEVICES)
