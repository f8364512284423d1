"""export_checkpoint as a whole: what it writes, and that it measures what it writes."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed (extra 'export')")
onnx = pytest.importorskip("onnx", reason="onnx is not installed (extra 'export')")
pytest.importorskip("onnxscript", reason="onnxscript is not installed (extra 'export')")

from official_checkpoint import LENGTH, STEP, VOCABULARY  # noqa: E402
from plain_onnx import assert_plain, nodes  # noqa: E402
from reference_bundles import TOKENIZER, Exported, reuse_graphs  # noqa: E402

from octo_ros.engine.bundle import read_bundle  # noqa: E402
from octo_ros.engine.graphs import check_graphs  # noqa: E402
from octo_ros.engine.manifest import Camera  # noqa: E402
from octo_ros.engine.onnx import OnnxBackend  # noqa: E402
from octo_ros.errors import BundleError, OctoRosError, ParameterError  # noqa: E402
from octo_ros.export import describe as describe_module  # noqa: E402
from octo_ros.export import export_checkpoint  # noqa: E402
from octo_ros.export.bundle import build_model  # noqa: E402
from octo_ros.export.checkpoint import read_checkpoint  # noqa: E402
from octo_ros.export.self_check import self_check  # noqa: E402

GRAPHS = ["language", "task", "history", "step", "policy"]
AGAINST_TORCH, AGAINST_WHOLE = "ONNX Runtime against PyTorch", "stages against whole graph"


@pytest.fixture(autouse=True)
def no_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No tokenizer of the machine's own."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path_factory.mktemp("hub")))


def test_manifest_says_what_the_checkpoint_is(tiny_export: Exported) -> None:
    manifest = read_bundle(tiny_export.bundle)
    check_graphs(manifest, str(tiny_export.bundle))
    assert manifest.notice == "Random weights."
    assert manifest.precision == "float32"
    assert (manifest.window, manifest.horizon, manifest.action_dim) == (2, 3, 7)
    assert manifest.proprio_size is None
    assert manifest.vectors == {}
    assert manifest.cameras == {
        "primary": Camera(32, 32, takes_goal=True, center_crop=True),
        "wrist": Camera(16, 16, takes_goal=False, center_crop=False),
    }
    assert manifest.language.max_tokens == LENGTH
    assert manifest.language.vocab_size == VOCABULARY
    assert manifest.language.tokenizer_name == "t5-base"
    assert manifest.language.tokenizer_file is None
    head = manifest.head
    assert (head.kind, head.diffusion_steps, head.max_action) == ("DiffusionActionHead", 4, 5.0)
    assert (head.sampler, head.bins) == ("ddpm", 0)
    assert list(manifest.statistics) == ["first", "second"]
    assert manifest.default_dataset == "second"
    assert list(manifest.graphs) == GRAPHS
    assert set(manifest.versions) >= {"octo_ros", "torch", "onnxruntime"}


def test_a_checkpoint_trained_without_crops_is_not_cropped(tiny_export: Exported, tmp_path: Path) -> None:
    made = export_checkpoint(tiny_export.checkpoint, tmp_path / "bundle", center_crop=False)
    cameras = read_bundle(tmp_path / "bundle").cameras
    assert cameras == made.cameras
    assert [camera.center_crop for camera in cameras.values()] == [False, False]


def test_manifest_says_where_the_checkpoint_came_from(tiny_export: Exported) -> None:
    entry = read_bundle(tiny_export.bundle).checkpoint
    parameters = read_checkpoint(tiny_export.checkpoint).parameters
    language = [array.size for name, array in parameters.items() if "/hf_model/" in name]
    assert entry == {
        "name": "tiny",
        "source": "a local folder",
        "license": "not stated",
        "step": STEP,
        "parameters": sum(array.size for array in parameters.values()),
        "language_parameters": sum(language),
        "transformer": {"width": 16, "layers": 2, "heads": 2, "mlp": 24},
        "datasets": {name: {"trajectories": 3, "transitions": None} for name in ("first", "second")},
    }


def test_measured_errors_are_in_the_manifest_by_comparison_and_output(tiny_export: Exported) -> None:
    checks = read_bundle(tiny_export.bundle).checks
    assert set(checks) == {AGAINST_TORCH, AGAINST_WHOLE}
    assert set(checks[AGAINST_TORCH]) >= {"readout", "task_tokens", "language_tokens"}
    assert set(checks[AGAINST_WHOLE]) >= {"readout"}
    for errors in checks.values():
        assert all(0 <= error <= 2e-3 for error in errors.values())
        assert 0 <= errors["readout"] <= 1e-4


def test_manifest_is_json_for_people(tiny_export: Exported) -> None:
    text = (tiny_export.bundle / "manifest.json").read_text()
    assert json.loads(text)["format"] == "octo_ros bundle"
    assert text.count("\n") > 50


def test_every_file_is_listed(tiny_export: Exported) -> None:
    listed = set(read_bundle(tiny_export.bundle).files)
    assert listed == {*(f"{name}.onnx" for name in GRAPHS), "weights.bin", "README.md"}
    assert {path.name for path in tiny_export.bundle.iterdir()} == listed | {"manifest.json"}


def test_graphs_are_plain_onnx_without_loops(tiny_export: Exported) -> None:
    assert_plain(tiny_export.bundle, tiny_export.checkpoint.parent)
    for graph in read_bundle(tiny_export.bundle).graphs.values():
        model = onnx.load(tiny_export.bundle / graph.file, load_external_data=False)
        assert not {node.op_type for node in nodes(model.graph)} & {"Loop", "If", "Scan"}


def test_a_second_export_is_the_same_to_the_byte_and_silent(
    tiny_export: Exported, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    again = tmp_path / "again"
    again.mkdir()  # an empty folder is taken
    stages: list[tuple[str, int, int]] = []
    export_checkpoint(
        tiny_export.checkpoint,
        again,
        dataset="second",
        notice="Random weights.",
        progress=lambda *stage: stages.append(stage),
    )
    assert sorted(path.name for path in again.iterdir()) == sorted(
        path.name for path in tiny_export.bundle.iterdir()
    )
    for path in again.iterdir():
        assert path.read_bytes() == (tiny_export.bundle / path.name).read_bytes(), path.name
    assert [done for _, done, _ in stages] == list(range(len(stages)))
    assert stages[-1] == ("done", stages[-1][2], stages[-1][2])
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""  # the exporter's own chatter is kept away


def test_a_bundle_can_be_read_by_others(tiny_export: Exported) -> None:
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(tiny_export.bundle.stat().st_mode) == 0o777 & ~mask


def test_tokenizer_is_copied(tiny_export: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reuse_graphs(monkeypatch, tiny_export)
    monkeypatch.setattr(describe_module, "vocabulary_size", lambda path: VOCABULARY)
    manifest = export_checkpoint(tiny_export.checkpoint, tmp_path / "b", tokenizer=TOKENIZER)
    assert manifest.language.tokenizer_file == "tokenizer.json"
    assert (tmp_path / "b" / "tokenizer.json").read_bytes() == TOKENIZER.read_bytes()
    assert read_bundle(tmp_path / "b") == manifest


def test_without_a_tokenizer_one_warning_says_so(
    tiny_export: Exported,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    reuse_graphs(monkeypatch, tiny_export)
    with caplog.at_level(logging.WARNING):
        export_checkpoint(tiny_export.checkpoint, tmp_path / "bundle")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "'t5-base'" in caplog.text


def test_graphs_that_differ_from_pytorch_are_refused(tiny_export: Exported) -> None:
    checkpoint = read_checkpoint(tiny_export.checkpoint)
    model, _ = build_model(checkpoint)

    def errors() -> dict[str, dict[str, float]]:
        with OnnxBackend(tiny_export.bundle, read_bundle(tiny_export.bundle)) as backend:
            return self_check(model, checkpoint.example, backend)

    assert errors()[AGAINST_TORCH]["readout"] < 1e-4
    position = model.positions["readout_action"].data[..., 0]
    position += 0.1
    with pytest.raises(BundleError, match=r"PyTorch: readout differs by .*, expected at most 0\.0001"):
        errors()
    position -= 0.1
    model.transformer.norm.bias.data += 3e-4
    with pytest.raises(BundleError, match=r"task_tokens differs by 0\.0003, expected at most 0\.0001"):
        errors()
    model.transformer.norm.bias.data += np.nan
    with pytest.raises(BundleError, match="nan"):
        errors()


def test_steps_that_the_head_does_not_have_are_refused(tiny_export: Exported, tmp_path: Path) -> None:
    with pytest.raises(ParameterError):
        export_checkpoint(tiny_export.checkpoint, tmp_path / "bundle", ddim=5)
    assert list(tmp_path.iterdir()) == []


def test_missing_libraries_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    find_spec = importlib.util.find_spec

    def without_torch(name: str, *rest: Any) -> Any:
        return None if name == "torch" else find_spec(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", without_torch)
    with pytest.raises(OctoRosError, match="torch: install octo_ros with its extra 'export'"):
        export_checkpoint(tmp_path / "checkpoint", tmp_path / "bundle")
