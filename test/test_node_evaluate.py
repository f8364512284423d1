"""`octo_ros evaluate` through the three real processes. Needs robosuite and a way to render."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")
pytest.importorskip("robosuite", reason="robosuite is not installed: no simulated cell")

from octo_ros import cli
from octo_ros.resources import share_path


def test_episodes_of_a_policy_without_skill_are_counted_as_failures(tmp_path, capsys):
    arguments = ["evaluate", str(share_path("demo/bundle")), "--episodes", "2", "--episode-s", "3"]
    arguments += ["--seed", "3", "--set", "policy.cameras=[primary]", "--out", str(tmp_path)]
    assert cli.main(arguments) == 0
    assert "0/2 = 0%" in capsys.readouterr().out
    (setting,) = json.loads((tmp_path / "evaluation.json").read_text())["settings"]
    assert list(setting["by_instruction"]) == ["lift the red cube", "lift the green cube"]
    assert [episode["seed"] for episode in setting["episodes"]] == [3, 4]
    assert all(episode["actions"] >= 15 for episode in setting["episodes"])  # of 30 at 10 Hz
    assert all(2.0 < episode["seconds"] < 6.0 for episode in setting["episodes"])
