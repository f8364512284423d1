"""`octo_ros evaluate` through the three real processes. Needs robosuite and a way to render."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")
pytest.importorskip("octo_ros.sim.scene", reason="robosuite is not installed: no simulated cell")
pytest.importorskip("matplotlib", reason="matplotlib (the extra 'replay') is not installed")

from PIL import Image

from octo_ros import cli
from octo_ros.evaluation.film import MOST_BYTES
from octo_ros.resources import share_path
from octo_ros.sim.tasks import COLORS

BUNDLE = str(share_path("demo/bundle"))


def test_a_scene_is_run_with_both_words_through_the_nodes_counted_and_filmed(tmp_path, capsys):
    arguments = [
        "evaluate",
        BUNDLE,
        "--episodes",
        "1",
        "--seed",
        "3",
        "--episode-s",
        "3",
        "--swap",
        "--gif",
        "1",
    ]
    assert cli.main([*arguments, "--out", str(tmp_path)]) == 0
    assert "0/2 = 0%" in capsys.readouterr().out
    (setting,) = json.loads((tmp_path / "evaluation.json").read_text())["settings"]
    assert list(setting["by_instruction"]) == ["lift the red cube", "lift the green cube"]
    for episode in setting["episodes"]:
        assert episode["seed"] == 3 and episode["approached"] in (*COLORS, "none")
        assert 20 <= episode["actions"] <= 31  # of 30 at 10 Hz: the clock waits for each of them
        assert episode["age_s"] < 0.2
        assert 2.9 < episode["seconds"] < 3.5
    assert setting["approached_changes_with_words"]["trials"] == 1
    assert (tmp_path / "evaluation.md").is_file() and (tmp_path / "evaluation.png").is_file()
    with Image.open(tmp_path / "episode.gif") as film:
        assert 15 <= film.n_frames <= 32
    assert (tmp_path / "episode.gif").stat().st_size < MOST_BYTES


def test_pictures_that_come_late_make_actions_old_and_none_of_them_is_refused_for_it(tmp_path):
    from octo_ros.evaluation.settings import late_pictures
    from octo_ros.nodes.evaluator import evaluate

    result = evaluate(
        share_path("demo/bundle"), "ur5e", late_pictures(0.3), tmp_path, episodes=1, episode_s=2.0, speed=2.0
    )
    assert 0.3 <= result.age_s <= 0.5
    (episode,) = result.episodes
    assert episode.actions >= 10
    assert "action age" not in (tmp_path / "safety_filter_node.log").read_text()


@pytest.mark.parametrize(
    ("wrong", "expected"), [("--speed=9", "at most 4"), ("--episodes=0", "episodes"), ("--gif=-1", "film")]
)
def test_a_mistake_is_one_line(tmp_path, capsys, wrong, expected):
    assert cli.main(["evaluate", BUNDLE, wrong, "--out", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and expected in error


def test_a_bundle_without_a_tokenizer_is_refused_before_anything_runs(bundle, tmp_path, capsys):
    assert cli.main(["evaluate", str(bundle), "--out", str(tmp_path / "out")]) == 1
    assert "takes no sentences; export it again with --tokenizer" in capsys.readouterr().err
