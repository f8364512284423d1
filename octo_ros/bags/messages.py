"""What the two nodes would have published, as messages for a bag.

The same messages as `octo_ros.nodes.messages`, `commands` and `decisions` build for rclpy, built
from the definitions of the rosbags library, so that a replay needs no ROS.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from octo_ros.bags.build import header, new
from octo_ros.safety.decision import Decision, Status
from octo_ros.safety.robot import Robot
from octo_ros.types import NANOSECONDS, NORMALIZED_AXES, Action

OUTPUTS = {
    "/octo/action": "sensor_msgs/msg/JointState",
    "/octo/action_chunk": "trajectory_msgs/msg/JointTrajectory",
    "/octo/joint_trajectory": "trajectory_msgs/msg/JointTrajectory",
    "/octo/safety_decision": "diagnostic_msgs/msg/DiagnosticStatus",
}
"""Topics of the bag that a replay writes, with their types."""

OK, WARN, ERROR = 0, 1, 2
LEVELS = {
    Status.OK: OK,
    Status.LIMITED: WARN,
    Status.INVALID: ERROR,
    Status.HOLD: WARN,
    Status.STOPPED: ERROR,
    Status.ESTOP: ERROR,
}
"""Levels of a diagnostic_msgs/DiagnosticStatus by what the filter did."""


def action_message(action: Action, frame: str) -> Any:
    """An action for octo/action: the normalized values, stamped as the newest frame it answers."""
    none = np.empty(0)
    values = action.normalized.astype(np.float64)
    return new(
        OUTPUTS["/octo/action"], header(action.stamp_ns, frame), list(NORMALIZED_AXES), values, none, none
    )


def chunk_message(action: Action, frame: str, rate_hz: float) -> Any:
    """The newest chunk of an action, for octo/action_chunk: step i is due i / `rate_hz` after the stamp."""
    points = [_point(step.astype(np.float64), i / rate_hz) for i, step in enumerate(action.chunk)]
    head = header(action.stamp_ns, frame)
    return new(OUTPUTS["/octo/action_chunk"], head, list(NORMALIZED_AXES), points)


def trajectory_message(decision: Decision, joint_names: Sequence[str], period_s: float) -> Any:
    """A command for octo/joint_trajectory: one point, to be reached in the step's duration, stamp 0."""
    point = _point(decision.joint_positions, decision.dt or period_s)
    return new(OUTPUTS["/octo/joint_trajectory"], header(0, ""), list(joint_names), [point])


def decision_message(decision: Decision, robot: Robot) -> Any:
    """A decision for octo/safety_decision: status and reasons, then every refusal with value and bound."""
    why = decision.reasons()
    pairs = [new("diagnostic_msgs/msg/KeyValue", key, value) for key, value in decision.values().items()]
    return new(
        OUTPUTS["/octo/safety_decision"],
        LEVELS[decision.status],
        "octo safety decision",
        f"{decision.status.value}: {why}" if why else decision.status.value,
        Path(robot.source).name,
        pairs,
    )


def _point(positions: np.ndarray, seconds: float) -> Any:
    none, total_ns = np.empty(0), round(seconds * NANOSECONDS)
    due = new("builtin_interfaces/msg/Duration", total_ns // NANOSECONDS, total_ns % NANOSECONDS)
    return new("trajectory_msgs/msg/JointTrajectoryPoint", positions, none, none, none, due)
