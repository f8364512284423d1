"""CPU time of the real safety filter process, waiting, moving an arm at 10 actions a second, and stopped.

.venv/bin/python bench/filter_cpu.py --joint-rate 1000 --command-rate 100
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import rclpy
from rclpy.node import Node
from sensor_msgs.msg import JointState

from octo_ros.nodes.demo import isolate_dds
from octo_ros.nodes.processes import NodeProcess
from octo_ros.resources import robot_urdf, share_path
from octo_ros.types import ACTION_AXES

STEP = (0.01, 0.008, 0.005, 0.0, 0.0, 0.01, 1.0)
"""A physical action, which half a second later is taken back."""

PATIENCE = {"action_timeout_s": 1.0, "max_joint_state_age_s": 1.0, "max_action_age_s": 1.0}


class Operator(Node):
    """Publishes actions."""

    def __init__(self) -> None:
        super().__init__("operator")
        self._actions = self.create_publisher(JointState, "octo/action", 1)

    def move(self, seconds: float) -> None:
        """Publishes actions at 10 Hz, back and forth."""
        for tick in range(int(seconds * 10.0)):
            sign = 1.0 if tick // 5 % 2 else -1.0
            values = [sign * value for value in STEP[:6]] + [STEP[6]]
            message = JointState(name=list(ACTION_AXES), position=values)
            message.header.stamp = self.get_clock().now().to_msg()
            self._actions.publish(message)
            time.sleep(0.1)


def share_of_a_core(process: NodeProcess, act: Callable[[], None]) -> float:
    """Share of one core that the process took while `act` ran."""
    before, begun = process.cpu_seconds(), time.monotonic()
    act()
    return (process.cpu_seconds() - before) / (time.monotonic() - begun)


def main() -> int:
    """Prints the share of a core in each phase."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--robot", default="fr3")
    parser.add_argument("--joint-rate", type=float, default=100.0, help="of the joint states [Hz]")
    parser.add_argument("--command-rate", type=float, default=100.0, help="of the commands [Hz]")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each phase")
    options = parser.parse_args()
    isolate_dds()
    rclpy.init()
    operator, urdf = Operator(), robot_urdf(options.robot)
    with tempfile.TemporaryDirectory() as folder:
        safety = NodeProcess(
            "safety_filter_node",
            Path(folder) / "filter.log",
            {
                "bundle": share_path("demo/bundle"),
                "urdf_file": urdf,
                "command_rate_hz": options.command_rate,
                **PATIENCE,
            },
        )
        arm = NodeProcess(
            "joint_state_simulator",
            Path(folder) / "arm.log",
            {"urdf_file": urdf, "rate_hz": options.joint_rate},
        )
        try:
            safety.activate(operator)
            phases = {
                "ready": lambda: time.sleep(options.seconds),
                "moving": lambda: operator.move(options.seconds),
                "stopped": lambda: time.sleep(options.seconds),
            }
            for name, act in phases.items():
                if name == "stopped":
                    time.sleep(1.5)
                print(f"{name:8s} {share_of_a_core(safety, act):6.1%} of a core")
        finally:
            arm.stop()
            safety.stop()
    operator.destroy_node()
    rclpy.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
