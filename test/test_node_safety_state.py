"""The state that a person sees: steadied between active and limited, said once, with its reasons."""

from __future__ import annotations

import pytest

pytest.importorskip("diagnostic_msgs", reason="ROS 2's diagnostic_msgs is not installed")

from diagnostic_msgs.msg import DiagnosticStatus

from octo_ros.nodes.safety_state import INACTIVE, LEVELS, ShownState
from octo_ros.safety.decision import FilterState, Refusal

MS = 1_000_000
WALL = Refusal("workspace z in fr3_link0", 0.71, 0.695, "m")
SPEED = Refusal("tool speed", 0.3, 0.25, "m/s")


class Seen:
    """A shown state that is told what the filter does, and remembers what it published and logged."""

    def __init__(self) -> None:
        self.shown, self.published, self.lines, self.ms = ShownState(), [], [], 10_000

    def see(self, state, *reasons, after_ms=10, why=""):
        self.ms += after_ms
        change = self.shown.see(state, reasons, self.ms * MS, self.ms * MS, why)
        if change is not None:
            self.published.append(self.shown.state)
            self.lines += [change.line] if change.line else []
        return change


@pytest.fixture
def seen():
    seen = Seen()
    seen.see("ready")
    seen.see("active", why="first accepted action")
    return seen


def test_every_state_has_a_level_and_changes_are_one_line_each(seen):
    assert set(LEVELS) == {INACTIVE, *(state.value for state in FilterState)}
    assert seen.see("stopped", Refusal("joint state age", 0.2, 0.1, "s")).level == DiagnosticStatus.ERROR
    seen.see("ready", why="reset")
    assert seen.lines == [
        "inactive -> ready",
        "ready -> active: first accepted action",
        "active -> stopped: joint state age: 0.2 s, bound 0.1 s",
        "stopped -> ready: reset",
    ]


def test_the_same_state_is_said_once(seen):
    assert all(seen.see("active") is None for _ in range(100))
    assert seen.published == ["ready", "active"]


def test_limited_is_shown_at_once_and_ends_half_a_second_after_the_last_limited_motion(seen):
    assert seen.see("limited", WALL).level == DiagnosticStatus.WARN
    for _ in range(49):
        assert seen.see("active") is None
    seen.see("limited", WALL)
    shown = [seen.see("active") is not None for _ in range(60)]
    assert shown.index(True) == 49
    assert sum(shown) == 1
    assert seen.published == ["ready", "active", "limited", "active"]


def test_an_arm_that_slides_along_a_wall_does_not_flood_the_log(seen):
    for _ in range(100):
        seen.see("limited", WALL, after_ms=100)
        seen.see("active", after_ms=550)
    limited = [line for line in seen.lines if "workspace z" in line]
    assert seen.published.count("limited") == 100
    assert 12 <= len(limited) <= 14  # in 65 s, one in five
    assert len(seen.lines) <= 2 + 2 * 14


def test_another_limit_is_shown_and_logged(seen):
    seen.see("limited", WALL)
    assert seen.see("limited", WALL, SPEED) is None  # at most twice a second
    assert seen.see("limited", WALL, SPEED, after_ms=600).line == f"limited: {WALL}; {SPEED}"
    assert seen.see("limited", WALL, SPEED, after_ms=600) is None
    assert seen.see("limited", SPEED, after_ms=600).line == ""


def test_a_stop_is_always_logged(seen):
    for _ in range(3):
        assert seen.see("stopped", SPEED).line
        assert seen.see("ready", why="reset").line
        assert seen.see("active", why="first accepted action").line


def test_the_message_says_state_since_and_reasons(seen):
    seen.see("limited", WALL)
    since = seen.ms
    seen.see("limited", WALL, SPEED, after_ms=1000)
    message = seen.shown.message("fr3.urdf")
    assert message.message == f"limited: {WALL}; {SPEED}"
    assert message.level == DiagnosticStatus.WARN
    values = {pair.key: pair.value for pair in message.values}
    assert values == {"state": "limited", "since": f"{since / 1000:.3f}", "reasons": f"{WALL}; {SPEED}"}
    assert ShownState().message("fr3.urdf").message == "inactive"
