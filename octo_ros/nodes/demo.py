"""The demo's bag: played in real time over DDS to the two real node processes.

This node is the cell and its operator. It publishes the bag's camera frames and instructions,
resets history and filter at the start of each episode as an operator would, and counts what
comes back. A simulated joint-state source, a process of its own, follows the safe commands.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rich.box import SIMPLE
from rich.console import Console
from rich.live import Live
from rich.table import Table
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from octo_ros.bags.player import messages
from octo_ros.bags.replay import replay
from octo_ros.engine.bundle import read_bundle
from octo_ros.engine.manifest import Manifest
from octo_ros.errors import BagError, ParameterError
from octo_ros.nodes.messages import time_ns
from octo_ros.nodes.processes import NodeProcess, running
from octo_ros.nodes.qos import LATCHED
from octo_ros.resources import robot_urdf, share_path
from octo_ros.types import NANOSECONDS

FRAMES = "/camera/primary/image_raw"
INSTRUCTIONS = "/octo/instruction"
SAMPLE_RATE_HZ = 5.0  # BridgeData V2 was recorded at 5 Hz
PATIENCE = {"action_timeout_s": 0.7, "max_action_age_s": 0.5}
"""Of the filter [s]: actions come every 0.2 s, and a desktop may stop for a moment."""

LEFT = ("logs", "report", "episode.gif", "evaluation.json", "evaluation.md", "evaluation.png")
"""What a demo leaves in its directory."""

RESET_S = 5.0
"""How long the operator tries to reset the filter, which refuses while joint states are late [s]."""


@dataclass
class Episode:
    """What went in and came out during one episode of the bag."""

    instruction: str
    frames: int = 0
    commands: int = 0
    stops: int = 0
    actions: list[float] = field(default_factory=list)  # when each was received, monotonic [s]
    latencies: list[float] = field(default_factory=list)  # camera stamp to action received [s]
    refusals: Counter = field(default_factory=Counter)  # limit -> actions that met it

    def rate_hz(self) -> float:
        """Actions a second, from the first to the last."""
        return (
            (len(self.actions) - 1) / (self.actions[-1] - self.actions[0]) if len(self.actions) > 1 else 0.0
        )


class Cell(Node):
    """Publishes the cameras and instructions, receives actions, commands and decisions."""

    def __init__(self) -> None:
        super().__init__("demo_cell")
        self.episodes: list[Episode] = []
        self._frames = self.create_publisher(Image, FRAMES, qos_profile_sensor_data)
        self._instructions = self.create_publisher(String, INSTRUCTIONS, LATCHED)
        self._state = ""
        self.create_subscription(JointState, "octo/action", self._on_action, 10)
        self.create_subscription(JointTrajectory, "octo/joint_trajectory", self._on_command, 10)
        self.create_subscription(DiagnosticStatus, "octo/safety_decision", self._on_decision, 50)

    def begin(self, instruction: str) -> None:
        """Starts an episode: its instruction goes out, and what comes back counts for it."""
        self.episodes.append(Episode(instruction))
        self._instructions.publish(String(data=instruction))

    def show(self, recorded) -> None:
        """Publishes a recorded sensor_msgs/Image with the present time as its stamp."""
        image = Image(
            height=int(recorded.height), width=int(recorded.width), encoding=recorded.encoding,
            is_bigendian=int(recorded.is_bigendian), step=int(recorded.step),
        )  # fmt: skip
        image.header.frame_id = recorded.header.frame_id
        image.data.frombytes(recorded.data.tobytes())
        image.header.stamp = self.get_clock().now().to_msg()
        self._frames.publish(image)
        self.episodes[-1].frames += 1

    def _on_action(self, message: JointState) -> None:
        if self.episodes:
            episode = self.episodes[-1]
            age_ns = self.get_clock().now().nanoseconds - time_ns(message.header.stamp)
            episode.latencies.append(age_ns / NANOSECONDS)
            episode.actions.append(time.monotonic())

    def _on_command(self, _: JointTrajectory) -> None:
        if self.episodes:
            self.episodes[-1].commands += 1

    def _on_decision(self, message: DiagnosticStatus) -> None:
        values = {value.key: value.value for value in message.values}
        stopped, self._state = values["state"] == "stopped" != self._state, values["state"]
        if self.episodes:
            self.episodes[-1].stops += stopped
            if values["status"] in ("limited", "invalid"):
                limits = (key.removeprefix("refusal ") for key in values if key.startswith("refusal "))
                self.episodes[-1].refusals.update(limits)


def isolate_dds() -> None:
    """Keeps DDS on this machine and, unless a domain is set, in a domain of this process's own."""
    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
    if os.environ.get("ROS_DISTRO") == "humble":
        os.environ.setdefault("ROS_LOCALHOST_ONLY", "1")
    else:
        os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")


def run_demo(*, robot: str, out: Path, episodes: int | None) -> int:
    """Plays the shipped sample to the real nodes, prints a live table and a summary, writes the report.

    Args:
        robot: "fr3", "panda" or "ur5e".
        out: directory for the logs and the report, see `emptied`.
        episodes: how many episodes to play, 1 or more; None for all.

    Returns:
        0, or 1 where no action or no command came back.

    Raises:
        NodeProcessError: a node did not start.
    """
    bag, bundle = share_path("demo/bag"), share_path("demo/bundle")
    manifest = read_bundle(bundle)
    console = Console()
    console.print(f"[bold]octo_ros demo[/bold]: {bag.name} -> policy_node -> safety_filter_node ({robot})")
    if manifest.notice:
        console.print(f"[bold yellow]{manifest.notice}[/bold yellow]", soft_wrap=True)
    logs = out / "logs"
    logs.mkdir(parents=True)
    isolate_dds()
    rclpy.init()
    cell = Cell()
    try:
        with (
            started_nodes(cell, robot, bundle, logs, **PATIENCE) as nodes,
            Live(console=console, refresh_per_second=4) as live,
        ):
            for _ in _play(cell, bag, episodes, nodes["policy_node"], nodes["safety_filter_node"]):
                live.update(_table(cell))
    finally:
        cell.destroy_node()
        rclpy.try_shutdown()

    replay(bag, bundle, robot, out / "report", overwrite=True)
    console.print(_summary(cell, manifest, robot, out), soft_wrap=True)
    return 0 if sum(len(e.actions) for e in cell.episodes) and sum(e.commands for e in cell.episodes) else 1


