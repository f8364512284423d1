"""Damaged checkpoints through the command line: one line that names the file, and nothing left behind."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed (extra 'export')")
pytest.importorskip("onnxscript", reason="onnxscript is not installed (extra 'export')")
pytest.importorskip("msgpack", reason="msgpack is not installed (extra 'export')")
pytest.importorskip("sentencepiece", reason="sentencepiece is not installed (extra 'export')")

from checkpoint_damage import ALL  # noqa: E402
from official_checkpoint import tiny_config, tiny_example, tiny_weights, write_checkpoint  # noqa: E402

from octo_ros import cli  # noqa: E402
from octo_ros.export import bundle as bundle_module  # noqa: E402


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    return tiny_weights(tiny_config(), tiny_example())


def test_there_are_many_kinds_of_damage() -> None:
    assert len(ALL) >= 100


@pytest.mark.parametrize("name", ALL)
def test_damage_is_one_line_that_names_the_file_and_leaves_nothing(
    tmp_path: Path,
    weights: dict[str, np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    name: str,
) -> None:
    def accepted(*_: object) -> None:
        raise AssertionError("the damage was not seen before graphs are written")

    monkeypatch.setattr(bundle_module, "write_graphs", accepted)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "no_cache"))
    damage = ALL[name]
    directory, parent = tmp_path / "checkpoint", tmp_path / "bundles"
    write_checkpoint(directory, weights=weights)
    damage.edit(directory)
    parent.mkdir()
    options = [option.format(directory) for option in damage.options]
    assert cli.main(["export", str(directory), str(parent / "deep" / "bundle"), *options]) == 1
    captured = capfd.readouterr()
    (line,) = captured.err.strip().splitlines()
    assert line.startswith("octo_ros: ") and captured.out == ""
    named = damage.named if "://" in damage.named else str(directory / damage.named)
    assert named in line
    assert re.search(damage.said, line), line
    assert list(parent.iterdir()) == []
