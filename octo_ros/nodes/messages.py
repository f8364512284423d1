"""Actions as standard ROS messages, and back.

An action is a sensor_msgs/JointState: `header.stamp` is the stamp of the newest camera frame it
answers, `header.frame_id` the robot's base frame, `position` the seven values, and `name` says
what they are: "normalized_dx" ... "normalized_gripper" in the network's units, or "dx" ...
"gripper" in metres and radians for one step at the data set's rate, the gripper in [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Duration, Time
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from octo_ros.types import ACTION_AXES, NANOSECONDS, NORMALIZED_AXES, Action


def time_message(stamp_ns: int) -> Time:
    """A stamp [ns] as builtin_interfaces/Time."""
    return set_time(Time(), stamp_ns)


def set_time(message: Time, stamp_ns: int) -> Time:
    """The message, set to a stamp [ns]."""
    message.sec, message.nanosec = divmod(stamp_ns, NANOSECONDS)
    return message


def time_ns(stamp: Time) -> int:
    """A builtin_interfaces/Time as a stamp [ns]."""
    return stamp.sec * NANOSECONDS + stamp.nanosec


def duration_message(seconds: float) -> Duration:
    """A duration [s] as builtin_interfaces/Duration."""
    return set_duration(Duration(), seconds)


def set_duration(message: Duration, seconds: float) -> Duration:
    """The message, set to a duration [s]."""
    message.sec, message.nanosec = divmod(round(seconds * NANOSECONDS), NANOSECONDS)
    return message


def action_message(action: Action, frame: str, physical: bool) -> JointState:
    """An action for octo/action, normalized or physical."""
    message = JointState()
    message.header.stamp = time_message(action.stamp_ns)
    message.header.frame_id = frame
    message.name = list(ACTION_AXES if physical else NORMALIZED_AXES)
    message.position = [float(value) for value in (action.physical if physical else action.normalized)]
    return message


def chunk_message(
    stamp_ns: int, chunk: np.ndarray, names: Sequence[str], frame: str, rate_hz: float
) -> JointTrajectory:
    """A whole chunk for octo/action_chunk: step i is due i / `rate_hz` [Hz] after the stamp.

    Args:
        chunk: (horizon, 7), in the units that `names` say.
    """
    message = JointTrajectory()
    message.header.stamp = time_message(stamp_ns)
    message.header.frame_id = frame
    message.joint_names = list(names)
    message.points = [
        JointTrajectoryPoint(
            positions=[float(value) for value in step], time_from_start=duration_message(i / rate_hz)
        )
        for i, step in enumerate(chunk)
    ]
    return message


def action_values(message: JointState) -> tuple[np.ndarray, bool] | str:
    """The seven values of an action message and whether they are normalized, or why it is malformed."""
    names = tuple(message.name)
    if names not in (ACTION_AXES, NORMALIZED_AXES):
        expected = ", ".join(NORMALIZED_AXES)
        return f"names: expected {expected}, or the same without normalized_, got {', '.join(names)}"
    if len(message.position) != len(ACTION_AXES):
        return f"position: expected {len(ACTION_AXES)} values, got {len(message.position)}"
    return np.array(message.position, dtype=np.float64), names == NORMALIZED_AXES


def status_message(
    name: str, hardware: str, level: bytes, message: str, values: dict[str, object]
) -> DiagnosticStatus:
    """A diagnostic_msgs/DiagnosticStatus; floats are shortened to what a person reads."""
    pairs = [KeyValue(key=key, value=_text(value)) for key, value in values.items()]
    return DiagnosticStatus(level=level, name=name, message=message, hardware_id=hardware, values=pairs)


def _text(value: object) -> str:
    if isinstance(value, float):
        return "none" if math.isnan(value) else f"{value:.4g}"
    return str(value)
