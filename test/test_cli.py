"""The command line: every verb, and a user's mistakes in one line."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from xml.etree import ElementTree

import pytest

import octo_ros.export
from octo_ros import cli
from octo_ros.engine.bundle import read_bundle
from octo_ros.errors import ParameterError
from octo_ros.resources import ROBOTS, robot_urdf, share_path
from octo_ros.verbs import export, replay

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
    monkeypatch.setattr(export, "run", _needs_torch)
    assert cli.main(["export", str(tmp_path), str(tmp_path / "bundle")]) == 1
    assert "extra 'export'" in capsys.readouterr().err


def test_export_hands_on_every_option_and_prints_errors_by_comparison(bundle, monkeypatch, capsys, tmp_path):
    checks = {"one against two": {"readout": 1e-6, "actions": 2e-4}, "two against three": {"readout": 0.0}}
    given = {}

    def exported(checkpoint, target, *, progress, **options):
        progress("done", 1, 1)
        given.update(options, checkpoint=checkpoint, target=target)
        return dataclasses.replace(read_bundle(bundle), checks=checks)

    monkeypatch.setattr(octo_ros.export, "export_checkpoint", exported)
    address, target = "hf://rail-berkeley/octo-small-1.5", tmp_path / "bundle"
    options = ["--step", "7", "--tokenizer", "hf://google-t5/t5-base", "--dataset", "second"]
    options += ["--notice", "Beware.", "--license", "CC BY 4.0", "--ddim", "10", "--no-crop"]
    assert cli.main(["export", address, str(target), *options]) == 0
    assert given == {
        "checkpoint": address,
        "target": target,
        "step": 7,
        "tokenizer": "hf://google-t5/t5-base",
        "dataset": "second",
        "notice": "Beware.",
        "license": "CC BY 4.0",
        "ddim": 10,
        "center_crop": False,
    }
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{target}: cameras ")
    assert lines[1:] == [
        "one against two: readout 1.0e-06, actions 2.0e-04",
        "two against three: readout 0.0e+00",
    ]


def test_a_robot_whose_meshes_are_missing_is_replayed_without_distances_only_when_asked(tmp_path, capsys):
    tree, robot = ElementTree.parse(robot_urdf("ur5e")), tmp_path / "robot.urdf"
    geometry = tree.find("link[@name='forearm_link']/collision/geometry")
    geometry[:] = [ElementTree.Element("mesh", filename="package://nowhere/forearm.stl")]
    tree.write(robot)
    arguments = ["replay", BAG, *DEMO[:-1], str(robot), "--out", str(tmp_path / "out")]
    assert cli.main(arguments) == 1
    message = capsys.readouterr().err
    assert "forearm" in message and "--no-check-collisions" in message
    assert cli.main([*arguments, "--no-check-collisions"]) == 0


def _needs_torch(_):
    raise ModuleNotFoundError("No module named 'torch'", name="torch")


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch):
    def missing(_):
        raise ModuleNotFoundError("No module named 'octo_ros.nothing'", name="octo_ros.nothing")

    monkeypatch.setattr(replay, "run", missing)
    with pytest.raises(ModuleNotFoundError):
        cli.main(["replay", BAG, *DEMO, "--out", "unused"])


def test_an_option_is_not_taken_for_another_that_begins_like_it(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["verify", "bundle", "--frames", "3"])
    assert ended.value.code == 2
    assert "unrecognized arguments: --frames 3" in capsys.readouterr().err


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
    command = [
        sys.executable,
        "-m",
        "octo_ros.cli",
        "demo",
        "--scene",
        "bag",
        "--episodes",
        "1",
        "--out",
        str(out),
    ]
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
