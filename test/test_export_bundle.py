"""export_checkpoint as a whole: what it writes, what it refuses, and that it leaves nothing behind."""

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

from official_checkpoint import LENGTH, STEP, VOCABULARY, tiny_config, write_checkpoint  # noqa: E402

from octo_ros.engine.bundle import Camera, read_bundle  # noqa: E402
from octo_ros.engine.graphs import check_graphs  # noqa: E402
from octo_ros.errors import BundleError, CheckpointError, OctoRosError, StatisticsError  # noqa: E402
from octo_ros.export import bundle as bundle_module  # noqa: E402
from octo_ros.export import export_checkpoint  # noqa: E402
from octo_ros.export import onnx as onnx_module  # noqa: E402
from octo_ros.export.bundle import build_model  # noqa: E402
from octo_ros.export.checkpoint import read_checkpoint  # noqa: E402
from octo_ros.export.self_check import self_check  # noqa: E402

TOKENIZER = Path(__file__).parent / "data" / "tokenizer" / "tokenizer.json"
RANDOM_OPERATORS = {
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Bernoulli",
    "Multinomial",
}


@pytest.fixture(scope="module", autouse=True)
def no_cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """No tokenizer of the machine's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_CACHE", str(tmp_path_factory.mktemp("hub")))
        yield


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture(scope="module")
def exported(checkpoint: Path) -> Path:
    """One bundle that the tests only read."""
    target = checkpoint.parent / "bundles" / "tiny"
    export_checkpoint(checkpoint, target, dataset="second", notice="Random weights.")
    return target


def test_manifest_says_what_the_checkpoint_is(exported: Path) -> None:
    manifest = read_bundle(exported)
    check_graphs(manifest, str(exported))
    assert manifest.notice == "Random weights."
    assert (manifest.window, manifest.horizon, manifest.action_dim) == (2, 3, 7)
    assert manifest.proprio_size is None
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
    assert list(manifest.statistics) == ["first", "second"]
    assert manifest.default_dataset == "second"
    assert manifest.checkpoint["name"] == "tiny"
    assert manifest.checkpoint["step"] == STEP
    assert set(manifest.checkpoint["self_check"]) >= {"readout", "task_tokens", "language_tokens"}
    assert all(0 <= error <= 2e-3 for error in manifest.checkpoint["self_check"].values())
    assert set(manifest.versions) >= {"octo_ros", "torch", "onnxruntime"}


def test_manifest_is_json_for_people(exported: Path) -> None:
    text = (exported / "manifest.json").read_text()
    assert json.loads(text)["format"] == "octo_ros bundle"
    assert text.count("\n") > 50


def test_graphs_are_valid_and_draw_no_noise(exported: Path) -> None:
    for graph in read_bundle(exported).graphs.values():
        model = onnx.load(exported / graph.file)
        onnx.checker.check_model(model, full_check=True)
        assert [entry.version for entry in model.opset_import if entry.domain == ""] == [18]
        assert {entry.domain for entry in model.opset_import} == {""}
        operators = {node.op_type for node in model.graph.node}
        assert not operators & RANDOM_OPERATORS
        assert not operators & {"Dropout", "Loop", "If", "Scan"}
        sizes = [dim for entry in model.graph.input for dim in entry.type.tensor_type.shape.dim]
        assert all(dim.HasField("dim_value") for dim in sizes)


def test_graphs_carry_no_path_of_the_machine_that_wrote_them(exported: Path, checkpoint: Path) -> None:
    here = (str(Path(__file__).resolve().parent.parent), str(checkpoint.parent))
    for path in exported.iterdir():
        content = path.read_bytes()
        assert not any(place.encode() in content for place in here)


def test_a_second_export_is_the_same_to_the_byte(checkpoint: Path, exported: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    again.mkdir()  # an empty folder is taken
    export_checkpoint(checkpoint, again, dataset="second", notice="Random weights.")
    assert sorted(path.name for path in again.iterdir()) == sorted(path.name for path in exported.iterdir())
    for path in again.iterdir():
        assert path.read_bytes() == (exported / path.name).read_bytes()


def test_a_bundle_can_be_read_by_others(exported: Path) -> None:
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(exported.stat().st_mode) == 0o777 & ~mask


def test_tokenizer_is_copied_and_progress_is_told(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bundle_module, "self_check", lambda *arguments: {})
    monkeypatch.setattr(bundle_module, "vocabulary_size", lambda path: VOCABULARY)
    monkeypatch.setattr(onnx_module, "LARGEST_FILE", 0)
    stages: list[tuple[str, int, int]] = []
    manifest = export_checkpoint(
        checkpoint, tmp_path / "b", tokenizer=TOKENIZER, progress=lambda *stage: stages.append(stage)
    )
    assert manifest.language.tokenizer_file == "tokenizer.json"
    assert (tmp_path / "b" / "tokenizer.json").read_bytes() == TOKENIZER.read_bytes()
    assert [done for _, done, _ in stages] == list(range(len(stages)))
    assert stages[-1] == ("done", stages[-1][2], stages[-1][2])
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""  # the exporter's own chatter is kept away
    # Weights beyond the size of one ONNX file lie beside it, listed and hashed, and the graph still runs.
    assert "policy.onnx.data" in read_bundle(tmp_path / "b").files
    model, _ = build_model(read_checkpoint(checkpoint))
    errors = self_check(model, read_checkpoint(checkpoint).example, tmp_path / "b")
    assert max(errors.values()) < 1e-4


def test_without_a_tokenizer_one_warning_says_so(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bundle_module, "write_graph", _broken)
    with caplog.at_level(logging.WARNING), pytest.raises(_BrokenError):
        export_checkpoint(checkpoint, tmp_path / "bundle")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "'t5-base'" in caplog.text


class _BrokenError(Exception):
    """Stands for anything that goes wrong in the middle."""


def _broken(*arguments: Any) -> Any:
    raise _BrokenError


@pytest.mark.parametrize(
    "stage", ["read_checkpoint", "build_model", "write_graph", "self_check", "_manifest"]
)
def test_a_failure_leaves_nothing_behind(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    if stage in ("self_check", "_manifest"):
        monkeypatch.setattr(bundle_module, "write_graph", lambda *arguments: None)
        monkeypatch.setattr(bundle_module, "self_check", lambda *arguments: {})
    monkeypatch.setattr(bundle_module, stage, _broken)
    with pytest.raises(_BrokenError):
        export_checkpoint(checkpoint, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_graphs_that_differ_from_pytorch_are_refused(
    checkpoint: Path, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = build_model(read_checkpoint(checkpoint))
    example = read_checkpoint(checkpoint).example
    assert self_check(model, example, exported)["readout"] < 1e-4
    model.transformer.norm.bias.data += 3e-4
    with pytest.raises(BundleError, match=r"readout: .* by 0\.0003, expected at most 0\.0001"):
        self_check(model, example, exported)
    model.transformer.norm.bias.data += np.nan
    with pytest.raises(BundleError, match="nan"):
        self_check(model, example, exported)


@pytest.mark.parametrize("content", ["full folder", "file", "link"])
def test_a_target_with_something_in_it_is_refused_and_kept(
    checkpoint: Path, tmp_path: Path, content: str
) -> None:
    target, kept = tmp_path / "bundle", tmp_path / "kept"
    kept.mkdir()
    (kept / "mine.txt").write_text("mine")
    if content == "full folder":
        kept.rename(target)
    elif content == "file":
        target.write_text("mine")
    else:
        target.symlink_to(kept)
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    with pytest.raises(BundleError, match="expected a folder that does not exist yet or is empty"):
        export_checkpoint(checkpoint, target)
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


def test_a_target_that_cannot_be_written_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="cannot be written"):
        export_checkpoint(checkpoint, tmp_path / "file" / "bundle")


def test_a_data_set_that_is_not_there_is_refused_with_those_that_are(
    checkpoint: Path, tmp_path: Path
) -> None:
    with pytest.raises(StatisticsError, match=r"'third'.*\['first', 'second'\]"):
        export_checkpoint(checkpoint, tmp_path / "bundle", dataset="third")


def test_a_tokenizer_with_ids_beyond_the_embedding_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    with pytest.raises(CheckpointError, match=f"expected ids below {VOCABULARY}, .*'t5-base'"):
        export_checkpoint(checkpoint, tmp_path / "bundle", tokenizer=TOKENIZER)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("tokenizer_kwargs", {"max_length": LENGTH + 1}, "max_length: expected 6"),
        ("encode_with_model", True, "encode_with_model"),
    ],
)
def test_a_text_processor_that_does_not_fit_is_refused(
    tmp_path: Path, field: str, value: object, said: str
) -> None:
    config = tiny_config()
    config["text_processor"]["kwargs"][field] = value
    checkpoint = write_checkpoint(tmp_path / "checkpoint", config=config)
    with pytest.raises(CheckpointError, match=said):
        export_checkpoint(checkpoint, tmp_path / "bundle")


def test_a_checkpoint_without_a_text_processor_is_refused(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint", config={**tiny_config(), "text_processor": None})
    with pytest.raises(CheckpointError, match="text_processor"):
        export_checkpoint(checkpoint, tmp_path / "bundle")


def test_missing_libraries_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "torch" else find_spec(name, *rest)
    )
    with pytest.raises(OctoRosError, match="torch: install octo_ros with its extra 'export'"):
        export_checkpoint(tmp_path / "checkpoint", tmp_path / "bundle")
