"""What the policy node adds to its engine between a camera's stamp and the action received over DDS.

A process publishes two cameras of 640x480 rgb8, both frames stamped with the same instant (or the second
`--apart` later); the real policy node answers at 10 Hz in a second process, and this one listens. Before each
round of the node comes one of a peer: the least node that can be written with rclpy, which takes the same
frames and publishes as soon as it has both. What it needs is the floor that camera, DDS and rclpy set.

    nice -n -10 .venv/bin/python bench/overhead.py [--transport compressed] [--rate 30] [--apart 10]

The node's process is the real one with clocks around its own calls: engine, image preparation, publishing.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import importlib.metadata
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import rclpy
from rclpy.node import Node
from rich.console import Console
from rich.table import Table
from sensor_msgs.msg import JointState

from octo_ros.benchmark.bench import machine
from octo_ros.nodes.demo import isolate_dds
from octo_ros.nodes.messages import time_ns
from octo_ros.nodes.processes import NodeProcess
from octo_ros.resources import share_path

WARM = 10
"""Actions of a round that are not counted: an episode's first frames, pages and caches that are cold."""

PHASES = {
    "camera": "stamp to the last frame handed to DDS, in the camera's process",
    "dds": "to DDS having it, in the node's process",
    "take": "to the node's callback: executor, deserialization",
    "prepare": "to the engine's start: pairing, threads, conversion, resize and crop",
    "engine": "the engine",
    "hand over": "to the action's publishing: chunking, units, threads",
    "publish": "to the call's return",
    "listen": "from there to the listener's callback",
}
"""Stages between a camera's stamp and its action, in order."""


class Listener(Node):
    """When each action came, by its stamp [ns]."""

    def __init__(self) -> None:
        super().__init__("overhead_listener")
        self.came: dict[int, int] = {}
        self.create_subscription(JointState, "octo/action", self._on_action, 10)

    def _on_action(self, message: JointState) -> None:
        self.came[time_ns(message.header.stamp)] = time.time_ns()

    def listen(self, seconds: float) -> dict[int, int]:
        """Actions of a time: stamp to when received [ns], without the first `WARM`."""
        self.came.clear()
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0.0:
            rclpy.spin_once(self, timeout_sec=left)
        return dict(sorted(self.came.items())[WARM:])


def start(
    name: str,
    folder: Path,
    role: Sequence[str],
    values: Mapping[str, object] | None = None,
    **environment: str,
) -> NodeProcess:
    """A process of overhead_roles.py: its node's name, folder of its log, role and parameters."""
    program = [str(Path(__file__).with_name("overhead_roles.py")), *role]
    log = folder / f"{name}.log"
    return NodeProcess(name, log, values or {}, program=program, environment=environment)


def peer_round(listener: Listener, folder: Path, seconds: float) -> dict[str, np.ndarray]:
    """Stamp to action received of the peer [ms]."""
    peer = start("peer", folder, ["peer"])
    try:
        time.sleep(2.0)
        came = listener.listen(seconds)
        peer.check()
    finally:
        peer.stop()
    return {"total": np.array([received - stamp for stamp, received in came.items()]) * 1e-6}


def node_round(
    listener: Listener, folder: Path, seconds: float, values: Mapping[str, object]
) -> dict[str, np.ndarray]:
    """The node's stages, total, overhead and its own share of it, one value an action [ms]."""
    marks = folder / "marks.json"
    node = start("policy_node", folder, ["node"], values, OVERHEAD_LOG=str(marks))
    try:
        node.activate(listener)
        came = listener.listen(seconds)
        node.check()
    finally:
        node.stop()
    rows = json.loads(marks.read_text(encoding="utf-8"))
    rows = [row | {"in": came[row["stamp"]]} for row in rows if row["stamp"] in came and "callback" in row]
    order = ("stamp", "source", "received", "callback", "engine", "engine_end", "publish", "out", "in")
    times = np.array([[row[name] for name in order] for row in rows]) * 1.0  # (actions, 9) ns
    stages = dict(zip(PHASES, np.diff(times - times[:, :1]).T * 1e-6, strict=True))
    total = (times[:, -1] - times[:, 0]) * 1e-6
    own = sum(stages[name] for name in ("take", "prepare", "hand over", "publish"))
    return {**stages, "total": total, "overhead": total - stages["engine"], "node": own}


