"""safety_filter_node: actions and joint states in, safe commands out; a process of its own.

It converts messages and calls the pure `SafetyFilter`: `step` for each action, and `tick` at the
rate of the commands, on a clock that nothing stops or turns back.
"""

from __future__ import annotations

import dataclasses
import gc
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from rclpy.duration import Duration
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64, String

from octo_ros.engine.bundle import read_bundle
from octo_ros.errors import ParameterError, RobotModelError
from octo_ros.nodes import spin
from octo_ros.nodes.action_reader import ActionReader
from octo_ros.nodes.command_guard import CommandGuard
from octo_ros.nodes.commands import MODES, CommandContext
from octo_ros.nodes.lifecycle import ManagedNode
from octo_ros.nodes.messages import time_ns
from octo_ros.nodes.qos import LATCHED, NEWEST, RELIABLE, quiet
from octo_ros.nodes.robot_source import TOPIC, described_robot
from octo_ros.nodes.safety_parameters import FILTER_PARAMETERS, PARAMETERS, filter_options
from octo_ros.nodes.safety_report import SafetyReport
from octo_ros.policy.normalization import action_statistics
from octo_ros.safety.decision import Decision, Refusal
from octo_ros.safety.filter import SafetyFilter

CHANGED_DESCRIPTION = "robot_description has changed; clean up and configure to use the new one"

JOINTS_S = 0.02
"""How often joint states are looked at between actions [s]."""

GUARD_S = 0.5
"""How often other publishers of the commands are looked for [s]."""

BRAKING_S = 1.0
"""Longest time that coming to rest may take when the node is deactivated [s]."""


