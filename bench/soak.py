"""Runs the real nodes for a long time at 10 Hz and looks for what only time shows.

Every 20 seconds the camera falls silent for a second: the filter must say STOPPED within its
timeout and one period, must stay so when the camera comes back, and go on only after a reset.
Prints memory of each process at the start and the end, the actions, and the stops.

    .venv/bin/python bench/soak.py --minutes 30
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from rich.console import Console

from octo_ros.bags.player import messages
from octo_ros.nodes.demo import FRAMES, RESET_S, Cell, isolate_dds, started_nodes
from octo_ros.nodes.processes import NodeProcess
from octo_ros.resources import share_path

RATE_HZ = 10.0
CYCLE_S = 20.0
SILENCE_S = 1.0
STOP_BOUND_S = 0.3 + 0.1  # action timeout and one 10 Hz period, from the last action


class Watcher:
    """Remembers every change of the filter's state."""

    def __init__(self, cell: Cell) -> None:
        self.changes: list[tuple[float, str, str]] = []  # monotonic time [s], state, message
        cell.create_subscription(DiagnosticStatus, "octo/safety_decision", self._on_decision, 50)

    def state(self) -> str:
        """The newest state the filter reported."""
        return self.changes[-1][1] if self.changes else ""

    def stops(self, begin: float) -> list[tuple[float, str]]:
        """When the filter stopped since `begin`, and why."""
        return [(when, why) for when, state, why in self.changes if state == "stopped" and when >= begin]

    def _on_decision(self, message: DiagnosticStatus) -> None:
        state = next(value.value for value in message.values if value.key == "state")
        if state != self.state():
            self.changes.append((time.monotonic(), state, message.message))


def spin(cell: Cell, seconds: float) -> None:
    """Serves the cell's subscriptions for a while."""
    due = time.monotonic() + seconds
    while (left := due - time.monotonic()) > 0:
        rclpy.spin_once(cell, timeout_sec=left)


def show_for(cell: Cell, frames, seconds: float) -> None:
    """Publishes frames at `RATE_HZ` for a while."""
    begun = time.monotonic()
    for tick in range(int(seconds * RATE_HZ)):
        spin(cell, begun + tick / RATE_HZ - time.monotonic())
        cell.show(next(frames))


@dataclass
class Soak:
    """What a run showed.

    Attributes:
        first: resident memory of each process after the first cycle [byte].
        last: the same at the end [byte].
        delays: from the last action to the stop, one per silence [s]; infinite where none came.
        early: reasons of stops while frames were coming.
        restarts: how often the filter moved again without a reset.
    """

    first: dict[str, int] = field(default_factory=dict)
    last: dict[str, int] = field(default_factory=dict)
    delays: list[float] = field(default_factory=list)
    early: list[str] = field(default_factory=list)
    restarts: int = 0

    def growth(self) -> dict[str, float]:
        """Share by which each process grew."""
        return {name: self.last[name] / self.first[name] - 1 for name in self.first}

    def missed(self) -> int:
        """Stops that came later than the bound, or never."""
        return sum(delay > STOP_BOUND_S for delay in self.delays)


def soak(cell: Cell, nodes: dict[str, NodeProcess], minutes: float, console: Console) -> Soak:
    """Runs cycles of frames, silence, and frames without a reset, for a number of minutes."""
    frames = itertools.cycle([message for _, _, message in messages(share_path("demo/bag"), (FRAMES,))])
    watcher, result = Watcher(cell), Soak()
    end = time.monotonic() + minutes * 60
    while time.monotonic() < end:
        nodes["safety_filter_node"].trigger(cell, "reset", RESET_S)
        cell.begin("put carrot on plate")
        begun = time.monotonic()
        show_for(cell, frames, CYCLE_S)
        silent = time.monotonic()
        spin(cell, SILENCE_S)
        stops = watcher.stops(begun)
        result.early += [why for when, why in stops if when < silent]
        actions = cell.episodes[-1].actions
        result.delays += [stops[-1][0] - actions[-1] if stops else math.inf]
        show_for(cell, frames, SILENCE_S)
        result.restarts += watcher.state() != "stopped"
        result.last = {name: node.resident_bytes() for name, node in nodes.items()}
        result.first = result.first or result.last
        console.print(
            f"{len(result.delays) * (CYCLE_S + 2 * SILENCE_S) / 60:5.1f} min  "
            f"actions {len(cell.episodes[-1].actions):3d}  stop after {result.delays[-1] * 1000:.0f} ms  "
            + "  ".join(f"{name} {size / 2**20:.1f} MiB" for name, size in result.last.items())
        )
    return result


def main() -> int:
    """Runs the soak; returns 1 where memory grew beyond 5 % or a stop was missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    options = parser.parse_args()
    console = Console()
    isolate_dds()
    rclpy.init()
    cell = Cell()
    with (
        tempfile.TemporaryDirectory() as logs,
        started_nodes(cell, "fr3", share_path("demo/bundle"), Path(logs)) as nodes,
    ):
        result = soak(cell, nodes, options.minutes, console)
    cell.destroy_node()
    rclpy.shutdown()
    actions = sum(len(episode.actions) for episode in cell.episodes)
    slowest = max(result.delays) * 1000
    console.print(f"actions {actions}, stops {len(result.delays)}, slowest {slowest:.0f} ms")
    console.print(
        "memory growth " + ", ".join(f"{name} {value:+.1%}" for name, value in result.growth().items())
    )
    console.print(f"missed stops {result.missed()}, restarts without a reset {result.restarts}")
    console.print(f"stops while frames came {len(result.early)} {'; '.join(result.early)}")
    return int(result.missed() > 0 or result.restarts > 0 or max(result.growth().values()) > 0.05)


if __name__ == "__main__":
    sys.exit(main())
