"""Runs episodes of the simulated cell through the two real nodes, as an operator would.

The cell, the policy and the safety filter are three processes that know nothing of each other
but topics. Between episodes the operator presses the e-stop, has the cell reset and the policy
forget its history, and resets the filter.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node
from rosgraph_msgs.msg import Clock
from std_msgs.msg import String

from octo_ros.evaluation.score import EpisodeScore, Evaluation
from octo_ros.evaluation.settings import Setting
from octo_ros.nodes.demo import isolate_dds
from octo_ros.nodes.messages import time_ns
from octo_ros.nodes.processes import NodeProcess, NodeProcessError, running
from octo_ros.nodes.qos import LATCHED
from octo_ros.resources import robot_urdf, share_path
from octo_ros.types import NANOSECONDS

RESET_S = 10.0
"""How long a refused reset of the filter is asked again [s]."""

SLOWEST = 20.0
"""Real seconds in a simulated one from which an episode counts as hung."""


class Operator(Node):
    """Sees an episode's begin and end, and what the filter decides in between."""

    def __init__(self) -> None:
        super().__init__("operator")
        self.instruction, self.result = "", ""
        self.actions = self.limited = 0
        self.now_ns = 0
        self.create_subscription(String, "octo/episode", self._on_episode, LATCHED)
        self.create_subscription(DiagnosticStatus, "octo/safety_decision", self._on_decision, 100)
        self.create_subscription(Clock, "/clock", self._on_clock, 1)

    def begin(self) -> None:
        """Counts from zero."""
        self.instruction, self.result = "", ""
        self.actions = self.limited = 0

    def _on_episode(self, message: String) -> None:
        what, _, rest = message.data.partition(" ")
        if what == "begin":
            self.begin()
            self.instruction = rest
        elif self.instruction:
            self.result = rest

    def _on_decision(self, message: DiagnosticStatus) -> None:
        status = next(value.value for value in message.values if value.key == "status")
        if self.instruction and not self.result and status in ("ok", "limited", "invalid"):
            self.actions += 1
            self.limited += status != "ok"

    def _on_clock(self, message: Clock) -> None:
        self.now_ns = time_ns(message.clock)


def evaluate(
    bundle: Path,
    robot: str,
    setting: Setting,
    logs: Path,
    *,
    episodes: int,
    seed: int = 0,
    task: str = "all",
    episode_s: float = 15.0,
    speed: float = 1.0,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Runs `episodes` episodes through the real nodes.

    Args:
        bundle: the policy's.
        robot: "panda" or "ur5e".
        setting: parameters that are not the defaults.
        logs: folder for the nodes' output.
        seed: of the first episode; the next ones count on.
        task: "all", a verb, or an instruction.
        episode_s: simulated time after which an episode has failed [s].
        speed: simulated seconds in a real one, where the machine can keep it.

    Raises:
        NodeProcessError: a node did not start, did not answer, or an episode hangs.
    """
    logs.mkdir(parents=True, exist_ok=True)
    isolate_dds()
    rclpy.init()
    operator, scores = Operator(), []
    cell = {"robot": robot, "task": task, "seed": seed, "episode_s": episode_s, "real_time_factor": speed}
    try:
        with _nodes(operator, bundle, robot, setting, cell, logs) as nodes:
            for number in range(episodes):
                if progress is not None:
                    progress(number, episodes)
                scores.append(_episode(operator, nodes, seed + number, episode_s))
                (logs / "episodes.json").write_text(json.dumps([vars(score) for score in scores], indent=2))
    finally:
        operator.destroy_node()
        rclpy.shutdown()
    return Evaluation(setting.name, tuple(scores))


def _nodes(
    operator: Operator, bundle: Path, robot: str, setting: Setting, cell: dict[str, object], logs: Path
) -> AbstractContextManager[dict[str, NodeProcess]]:
    """The cell and the two nodes, active; ended on leaving."""
    common = {"bundle": bundle, "data_rate_hz": 10.0, "use_sim_time": True}
    parameters = {
        "sim_cell_node": cell,
        "policy_node": {**common, "seed": 0, **setting.policy},
        "safety_filter_node": {**common, "urdf_file": robot_urdf(robot), **setting.safety},
    }
    file = share_path(f"config/{robot}.yaml")
    active = ("safety_filter_node", "policy_node")
    return running(operator, parameters, logs, files=dict.fromkeys(active, file), active=active)


def _episode(operator: Operator, nodes: dict[str, NodeProcess], seed: int, episode_s: float) -> EpisodeScore:
    nodes["safety_filter_node"].trigger(operator, "e_stop")
    nodes["policy_node"].trigger(operator, "reset_history")
    operator.begin()
    nodes["sim_cell_node"].trigger(operator, "reset")
    nodes["safety_filter_node"].trigger(operator, "reset", RESET_S)
    begun_ns = operator.now_ns
    deadline = time.monotonic() + SLOWEST * episode_s
    while not operator.result:
        rclpy.spin_once(operator, timeout_sec=0.1)
        if time.monotonic() > deadline:
            raise NodeProcessError(f"episode {seed}: no end after {SLOWEST * episode_s:g} s")
    seconds = (operator.now_ns - begun_ns) / NANOSECONDS
    return EpisodeScore(
        operator.instruction, seed, operator.result == "success", operator.actions, operator.limited, seconds
    )
