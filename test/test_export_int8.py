"""The int8 copy of a bundle: what is quantized, what is not, and what it costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed (extra 'export')")
onnx = pytest.importorskip("onnx", reason="onnx is not installed (extra 'export')")
pytest.importorskip("onnxscript", reason="onnxscript is not installed (extra 'export')")

from octo_ros.cli import main  # noqa: E402
from octo_ros.engine.bundle import read_bundle  # noqa: E402
from octo_ros.engine.graphs import LANGUAGE, check_graphs  # noqa: E402
from octo_ros.errors import BundleError  # noqa: E402
from octo_ros.export.int8 import quantize_bundle  # noqa: E402
from octo_ros.export.weights_file import FILE  # noqa: E402
from octo_ros.verify.checks import AGAINST_FLOAT  # noqa: E402

REFERENCE = "gated_t5_binned_proprio"


@pytest.fixture(scope="module")
def float32(reference_bundles) -> Path:
    return reference_bundles.own(REFERENCE).bundle


@pytest.fixture(scope="module")
def int8(float32: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("quantized") / "int8"
    stages: list[tuple[str, int, int]] = []
    quantize_bundle(float32, target, lambda *stage: stages.append(stage))
    assert [done for _, done, _ in stages] == list(range(len(stages)))
    return target


def test_the_copy_is_a_whole_bundle(float32: Path, int8: Path) -> None:
    before, after = read_bundle(float32), read_bundle(int8)
    check_graphs(after, str(int8))
    assert (before.precision, after.precision) == ("float32", "int8")
    assert before.graphs == after.graphs
    assert before.statistics == after.statistics
    assert set(before.files) == set(after.files)
    assert after.files[FILE]["bytes"] < before.files[FILE]["bytes"]


def test_only_the_transformers_matrices_are_quantized(float32: Path, int8: Path) -> None:
    manifest = read_bundle(int8)
    for name, graph in manifest.graphs.items():
        before = onnx.load(float32 / graph.file, load_external_data=False).graph
        after = onnx.load(int8 / graph.file, load_external_data=False).graph
        onnx.checker.check_model(str(int8 / graph.file))
        left = {tensor.name for tensor in after.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
        were = {tensor.name for tensor in before.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
        gone = were - left
        if name == LANGUAGE:
            assert not gone
            continue
        matrices = {
            tensor.name
            for tensor in before.initializer
            if "transformer.blocks" in tensor.name and len(tensor.dims) == 2
        }
        assert gone == matrices != set()
        eight = [tensor for tensor in after.initializer if tensor.data_type == onnx.TensorProto.UINT8]
        assert len(eight) >= len(matrices)
        assert not any("head" in tensor.name or "encoder" in tensor.name for tensor in eight)


def test_the_deviation_is_measured_and_small(int8: Path) -> None:
    measured = read_bundle(int8).checks[AGAINST_FLOAT]
    assert set(measured) == {"readout", "actions", "actions_mean", "actions_p99"}
    assert 0 < measured["actions_mean"] <= measured["actions_p99"] <= measured["actions"]
    assert measured["readout"] < 0.2  # of tokens of about unit size; 0.7 where products saturate


def test_verify_takes_the_measured_deviation_as_its_tolerance(int8: Path, capsys) -> None:
    assert main(["verify", str(int8)]) == 0
    assert main(["verify", str(int8), "--tolerance", "readout=1e-9"]) == 1
    assert "FAILED" in capsys.readouterr().out


def test_a_policy_runs_it_as_any_other(int8: Path, float32: Path) -> None:
    import octo_ros

    chunks = []
    for bundle in (float32, int8):
        options = octo_ros.ActOptions(seed=3, mask_language=True)
        with octo_ros.load_policy(bundle, options=options) as policy:
            policy.set_task(octo_ros.Task("go on"))
            images = {
                name: np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
                for name in policy.manifest.cameras
            }
            chunks.append(policy.act(octo_ros.Observation(0, images)).chunk)
    assert 0 < np.abs(chunks[0] - chunks[1]).mean() < 0.5


def test_an_int8_bundle_is_not_quantized_again(int8: Path, tmp_path: Path, capsys) -> None:
    assert main(["quantize", str(int8), str(tmp_path / "again")]) == 1
    assert "expected a float32 bundle" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_target_that_is_taken(float32: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="this one is not empty"):
        quantize_bundle(float32, tmp_path)


def test_a_second_copy_is_the_same_to_the_byte(float32: Path, int8: Path, tmp_path: Path) -> None:
    quantize_bundle(float32, tmp_path / "again")
    for path in int8.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name
