"""The command line: every verb, and a user's mistakes in one line."""

from __future__ import annotations

import subprocess
import sys

import pytest

from octo_ros import cli
from octo_ros.engine.bundle import read_bundle
from octo_ros.errors import ParameterError
from octo_ros.resources import ROBOTS, robot_urdf, share_path

DEMO = ["--bundle", str(share_path("demo/bundle")), "--robot", "fr3"]
BAG = str(share_path("demo/bag"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["replay", "/no/bag", *DEMO], "/no/bag"),
        (["replay", BAG, "--bundle", BAG, "--robot", "fr3"], "manifest.json"),
        (["replay", BAG, *DEMO[:-1], "fr9"], "fr9"),
        (["replay", BAG, *DEMO, "--dataset", "nothing"], "bridge_dataset"),
        (["replay", BAG, *DEMO, "--topic", "primary"], "NAME=/topic"),
        (["replay", BAG, *DEMO, "--topic", "primary=/none"], "/none"),
        (["replay", BAG, *DEMO, "--rate", "0"], "rate"),
        (["replay", BAG, *DEMO, "--data-rate", "-1"], "data_rate_hz"),
    ],
)
def test_a_mistake_is_one_line_on_stderr_and_leaves_nothing(arguments, expected, capsys, tmp_path):
    out = tmp_path / "out"
    assert cli.main([*arguments, "--out", str(out)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.strip().splitlines()
    assert line.startswith("octo_ros: ") and expected in line
    assert list(tmp_path.iterdir()) == []


def test_export_says_which_extra_is_missing(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(cli, "_export", _needs_torch)
    assert cli.main(["export", str(tmp_path), str(tmp_path / "bundle")]) == 1
    assert "extra 'export'" in capsys.readouterr().err


def _needs_torch(_):
    raise ModuleNotFoundError("No module named 'torch'", name="torch")


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch):
    def missing(_):
        raise ModuleNotFoundError("No module named 'octo_ros.nothing'", name="octo_ros.nothing")

    monkeypatch.setattr(cli, "_replay", missing)
    with pytest.raises(ModuleNotFoundError):
        cli.main(["replay", BAG, *DEMO, "--out", "unused"])


def test_the_shipped_bundle_says_that_its_weights_are_random():
    manifest = read_bundle(share_path("demo/bundle"))
    assert "RANDOM WEIGHTS" in manifest.notice
    assert manifest.language is not None and manifest.language.tokenizer_file is not None


def test_shipped_files_are_found_and_others_are_an_error():
    for robot in ROBOTS:
        assert robot_urdf(robot).is_file()
        assert share_path(f"config/{robot}.yaml").is_file()
    with pytest.raises(ParameterError, match="urdf/none.urdf"):
        share_path("urdf/none.urdf")


def test_demo_leaves_a_directory_that_is_not_a_demos(tmp_path, capsys):
    pytest.importorskip("rclpy", reason="rclpy is not installed")
    assert cli.main(["demo", "--out", str(tmp_path), "--episodes", "0"]) == 1
    assert "episodes" in capsys.readouterr().err
    (tmp_path / "thesis.tex").touch()
    assert cli.main(["demo", "--out", str(tmp_path)]) == 1
    assert "thesis.tex" in capsys.readouterr().err
    assert (tmp_path / "thesis.tex").exists()


def test_demo_plays_an_episode_to_the_real_nodes(tmp_path):
    pytest.importorskip("rclpy", reason="rclpy is not installed")
    out = tmp_path / "demo"
    command = [sys.executable, "-m", "octo_ros.cli", "demo", "--episodes", "1", "--out", str(out)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=180)
    logs = "\n".join(path.read_text() for path in (out / "logs").iterdir())
    assert result.returncode == 0, result.stdout + result.stderr + logs
    summary = dict(
        line.strip().split(maxsplit=1) for line in result.stdout.split("summary")[1].strip().splitlines()
    )
    assert summary["frames"].split()[1] == "10"
    assert int(summary["actions"].split()[1]) >= 5
    assert int(summary["commands"].split()[0]) >= 5
    assert "RANDOM WEIGHTS" in summary["weights"] and "RANDOM WEIGHTS" in logs
    assert (out / "report" / "report.html").stat().st_size > 10_000
    assert "Traceback" not in logs