class SafetyFilterNode(ManagedNode):
    """The managed node between the policy and the controller."""

    def __init__(self) -> None:
        self._created_s = time.monotonic()
        super().__init__("safety_filter_node", PARAMETERS)

    # Lifecycle.

    def configure(self) -> None:
        values = self._values = self.values()
        if not values["bundle"]:
            raise ParameterError("bundle: expected the folder of an exported bundle, got an empty text")
        manifest = read_bundle(values["bundle"])
        self._statistics = action_statistics(manifest, values["dataset"] or None)
        described = described_robot(self, values)
        self._robot, self._urdf = described.robot, described.urdf
        self._options = filter_options(values, self._robot)
        self._mode = MODES[values["command_mode"]]
        self._period_s = 1.0 / values["command_rate_hz"]
        box = self._robot.workspace
        self._message = self._mode.builder(CommandContext(self._robot.joint_names, box.frame, self._period_s))
        self._e_stop_pressed = False
        self._description_changed = False
        facts = {
            "command_mode": values["command_mode"],
            "robot": self._robot.source,
            "statistics": self._statistics.source,
            "notice": manifest.notice or "none",
        }
        self._report = SafetyReport(self, self._robot, self._urdf, facts)
        self._connect(watch_description=described.from_topic)
        self._start_over()
        self.get_logger().info(
            f"{self._robot.source}: {len(self._robot.joint_names)} joints, tip {box.tip} within "
            f"{box.minimum} to {box.maximum} m of {box.frame}; commands on {self._commands.topic_name}"
        )
        if self._robot.clearances.note:
            self.get_logger().warning(self._robot.clearances.note)
        gc.collect()
        gc.freeze()  # what lives as long as the node is not gone through again, which takes 10 ms

    def activate(self) -> None:
        if self._description_changed:
            raise RobotModelError(CHANGED_DESCRIPTION)
        self._guard.check()
        self._start_over()

    def deactivate(self) -> None:
        """Brakes, leaves a last command that moves nothing, and waits until it is delivered."""
        try:
            self._come_to_rest()
        finally:
            self._halt()
            self._commands.wait_for_all_acked(Duration(seconds=0.2))
            self._report.inactive(self.now_ns())

    def reconfigure(self, changed: dict[str, Any]) -> None:
        """Takes options of the filter that allow less, at once."""
        options = {parameter.name for parameter in FILTER_PARAMETERS}
        fixed = {name: value for name, value in changed.items() if name not in options}
        if fixed:
            super().reconfigure(fixed)
        values = {**self._values, **changed}
        tightened = filter_options(values, self._robot)
        self._filter.tighten(tightened)
        self._values, self._options = values, tightened
        self.get_logger().info(
            "tightened: " + ", ".join(f"{name} {value}" for name, value in changed.items())
        )

    def _start_over(self) -> None:
        """A filter in READY: it waits for a fresh joint state and an action."""
        self._filter = SafetyFilter(self._robot, self._options)
        self._reader = ActionReader(self._statistics, self._values)
        self._sent: Decision | None = None  # the last command
        self._report.start_over()
        if self._e_stop_pressed:
            self._filter.e_stop(self.now_ns())

    def _connect(self, watch_description: bool) -> None:
        self._commands = self.publisher(self._mode.kind, self._mode.topic, 1)
        self._gripper = self.publisher(Float64, "octo/gripper_command", LATCHED)
        topics = (self._commands.topic_name, self._gripper.topic_name)
        self._guard = CommandGuard(self, topics, self._created_s)
        self._joints = self.newest(JointState, "joint_states", NEWEST)
        self._joints_due_s = 0.0
        self.subscribe(JointState, "octo/action", self._on_action, NEWEST)
        # Whatever an e-stop publisher offers is heard; latched or reliable ones get what they promise.
        for qos in (NEWEST, RELIABLE, LATCHED):
            self.subscribe(Bool, "octo/e_stop", self._on_e_stop, qos, event_callbacks=quiet())
        if watch_description:
            self.subscribe(String, TOPIC, self._on_description, LATCHED)
        self.serve("reset", self._reset)
        self.serve("e_stop", self._e_stop)
        self.heartbeat(self._period_s, self._tick)
        self.timer(GUARD_S, self._look_for_others, steady=True)
        self.timer(1.0, lambda: self._report.diagnose(self._e_stop_pressed), steady=True)

    # Inputs.

    def _on_action(self, message: JointState) -> None:
        if not self.active:
            return
        now_ns = self.now_ns()
        self._take_joints(now_ns)
        action, malformed = self._reader.read(message)
        decision = self._filter.step(action, now_ns)
        self._reader.decided(decision)
        if decision.gripper_goal is not None:
            self._gripper.publish(Float64(data=decision.gripper_goal))
        self._send(decision)
        self._report.action(decision, malformed)
        self._see(now_ns, "first accepted action")

    def _take_joints(self, now_ns: int) -> None:
        """The newest joint state, if one came since the last call."""
        self._joints_due_s = time.monotonic() + JOINTS_S
        message = self._joints.take()
        if message is not None:
            stamp_ns = time_ns(message.header.stamp)
            refusal = self._filter.observe_joints(message.name, message.position, stamp_ns, now_ns)
            self._report.joint_state(refusal)

    def _on_e_stop(self, message: Bool) -> None:
        self._e_stop_pressed = message.data
        if message.data:
            self._stop(self._filter.e_stop, "topic octo/e_stop")
        else:
            self._filter.release_e_stop()

    def _on_description(self, message: String) -> None:
        if message.data != self._urdf:
            self._description_changed = True
            self._stop_for(Refusal(CHANGED_DESCRIPTION, 1.0, 0.0, ""))

    def _look_for_others(self) -> None:
        if self.active:
            for refusal in self._guard.others():
                self._stop_for(refusal)

    # Outputs.

    def _tick(self) -> None:
        self._report.draw(self._filter)
        if not self.active:
            return
        now_ns = self.now_ns()
        if time.monotonic() >= self._joints_due_s:
            self._take_joints(now_ns)
        decision = self._filter.tick(now_ns)
        if decision is not None:
            self._send(decision)
        self._report.tick(decision, changed=self._see(now_ns))

    def _send(self, decision: Decision) -> None:
        if decision.is_command:
            self._commands.publish(self._message(decision))
            self._sent = decision

    def _see(self, now_ns: int, why: str = "") -> bool:
        """Reports the state; returns whether it has changed."""
        return self._report.state(self._filter.state.value, self._filter.reasons, now_ns, why)

    def _stop_for(self, reason: Refusal) -> None:
        self._stop(partial(self._filter.fault, reason))

    def _stop(self, stop: Callable[[int], Decision], why: str = "") -> None:
        """Stops the filter; its first command goes out at once."""
        before = self._filter.state
        now_ns = self.now_ns()
        decision = stop(now_ns)
        if self.active and self._filter.state is not before:
            self._send(decision)
            self._report.decision(decision)
            self._see(now_ns, why)

    def _come_to_rest(self) -> None:
        """Goes on at the rate of the commands until the arm stands still."""
        decision = self._filter.fault(Refusal("deactivated", 1.0, 0.0, ""), self.now_ns())
        deadline = time.monotonic() + BRAKING_S
        while decision.is_command and decision.joint_velocities.any() and time.monotonic() < deadline:
            self._send(decision)
            time.sleep(self._period_s)
            decision = self._filter.tick(self.now_ns())
        self._send(decision)

    def _halt(self) -> None:
        """Publishes the last command as a hold; independent of the filter, which may have failed."""
        if self._sent is not None:
            still = np.zeros_like(self._sent.joint_velocities)
            hold = dataclasses.replace(
                self._sent, stamp_ns=self.now_ns(), joint_velocities=still, dt=0.0, tool_twist=np.zeros(6)
            )
            self._commands.publish(self._message(hold))

    # Services.

    def _reset(self) -> tuple[bool, str]:
        if not self.active:
            return False, "the node is not active"
        if self._description_changed:
            return False, CHANGED_DESCRIPTION
        others = self._guard.others()
        if others:
            return False, others[0].limit
        now_ns = self.now_ns()
        self._take_joints(now_ns)
        done, message = self._filter.reset(now_ns)
        self._see(now_ns, "reset")
        return done, message

    def _e_stop(self) -> tuple[bool, str]:
        self._stop(self._filter.e_stop, "service e_stop")
        if not self._e_stop_pressed:
            self._filter.release_e_stop()
        return True, "stopped; ~/reset with fresh joint states starts again"


def main(args: list[str] | None = None) -> int:
    """Runs the node until a signal; returns the exit status."""
    return spin.run(SafetyFilterNode, args)


if __name__ == "__main__":
    sys.exit(main())
