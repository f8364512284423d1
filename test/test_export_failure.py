"""An export that fails on its way, or may not write, leaves the target and its folder as they were."""

from __future__ import annotations

import errno
import resource
import signal
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed (extra 'export')")
pytest.importorskip("onnxscript", reason="onnxscript is not installed (extra 'export')")

from reference_bundles import Exported, reuse_graphs  # noqa: E402

from octo_ros import cli  # noqa: E402
from octo_ros.errors import BundleError  # noqa: E402
from octo_ros.export import bundle as bundle_module  # noqa: E402
from octo_ros.export import export_checkpoint  # noqa: E402


@pytest.fixture(autouse=True)
def no_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No tokenizer of the machine's own."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path_factory.mktemp("hub")))


class BrokenError(Exception):
    """Stands for anything that goes wrong in the middle."""


def broken(*_: Any) -> Any:
    raise BrokenError


@pytest.mark.parametrize(
    "stage",
    ["read_checkpoint", "build_model", "language_entry", "write_graph", "self_check", "describe", "complete"],
)
def test_a_failure_leaves_nothing_behind(
    tiny_export: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    if stage != "write_graph":
        reuse_graphs(monkeypatch, tiny_export)
    monkeypatch.setattr(bundle_module, stage, broken)
    with pytest.raises(BrokenError):
        export_checkpoint(tiny_export.checkpoint, tmp_path / "deep" / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_among_the_graphs_leaves_nothing_behind(
    tiny_export: Exported,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The first graph is really written, then Ctrl-C comes."""
    write_graph = bundle_module.write_graph
    partial: list[str] = []

    def interrupted(stages: Any, name: str, inputs: Any, directory: Path, weights: Any) -> Any:
        if name != "language":
            partial.extend(path.name for path in directory.iterdir())
            signal.raise_signal(signal.SIGINT)
        return write_graph(stages, name, inputs, directory, weights)

    monkeypatch.setattr(bundle_module, "write_graph", interrupted)
    assert cli.main(["export", str(tiny_export.checkpoint), str(tmp_path / "deep" / "bundle")]) == 130
    assert capfd.readouterr().err.strip().splitlines()[-1] == "octo_ros: interrupted"
    assert set(partial) == {"language.onnx", "weights.bin"}
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_no_more_is_one_line_and_leaves_nothing_behind(
    tiny_export: Exported, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The system itself refuses: no file may grow beyond 20 kB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        status = cli.main(["export", str(tiny_export.checkpoint), str(tmp_path / "deep" / "bundle")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert status == 1
    (line,) = (line for line in capfd.readouterr().err.splitlines() if line.startswith("octo_ros: "))
    assert f"{tmp_path / 'deep' / 'bundle'}: cannot be written: " in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stage", ["write_graphs", "complete"])
def test_a_full_disk_is_named(
    tiny_export: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    def full(*_: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    reuse_graphs(monkeypatch, tiny_export)
    monkeypatch.setattr(bundle_module, stage, full)
    with pytest.raises(BundleError, match=r"bundle: cannot be written: .*No space left on device"):
        export_checkpoint(tiny_export.checkpoint, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def snapshot(folder: Path) -> list[tuple[str, bytes | None]]:
    """Everything below a folder."""
    return sorted((str(path), path.read_bytes() if path.is_file() else None) for path in folder.rglob("*"))


@pytest.mark.parametrize("content", ["full folder", "file", "link", "link to nothing"])
def test_a_target_with_something_in_it_is_refused_and_kept(
    tiny_export: Exported, tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    target, kept = tmp_path / "bundle", tmp_path / "kept"
    kept.mkdir()
    (kept / "mine.txt").write_text("mine")
    if content == "full folder":
        kept.rename(target)
    elif content == "file":
        target.write_text("mine")
    else:
        target.symlink_to(kept if content == "link" else tmp_path / "nothing")
    before = snapshot(tmp_path)
    assert cli.main(["export", str(tiny_export.checkpoint), str(target)]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"{target}: expected a folder that does not exist yet or is empty" in line
    assert snapshot(tmp_path) == before


def test_a_target_that_is_filled_meanwhile_is_refused_and_kept(
    tiny_export: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "bundle"

    def fill(*_: Any) -> dict[str, Any]:
        target.mkdir()
        (target / "mine.txt").write_text("mine")
        return {}

    reuse_graphs(monkeypatch, tiny_export)
    monkeypatch.setattr(bundle_module, "self_check", fill)
    with pytest.raises(BundleError, match="expected a folder that does not exist yet or is empty"):
        export_checkpoint(tiny_export.checkpoint, target)
    assert snapshot(tmp_path) == [(str(target), None), (str(target / "mine.txt"), b"mine")]


@pytest.mark.parametrize("target", ["file/bundle", f"{'a' * 300}/bundle", f"deep/{'a' * 300}"])
def test_a_target_that_cannot_be_written_is_refused(
    tiny_export: Exported, tmp_path: Path, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert cli.main(["export", str(tiny_export.checkpoint), str(tmp_path / target)]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"{tmp_path / target}: cannot be written: " in line
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
