"""`octo_ros bench` on a small bundle: every way runs, and the report can be read by a program."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed (extra 'export')")
pytest.importorskip("onnxscript", reason="onnxscript is not installed (extra 'export')")
pytest.importorskip("msgpack", reason="msgpack is not installed (extra 'export')")

from octo_ros.benchmark.measure import Setup, Timing, measure  # noqa: E402
from octo_ros.benchmark.sizes import SIZES, official_config, official_example  # noqa: E402
from octo_ros.cli import main  # noqa: E402
from octo_ros.errors import OctoRosError, ParameterError  # noqa: E402
from octo_ros.export.checkpoint import read_checkpoint  # noqa: E402
from octo_ros.model.inputs import read_inputs  # noqa: E402
from octo_ros.model.official import read_config  # noqa: E402


def test_every_way_is_measured(reference_bundles, tmp_path: Path, capsys) -> None:
    exported = reference_bundles.own("gated_t5_binned_proprio")
    file = tmp_path / "report.json"
    arguments = ["bench", str(exported.bundle), "--checkpoint", str(exported.checkpoint)]
    assert main([*arguments, "--steps", "2", "--threads", "1", "--json", str(file)]) == 0
    report = json.loads(file.read_text())
    shown = capsys.readouterr().out
    labels = [row["setup"]["label"] for row in report["measurements"]]
    assert labels[0] == "PyTorch eager, whole"
    assert {"whole graph", "stages", "stages, no memory arena", "stages, 1 thread"} <= set(labels)
    for row in report["measurements"]:
        assert row["setup"]["label"] in shown
        assert 0 < row["critical"]["p50"] <= row["critical"]["p95"] <= row["critical"]["p99"]
        assert row["work"]["p50"] >= row["critical"]["p50"]
        assert row["peak_bytes"] > row["weights_bytes"] > 0
    assert report["machine"] and report["versions"]["onnxruntime"]


def test_a_whole_graph_alone_is_measured_too(bundle: Path, capsys) -> None:
    assert main(["bench", str(bundle), "--steps", "1"]) == 0
    assert "whole graph" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected a bundle or --size"),
        (["x", "--size", "small"], "expected a bundle or --size"),
        (["x", "--steps", "0"], "--steps: expected at least 1, got 0"),
        (["x", "--rounds", "-1"], "--rounds: expected at least 1, got -1"),
        (["absent"], "absent: not an octo_ros bundle"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], message: str, capsys) -> None:
    assert main(["bench", *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_process_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(OctoRosError, match=r"bench: broken: .*not an octo_ros bundle"):
        measure(Setup("broken", "stages", str(tmp_path)), 1)


def test_percentiles() -> None:
    timing = Timing.of(np.arange(101) / 100)
    assert (timing.p50, timing.p95, timing.p99) == pytest.approx((0.5, 0.95, 0.99))


@pytest.mark.parametrize("size", SIZES)
def test_a_size_is_the_released_configuration(size: str) -> None:
    config = read_config(official_config(size), "config.json")
    inputs = read_inputs(config, official_example(), "example_batch.msgpack")
    assert inputs.images == {"image_primary": (256, 256), "image_wrist": (128, 128)}
    assert (inputs.window, inputs.language_tokens, config.head.action_horizon) == (2, 16, 4)
    assert config.repeat_task_tokens and config.use_correct_attention
    assert config.transformer.num_layers == 12


def test_an_unknown_size() -> None:
    with pytest.raises(ParameterError, match="expected one of small, base, got 'huge'"):
        official_config("huge")


def test_a_small_checkpoint_is_written_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the official layout; the real sizes are too large for a test."""
    from octo_ros.benchmark import sizes
    from octo_ros.model.t5 import T5Sizes

    monkeypatch.setitem(sizes.SIZES, "tiny", (32, 1, 2, 40))
    monkeypatch.setattr(sizes, "T5_BASE", T5Sizes(50, 8, 8, 12, layers=1, heads=2, buckets=8, gated=False))
    prepared = sizes.prepare_size("tiny", tmp_path, ddim=4)
    assert read_checkpoint(prepared.checkpoint).step == sizes.STEP
    assert {"DDIM against DDPM", "DDPM against DDPM", "int8 against float32"} <= set(prepared.checks)
    again = sizes.prepare_size("tiny", tmp_path, ddim=4)  # what is there is taken
    assert again == prepared
