"""Which scene `octo_ros demo` shows."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("rich", reason="rich is not installed (the extra 'replay')")

from octo_ros.errors import ParameterError
from octo_ros.nodes import demo_cell


def test_it_is_the_cell_where_that_runs(monkeypatch):
    monkeypatch.setattr(demo_cell, "missing", lambda: "")
    assert demo_cell.chosen_scene(None) == ("cell", "")
    assert demo_cell.chosen_scene("bag") == ("bag", "")


def test_elsewhere_it_is_the_bag_and_it_says_why(monkeypatch):
    monkeypatch.setattr(demo_cell, "missing", lambda: "robosuite is not installed")
    assert demo_cell.chosen_scene(None) == ("bag", "robosuite is not installed")
    with pytest.raises(ParameterError, match="--scene cell: robosuite is not installed"):
        demo_cell.chosen_scene("cell")


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(demo_cell.importlib.util, "find_spec", lambda name: None)
    assert "make sim" in demo_cell.missing()


def test_a_robot_that_the_cell_does_not_have_is_refused(tmp_path):
    with pytest.raises(ParameterError, match="the simulated cell has panda, ur5e, got 'fr3'"):
        demo_cell.run_cell_demo(robot="fr3", out=tmp_path, episodes=1)
