"""The ONNX Runtime backend: what it loads fits the manifest, what it runs is checked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from small_bundle import expected_actions, write_bundle

import octo_ros
from octo_ros.engine import BACKENDS, make_backend
from octo_ros.engine.bundle import MANIFEST, Manifest, describe_file, read_bundle
from octo_ros.engine.onnx import OnnxBackend
from octo_ros.errors import BundleError, ObservationError, ParameterError


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "bundle")
    return tmp_path / "bundle"


def random_inputs(manifest: Manifest, graph: str = "policy") -> dict[str, np.ndarray]:
    source = np.random.default_rng(0)
    inputs = {}
    for name, tensor in manifest.graphs[graph].inputs.items():
        high = {"bool": 2, "uint8": 256, "int64": 100}.get(tensor.dtype)
        array = (
            source.standard_normal(tensor.shape) if high is None else source.integers(0, high, tensor.shape)
        )
        inputs[name] = array.astype(tensor.dtype)
    return inputs


def rewrite(bundle: Path, change) -> None:
    """Changes the policy graph and lists its new hash, as a wrong exporter would."""
    model = onnx.load(str(bundle / "policy.onnx"))
    change(model.graph)
    onnx.save(model, str(bundle / "policy.onnx"))
    body = json.loads((bundle / MANIFEST).read_text())
    body["files"]["policy.onnx"] = describe_file(bundle / "policy.onnx")
    (bundle / MANIFEST).write_text(json.dumps(body))


def test_the_small_graph_is_its_formula(bundle: Path) -> None:
    manifest = read_bundle(bundle)
    inputs = random_inputs(manifest)
    with OnnxBackend(bundle, manifest, threads=1) as backend:
        actions = backend.run("policy", inputs)["actions"]
    np.testing.assert_allclose(actions, expected_actions(inputs, manifest.horizon), atol=1e-5)


def test_an_unknown_backend_lists_those_there_are(bundle: Path) -> None:
    with pytest.raises(
        ParameterError, match=r"expected one of onnxruntime, onnxruntime-cuda, .*got 'openvino'"
    ):
        octo_ros.load_policy(bundle, backend="openvino")


def test_a_provider_that_is_not_here_is_an_error_and_never_another(bundle: Path) -> None:
    class Elsewhere(OnnxBackend):
        name = "elsewhere"
        provider = "NoSuchExecutionProvider"

    with pytest.raises(
        ParameterError, match=r"elsewhere: needs NoSuchExecutionProvider.*CPUExecutionProvider"
    ):
        Elsewhere(bundle, read_bundle(bundle)).open()


@pytest.mark.parametrize("name", BACKENDS)
def test_every_backend_carries_the_name_it_is_chosen_by(name: str, bundle: Path) -> None:
    precision = "" if name == "onnxruntime" else "fp16"
    assert make_backend(name, bundle, read_bundle(bundle), threads=1, precision=precision).name == name


def test_threads_out_of_range(bundle: Path) -> None:
    with pytest.raises(ParameterError, match="threads: expected at least 1, got 0"):
        octo_ros.load_policy(bundle, threads=0)


def test_a_file_that_is_no_graph(bundle: Path) -> None:
    (bundle / "policy.onnx").write_bytes(b"not a graph")
    body = json.loads((bundle / MANIFEST).read_text())
    body["files"]["policy.onnx"] = describe_file(bundle / "policy.onnx")
    (bundle / MANIFEST).write_text(json.dumps(body))
    with pytest.raises(BundleError, match=r"policy.onnx: ONNX Runtime cannot load it"):
        octo_ros.load_policy(bundle)


def test_a_renamed_input_is_named(bundle: Path) -> None:
    def rename(graph: onnx.GraphProto) -> None:
        for node in graph.node:
            for at, name in enumerate(node.input):
                if name == "noise_init":
                    node.input[at] = "noise"
        next(value for value in graph.input if value.name == "noise_init").name = "noise"

    rewrite(bundle, rename)
    with pytest.raises(BundleError, match=r"policy.onnx: input noise: the manifest has none of that name"):
        octo_ros.load_policy(bundle)


def test_an_output_of_another_shape_is_named(bundle: Path) -> None:
    def widen(graph: onnx.GraphProto) -> None:
        graph.node.append(onnx.helper.make_node("Concat", ["actions", "actions"], ["wide"], axis=1))
        graph.output[0].CopyFrom(
            onnx.helper.make_tensor_value_info("wide", onnx.TensorProto.FLOAT, (1, 8, 7))
        )
        for node in graph.node:
            node.input[:] = ["thin" if name == "actions" else name for name in node.input]
            node.output[:] = [{"actions": "thin", "wide": "actions"}.get(name, name) for name in node.output]
        graph.output[0].name = "actions"

    rewrite(bundle, widen)
    with pytest.raises(
        BundleError,
        match=r"output actions: the manifest says float32 \(1, 4, 7\), the file float32 \(1, 8, 7\)",
    ):
        octo_ros.load_policy(bundle)


def test_an_input_of_another_type_is_named(bundle: Path) -> None:
    def retype(graph: onnx.GraphProto) -> None:
        mask = next(value for value in graph.input if value.name == "timestep_pad_mask")
        mask.type.tensor_type.elem_type = onnx.TensorProto.INT64

    rewrite(bundle, retype)
    with pytest.raises(
        BundleError, match=r"input timestep_pad_mask: the manifest says bool \(1, 2\), the file int64"
    ):
        octo_ros.load_policy(bundle)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda inputs: inputs.pop("noise_init"), "input noise_init: missing"),
        (lambda inputs: inputs.update(other=np.zeros(1)), "input other: unknown"),
        (
            lambda inputs: inputs.update(noise_init=np.zeros((1, 2, 28))),
            "noise_init: expected float32 (1, 2, 28), got float64",
        ),
        (lambda inputs: inputs.update(noise_init=np.zeros((1, 28), np.float32)), "got float32 (1, 28)"),
    ],
)
def test_inputs_are_checked_by_name_shape_and_type(bundle: Path, change, message: str) -> None:
    manifest = read_bundle(bundle)
    inputs = random_inputs(manifest)
    change(inputs)
    with OnnxBackend(bundle, manifest) as backend, pytest.raises(ObservationError) as raised:
        backend.run("policy", inputs)
    assert message in str(raised.value)


def test_a_graph_that_fails_while_running_is_named(bundle: Path) -> None:
    manifest = read_bundle(bundle)
    inputs = random_inputs(manifest, "language") | {"input_ids": np.full((1, 6), 10_000)}
    with (
        OnnxBackend(bundle, manifest) as backend,
        pytest.raises(BundleError, match="the language graph failed"),
    ):
        backend.run("language", inputs)


def test_a_closed_backend_says_so(bundle: Path) -> None:
    manifest = read_bundle(bundle)
    with OnnxBackend(bundle, manifest) as backend:
        pass
    backend.close()
    with pytest.raises(BundleError, match="closed, so the policy graph is not open"):
        backend.run("policy", random_inputs(manifest))


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = (
        "import sys, octo_ros, octo_ros.engine.bundle, octo_ros.policy.options;"
        "print([m for m in ('cv2', 'onnxruntime', 'torch', 'rclpy') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