def spread(values: np.ndarray) -> list[str]:
    """p50, p95 and p99, as text."""
    return [f"{value:.2f}" for value in np.percentile(values, (50, 95, 99))]


def show(peers: list[dict], nodes: list[dict], options: argparse.Namespace) -> None:
    """Prints the table: the median round and the best one, by the p95 of the node's own share."""
    console = Console(width=150)
    versions = {name: importlib.metadata.version(name) for name in ("rclpy", "onnxruntime", "numpy")}
    told = ", ".join(f"{name} {version}" for name, version in versions.items())
    console.print(f"{datetime.date.today()}, {machine()}, Python {sys.version.split()[0]}, {told}")
    conditions = f"{options.transport}, cameras at {options.rate:g} Hz and {options.apart:g} ms apart"
    console.print(f"{options.rounds} rounds of {options.seconds:g} s, {conditions}, {options.bundle.name}")
    nodes = sorted(nodes, key=lambda round_: np.percentile(round_["node"], 95))
    peers = sorted(peers, key=lambda round_: np.percentile(round_["total"], 95))
    table = Table("ms", *(f"{which} {p}" for which in ("median", "best") for p in ("p50", "p95", "p99")))
    chosen, floor = (nodes[len(nodes) // 2], nodes[0]), (peers[len(peers) // 2], peers[0])
    more = {
        "total": "stamp to action received",
        "overhead": "the same without the engine",
        "node": "take, prepare, hand over and publish: the node's own share",
    }
    for name, meaning in (PHASES | more).items():
        table.add_row(name, *(text for round_ in chosen for text in spread(round_[name])), meaning)
    table.add_row("peer", *(text for round_ in floor for text in spread(round_["total"])), "the least node")
    ratios = [
        f"{np.percentile(node['overhead'], p) / np.percentile(peer['total'], p):.2f}"
        for node, peer in zip(chosen, floor, strict=True)
        for p in (50, 95, 99)
    ]
    table.add_row("ratio", *ratios, "overhead of the peer's")
    console.print(table)
    counts = [len(round_["node"]) for round_ in nodes]
    rounds = ", ".join(f"{np.percentile(round_['node'], 95):.2f}" for round_ in nodes)
    console.print(f"actions a round: {counts}; p95 of the node's own share in each, in ms: {rounds}")


def main() -> int:
    """Runs the rounds and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, default=share_path("demo/bundle"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--transport", choices=("raw", "compressed"), default="raw")
    parser.add_argument("--apart", type=float, default=0.0, metavar="MS", help="between the two cameras [ms]")
    parser.add_argument(
        "--rate", type=float, default=10.0, metavar="HZ", help="of the cameras; the node's is 10"
    )
    options = parser.parse_args()
    isolate_dds()
    rclpy.init()
    listener, folder = Listener(), Path(tempfile.mkdtemp(prefix="overhead-"))
    profiles = str(share_path("config/fastdds_images.xml"))
    role = ["camera", options.transport, str(options.rate), str(options.apart * 1e-3)]
    cameras = start("camera", folder, role, FASTRTPS_DEFAULT_PROFILES_FILE=profiles)
    values = {"bundle": options.bundle, "image_transport": options.transport, "instruction": "go"}
    peers, nodes = [], []
    gc.disable()  # of this process, the listener
    try:
        for _ in range(options.rounds):
            peers.append(peer_round(listener, folder, options.seconds))
            nodes.append(node_round(listener, folder, options.seconds, values))
            cameras.check()
    finally:
        cameras.stop()
        listener.destroy_node()
        rclpy.shutdown()
    show(peers, nodes, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
