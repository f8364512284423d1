"""Which node of a graph computes in which precision."""

from __future__ import annotations

import pytest

pytest.importorskip("onnx", reason="onnx is not installed (extra 'export')")

import onnx  # noqa: E402
from gpu_graphs import BUNDLE, HEAD, POLICY, TRANSFORMER  # noqa: E402
from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from onnx import TensorProto, helper  # noqa: E402

from octo_ros.errors import ParameterError  # noqa: E402
from octo_ros.gpu.precision import FP16, FP32, INT8, PRECISIONS, head_nodes, plan  # noqa: E402

GRAPHS = [
    (bundle, name)
    for bundle in (POLICY, BUNDLE)
    for name in ("task", "history", "step", "policy")
    if (bundle / f"{name}.onnx").exists()
]


def load(bundle, name):
    return onnx.load(bundle / f"{name}.onnx", load_external_data=False)


@pytest.mark.parametrize(("bundle", "name"), GRAPHS, ids=lambda value: getattr(value, "name", value))
@pytest.mark.parametrize("precision", [FP16, INT8])
def test_parts_have_their_precision(bundle, name, precision) -> None:
    model = load(bundle, name)
    planned = plan(name, model, precision)
    assert set(planned) == {node.name for node in model.graph.node}
    matrix = INT8 if precision == INT8 and name != "task" else FP16
    seen = set()
    for node in model.graph.node:
        weights = " ".join(node.input)
        if HEAD in weights:
            seen.add("head")
            assert planned[node.name] == FP32, node.name
        elif node.op_type == "MatMul" and TRANSFORMER in weights:
            seen.add("matrix")
            assert planned[node.name] == matrix, node.name
        elif node.op_type == "MatMul":
            assert planned[node.name] in (FP16, FP32), node.name
    assert seen == ({"head", "matrix"} if name in ("step", "policy") else {"matrix"})


@pytest.mark.parametrize("bundle", [POLICY, BUNDLE], ids=["policy", "bundle"])
def test_the_stem_is_int8_behind_its_first_convolution_and_pixels_are_float32(bundle) -> None:
    model = load(bundle, "step")
    planned = plan("step", model, INT8)
    stems: dict[str, list[str]] = {}
    for node in model.graph.node:
        if node.op_type == "Conv":
            stems.setdefault(node.input[1].split(".encoder.")[0], []).append(planned[node.name])
    assert stems
    assert all(kinds == [FP16] + [INT8] * 4 for kinds in stems.values())
    before = [node for node in model.graph.node if node.op_type in ("Cast", "Div", "Sub")]
    assert {planned[node.name] for node in before if "image" in node.input[0]} <= {FP32}
    assert planned["node_div"] == planned["node_sub"] == FP32


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_text_encoder_stays_float32(precision) -> None:
    assert set(plan("language", load(BUNDLE, "language"), precision).values()) == {FP32}


def test_fp32_is_fp32_everywhere() -> None:
    assert set(plan("step", load(BUNDLE, "step"), FP32).values()) == {FP32}


def test_an_unknown_precision_is_named() -> None:
    with pytest.raises(ParameterError, match="expected one of fp32, fp16, int8, got 'bf16'"):
        plan("step", load(BUNDLE, "step"), "bf16")


def test_what_is_compared_stays_float32_up_to_a_matrix() -> None:
    nodes = [
        helper.make_node("Tanh", ["proprio"], ["early"], name="early"),
        helper.make_node("MatMul", ["early", "weight"], ["product"], name="matrix"),
        helper.make_node("Mul", ["product", "product"], ["value"], name="value"),
        helper.make_node("Less", ["value", "edges"], ["bins"], name="less"),
        helper.make_node("Cast", ["bins"], ["readout"], name="bins", to=TensorProto.FLOAT),
        helper.make_node("Neg", ["readout"], ["actions"], name="head"),
    ]
    planned = plan("step", model_of(nodes, ["actions", "readout"]), FP16)
    assert {name for name, kind in planned.items() if kind == FP32} == {"value", "less", "head"}


@given(st.data())
def test_the_head_is_what_the_actions_alone_need(data) -> None:
    """Against the definition: every way from such a node ends in the actions."""
    count = data.draw(st.integers(2, 12))
    reads = [
        data.draw(st.lists(st.integers(-1, node - 1), min_size=1, max_size=3), label=f"inputs {node}")
        for node in range(count)
    ]
    readout = data.draw(st.integers(0, count - 2))
    tensors = {-1: "noise", count - 1: "actions", **{node: f"t{node}" for node in range(count - 1)}}
    tensors[readout] = "readout"
    nodes = [
        helper.make_node("Sum", [tensors[index] for index in inputs], [tensors[node]], name=str(node))
        for node, inputs in enumerate(reads)
    ]

    def needs(node: int, wanted: int) -> bool:
        return node == wanted or any(needs(below, wanted) for below in reads[node] if below >= 0)

    expected = {str(node) for node in range(count) if needs(count - 1, node) and not needs(readout, node)}
    assert head_nodes(model_of(nodes, ["actions", "readout"]).graph) == expected


def model_of(nodes, outputs):
    def values(names):
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names]

    return helper.make_model(helper.make_graph(nodes, "graph", values(["noise", "proprio"]), values(outputs)))