def emptied(out: Path) -> Path:
    """`out` without what an earlier demo left in it; ParameterError where anything else is there."""
    if out.is_dir():
        others = sorted(path.name for path in out.iterdir() if path.name not in LEFT)
        if others:
            raise ParameterError(f"{out}: expected an earlier demo or an empty directory, found {others[0]}")
        shutil.rmtree(out)
    return out


def started_nodes(
    cell: Node, robot: str, bundle: Path, logs: Path, **safety: float
) -> AbstractContextManager[dict[str, NodeProcess]]:
    """The two nodes, active, and the simulated joint states; each a process, ended on leaving.

    `safety`: parameters of the filter in place of the robot's.

    Raises:
        NodeProcessError: one of them did not start.
    """
    file = share_path(f"config/{robot}.yaml")
    urdf = robot_urdf(robot)
    common = {"bundle": bundle, "data_rate_hz": SAMPLE_RATE_HZ}
    parameters = {
        "policy_node": {**common, "cameras": "[primary]", "seed": 0},
        "safety_filter_node": {**common, "urdf_file": urdf, **safety},
        "joint_state_simulator": {"urdf_file": urdf},
    }
    active = ("safety_filter_node", "policy_node")
    return running(cell, parameters, logs, files=dict.fromkeys(parameters, file), active=active)


def _play(
    cell: Cell, bag: Path, episodes: int | None, policy: NodeProcess, safety: NodeProcess
) -> Iterator[None]:
    """Plays the bag in real time, its own spacing kept within an episode; yields after each message."""
    begun = 0
    offset = None  # wall time minus bag time [s]
    for topic, stamp_ns, message in messages(bag, (FRAMES, INSTRUCTIONS)):
        if topic == INSTRUCTIONS:
            if begun == episodes:
                break
            if offset is not None:
                _spin_until(cell, offset + stamp_ns / NANOSECONDS)
            policy.trigger(cell, "reset_history")
            safety.trigger(cell, "reset", RESET_S)
            cell.begin(message.data)
            begun += 1
            offset = time.monotonic() - stamp_ns / NANOSECONDS
        elif offset is not None:
            _spin_until(cell, offset + stamp_ns / NANOSECONDS)
            cell.show(message)
        yield
    if not begun:
        raise BagError(f"{bag}: expected episodes that start with a message on {INSTRUCTIONS}, found none")
    _spin_until(cell, time.monotonic() + 0.5)
    yield


def _spin_until(cell: Cell, due: float) -> None:
    while (left := due - time.monotonic()) > 0:
        rclpy.spin_once(cell, timeout_sec=left)


def _table(cell: Cell) -> Table:
    table = Table(box=SIMPLE, collapse_padding=True)
    table.add_column("instruction", no_wrap=True, max_width=24)
    for column in ("frames", "actions", "Hz", "p50 ms", "p95 ms", "limited", "stops"):
        table.add_column(column, justify="right", no_wrap=True, min_width=max(4, len(column)))
    for episode in cell.episodes:
        p50, p95 = _percentiles(episode.latencies)
        table.add_row(
            episode.instruction,
            str(episode.frames),
            str(len(episode.actions)),
            f"{episode.rate_hz():.1f}",
            p50,
            p95,
            str(episode.refusals.total()),
            str(episode.stops),
        )
    return table


def _percentiles(latencies: list[float]) -> tuple[str, str]:
    if not latencies:
        return "-", "-"
    p50, p95 = np.percentile(latencies, (50, 95)) * 1000
    return f"{p50:.0f}", f"{p95:.0f}"


def _summary(cell: Cell, manifest: Manifest, robot: str, out: Path) -> str:
    latencies = [latency for episode in cell.episodes for latency in episode.latencies]
    refusals = sum((episode.refusals for episode in cell.episodes), Counter())
    p50, p95 = _percentiles(latencies)
    met = ", ".join(f"{limit} {times}" for limit, times in refusals.most_common(6)) or "none"
    return "\n".join(
        [
            "",
            "[bold]summary[/bold]",
            f"  frames in     {sum(e.frames for e in cell.episodes)} at {SAMPLE_RATE_HZ:g} Hz"
            f" in {len(cell.episodes)} episodes",
            f"  actions out   {sum(len(e.actions) for e in cell.episodes)}",
            f"  commands      {sum(e.commands for e in cell.episodes)} (JointTrajectory, {robot})",
            f"  rate          {np.mean([e.rate_hz() for e in cell.episodes]):.1f} Hz within an episode",
            f"  latency       p50 {p50} ms, p95 {p95} ms, camera stamp to action received",
            f"  refusals      {met}",
            f"  stops         {sum(e.stops for e in cell.episodes)}, as an episode's frames end",
            f"  weights       {manifest.notice or manifest.checkpoint['name']}",
            f"  report        {out / 'report' / 'report.html'}, of the same bag by `octo_ros replay`",
            f"  logs          {out / 'logs'}",
        ]
    )
