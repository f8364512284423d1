"""What the simulated cell needs beside the simulator: a pace, and a way to render."""

from __future__ import annotations

import ctypes.util

import pytest

from octo_ros.nodes.sim_pace import MOST_AT_ONCE, Pace
from octo_ros.sim import rendering


def test_steps_come_at_their_rate_however_often_one_asks():
    pace, taken, now = Pace(0.01, 1.0, 100.0), 0, 100.0
    for _ in range(1000):
        now += 0.0037
        taken += pace.due(now)
    assert taken == 370
    assert pace.dropped_s == 0.0


def test_a_factor_makes_simulated_time_faster_and_slower():
    assert Pace(0.01, 5.0, 0.0).due(0.01) == 5
    slow = Pace(0.01, 0.5, 0.0)
    assert [slow.due(0.01), slow.due(0.02)] == [0, 1]


def test_what_cannot_be_caught_up_is_dropped():
    pace = Pace(0.01, 1.0, 0.0)
    assert pace.due(1.0) == MOST_AT_ONCE
    assert pace.due(1.0) == 0
    assert pace.dropped_s == pytest.approx(1.0 - MOST_AT_ONCE * 0.01)
    assert pace.due(1.01) == 1


@pytest.mark.parametrize(
    ("installed", "expected"), [({"EGL", "OSMesa"}, "egl"), ({"OSMesa"}, "osmesa"), (set(), "disable")]
)
def test_the_renderer_is_one_whose_library_is_installed(monkeypatch, installed, expected):
    monkeypatch.setattr(rendering.sys, "platform", "linux")
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: name if name in installed else None)
    monkeypatch.setenv("MUJOCO_GL", "")
    monkeypatch.delenv("MUJOCO_GL")
    assert rendering.choose_backend() == expected


def test_a_renderer_that_the_user_names_is_kept(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    assert rendering.choose_backend() == "glfw"
