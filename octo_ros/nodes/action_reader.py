"""Actions from octo/action in metres, radians and gripper openings, for the safety filter."""

from __future__ import annotations

from typing import Any

import numpy as np
from sensor_msgs.msg import JointState

from octo_ros.nodes.messages import action_values, time_ns
from octo_ros.policy.gripper import GripperLatch, relative_opening
from octo_ros.policy.normalization import Statistics, unnormalize
from octo_ros.safety.decision import Decision, Status, ToolDelta


class ActionReader:
    """Un-normalises actions that say they are normalized; the one place on the robot that does.

    Args:
        statistics: that un-normalise.
        values: the parameters `normalization` and `gripper_*`.
    """

    def __init__(self, statistics: Statistics, values: dict[str, Any]) -> None:
        self._statistics, self._normalization = statistics, values["normalization"]
        self._relative = values["gripper_mode"] == "relative"
        self._latch = GripperLatch(values["gripper_threshold"], values["gripper_votes"])
        self._opening = values["gripper_start"]  # last commanded

    def read(self, message: JointState) -> tuple[ToolDelta, str]:
        """The action, and why it is malformed ("" where it is not).

        A malformed one is all NaN, which the filter rejects as it rejects any other.
        """
        values, malformed = np.full(7, np.nan), ""
        given = action_values(message)
        if isinstance(given, str):
            malformed = given
        else:
            values, normalized = given
            if normalized:
                values = unnormalize(values, self._statistics, self._normalization)
            if np.isfinite(values).all():
                values[6] = self._gripper(values[6], normalized)
        return ToolDelta(time_ns(message.header.stamp), values[:3], values[3:6], float(values[6])), malformed

    def decided(self, decision: Decision) -> None:
        """What the filter made of the action: an accepted one commands the gripper."""
        if decision.status in (Status.OK, Status.LIMITED):
            self._opening = decision.gripper

    def _gripper(self, value: float, normalized: bool) -> float:
        if self._relative:
            return relative_opening(self._opening, value)
        return self._latch.update(value) if normalized else value
