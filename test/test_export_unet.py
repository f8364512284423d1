"""A bundle of the U-Net head: small graphs, weights in one place, the official answers."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed (extra 'export')")
pytest.importorskip("onnxscript", reason="onnxscript is not installed (extra 'export')")

import onnx  # noqa: E402
from reference_bundles import ReferenceBundles  # noqa: E402
from reference_cases import OURS, cases  # noqa: E402

from octo_ros.engine.bundle import read_bundle  # noqa: E402
from octo_ros.engine.graphs import POLICY, STEP  # noqa: E402
from octo_ros.engine.onnx import OnnxBackend, OnnxSettings  # noqa: E402
from octo_ros.export.weights_file import FILE, SMALLEST  # noqa: E402
from octo_ros.verify import check_bundle  # noqa: E402

REFERENCE = OURS / "seeded_unet_unbounded_mean_readout"


@pytest.fixture(scope="module")
def exported(reference_bundles: ReferenceBundles) -> Path:
    return reference_bundles.own(REFERENCE.name).bundle


@pytest.mark.parametrize("prepacked", [(), (STEP, POLICY)], ids=["mapped", "prepacked"])
def test_bundle_answers_as_the_official_code(exported: Path, prepacked: tuple[str, ...]) -> None:
    settings = OnnxSettings(prepacked=prepacked)
    with OnnxBackend(exported, read_bundle(exported), settings=settings) as backend:
        checks = list(check_bundle(backend, cases(REFERENCE)))
    assert {check.compared for check in checks} == {
        "whole graph against reference",
        "stages against reference",
        "stages against whole graph",
    }
    assert [check for check in checks if not check.passed] == []


@pytest.mark.parametrize("name", [STEP, POLICY])
def test_denoising_is_one_loop_on_the_shared_weights(exported: Path, name: str) -> None:
    path = exported / f"{name}.onnx"
    onnx.checker.check_model(str(path), full_check=True)
    graph = onnx.load(path, load_external_data=False).graph
    (loop,) = (node for node in graph.node if node.op_type == "Scan")
    body = onnx.helper.get_node_attr_value(loop, "body")
    assert not body.initializer
    assert sum(node.op_type == "Conv" for node in body.node) == 32
    assert not any(node.op_type == "Conv" and "head" in node.input[1] for node in graph.node)
    assert all(len(tensor.raw_data) < SMALLEST for tensor in graph.initializer)
    assert path.stat().st_size < 1_000_000
    parameters = read_bundle(exported).checkpoint["parameters"]
    assert (exported / FILE).stat().st_size < 4.1 * parameters  # once, though two graphs read them
    assert str(Path(__file__).parent.parent).encode() not in path.read_bytes()
