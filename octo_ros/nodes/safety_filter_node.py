"""safety_filter_node: actions and joint states in, safe commands out; a process of its own.

It converts messages and calls the pure `SafetyFilter`. Its watch timer runs on a clock that
nothing stops or turns back, so that a stalled clock cannot silence it.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.duration import Duration
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64, String

from octo_ros.engine.bundle import read_bundle
from octo_ros.errors import ParameterError, RobotModelError
from octo_ros.nodes import spin
from octo_ros.nodes.commands import MODES, CommandContext
from octo_ros.nodes.decisions import decision_level, decision_message
from octo_ros.nodes.lifecycle import ManagedNode, quiet
from octo_ros.nodes.messages import action_values, status_message, time_message, time_ns
from octo_ros.nodes.qos import LATCHED
from octo_ros.nodes.safety_parameters import PARAMETERS, filter_options
from octo_ros.policy.gripper import GripperLatch
from octo_ros.policy.normalization import action_statistics, unnormalize
from octo_ros.safety.decision import Decision, FilterState, Status, ToolDelta
from octo_ros.safety.filter import SafetyFilter
from octo_ros.safety.robot import Robot
from octo_ros.types import NANOSECONDS

NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
"""Heard from any publisher, whatever it offers."""
RELIABLE = QoSProfile(depth=1)

CHANGED_DESCRIPTION = "robot_description has changed; clean up and configure to use the new one"

STATE_LEVELS = {
    FilterState.READY: DiagnosticStatus.OK,
    FilterState.ACTIVE: DiagnosticStatus.OK,
    FilterState.STOPPED: DiagnosticStatus.ERROR,
    FilterState.ESTOP: DiagnosticStatus.ERROR,
}


COUNTED = (*(status.value for status in Status), "joint_states", "joint_states_rejected")


class SafetyFilterNode(ManagedNode):
    """The managed node between the policy and the controller."""

    def __init__(self) -> None:
        super().__init__("safety_filter_node", PARAMETERS)

    # Lifecycle.

    def configure(self) -> None:
        values = self._values = self.values()
        if not values["bundle"]:
            raise ParameterError("bundle: expected the folder of an exported bundle, got an empty text")
        manifest = read_bundle(values["bundle"])
        self._notice = manifest.notice
        self._statistics = action_statistics(manifest, values["dataset"] or None)
        self._description, source = self._robot_description(values)
        self._robot = Robot.from_urdf(self._description, source=source)
        self._options = filter_options(values, self._robot)
        self._mode = MODES[values["command_mode"]]
        self._command_context = CommandContext(
            self._robot.joint_names, self._robot.workspace.frame, 1.0 / values["hold_rate_hz"]
        )
        self._e_stop_pressed = False
        self._description_changed = False
        self._connect(values, watch_description=source == "topic robot_description")
        self._start_over()
        box = self._robot.workspace
        self.get_logger().info(
            f"{source}: {len(self._robot.joint_names)} joints, tip {box.tip} within {box.minimum} to "
            f"{box.maximum} m of {box.frame}; commands on {self._mode.topic}"
        )

    def activate(self) -> None:
        if self._description_changed:
            raise RobotModelError(CHANGED_DESCRIPTION)
        self._start_over()

    def deactivate(self) -> None:
        """Leaves a last command that moves nothing, and waits until it is delivered."""
        self._halt(self.now_ns())
        self._commands.wait_for_all_acked(Duration(seconds=0.2))

    def _start_over(self) -> None:
        """A new filter: it waits in READY for a fresh joint state and an action."""
        self._filter = SafetyFilter(self._robot, self._options)
        self._latch = GripperLatch(self._values["gripper_threshold"], self._values["gripper_votes"])
        self._last: Decision | None = None
        self._command: Decision | None = None
        self._state = self._filter.state
        self._counts: Counter[str] = Counter()
        self._joints_rejected = "none"
        self._hold_due_ns = 0
        if self._e_stop_pressed:
            self._filter.e_stop(self.now_ns())

    def _connect(self, values: dict, watch_description: bool) -> None:
        self._commands = self.publisher(self._mode.kind, self._mode.topic, 1)
        self._gripper = self.publisher(Float64, "octo/gripper_command", 1)
        self._decisions = self.publisher(DiagnosticStatus, "octo/safety_decision", 10)
        self._diagnostics = self.reporter(DiagnosticArray, "/diagnostics", 10)
        self.subscribe(JointState, "joint_states", self._on_joints, NEWEST)
        self.subscribe(JointState, "octo/action", self._on_action, NEWEST)
        # Whatever an e-stop publisher offers is heard; latched or reliable ones get what they promise.
        for qos in (NEWEST, RELIABLE, LATCHED):
            self.subscribe(Bool, "octo/e_stop", self._on_e_stop, qos, event_callbacks=quiet())
        if watch_description:
            self.subscribe(String, "robot_description", self._on_description, LATCHED)
        self.serve("reset", self._reset)
        self.serve("e_stop", self._e_stop)
        self.timer(1.0 / values["watch_rate_hz"], self._watch, steady=True)
        self.timer(1.0, self._diagnose, steady=True)

    def _robot_description(self, values: dict) -> tuple[str, str]:
        """The URDF's text and where it came from: parameter, file or topic, the first there is."""
        if values["robot_description"]:
            return values["robot_description"], "parameter robot_description"
        if values["urdf_file"]:
            try:
                return Path(values["urdf_file"]).expanduser().read_text(encoding="utf-8"), values["urdf_file"]
            except (OSError, UnicodeDecodeError) as error:
                raise RobotModelError(f"urdf_file: cannot be read: {error}") from error
        subscription = self.create_subscription(String, "robot_description", lambda _: None, LATCHED)
        try:
            deadline = time.monotonic() + values["robot_description_timeout_s"]
            while time.monotonic() < deadline:
                with subscription.handle:
                    taken = subscription.handle.take_message(String, False)
                if taken is not None:
                    return taken[0].data, "topic robot_description"
                time.sleep(0.02)
        finally:
            self.destroy_subscription(subscription)
        raise RobotModelError(
            "no URDF: expected the parameter robot_description or urdf_file, or a latched message on the "
            f"topic robot_description; got none within {values['robot_description_timeout_s']:g} s"
        )

    # Inputs.

    def _on_joints(self, message: JointState) -> None:
        stamp_ns = time_ns(message.header.stamp)
        refusal = self._filter.observe_joints(message.name, message.position, stamp_ns, self.now_ns())
        self._counts["joint_states" if refusal is None else "joint_states_rejected"] += 1
        self._joints_rejected = str(refusal or "none")

    def _on_action(self, message: JointState) -> None:
        if not self.active:
            return
        delta, malformed = self._delta(message)
        decision = self._filter.step(delta, self.now_ns())
        self._emit(decision, malformed)
        if decision.status in (Status.OK, Status.LIMITED):
            self._gripper.publish(Float64(data=decision.gripper))

    def _on_e_stop(self, message: Bool) -> None:
        self._e_stop_pressed = message.data
        if message.data:
            self._stop_now("topic octo/e_stop")
        else:
            self._filter.release_e_stop()

    def _on_description(self, message: String) -> None:
        if message.data != self._description:
            self._description_changed = True
            self._stop_now(CHANGED_DESCRIPTION)

    def _delta(self, message: JointState) -> tuple[ToolDelta, str]:
        """The action in metres and radians, and why it is malformed ("" where it is not).

        A malformed one is all NaN, which the filter rejects as it rejects any other.
        """
        values, malformed = np.full(7, np.nan), ""
        given = action_values(message)
        if isinstance(given, str):
            malformed = given
        else:
            values, normalized = given
            if normalized:
                values = unnormalize(values, self._statistics, self._values["normalization"])
                if np.isfinite(values).all():
                    values[6] = self._latch.update(values[6])
        return ToolDelta(time_ns(message.header.stamp), values[:3], values[3:6], float(values[6])), malformed

    # Outputs.

    def _watch(self) -> None:
        if not self.active:
            return
        now_ns = self.now_ns()
        decision = self._filter.watch(now_ns)
        if decision is None:
            return
        steady_ns = time.monotonic_ns()
        changed = decision.state != self._state
        if changed or self._mode.hold_always or steady_ns >= self._hold_due_ns:
            self._hold_due_ns = steady_ns + round(self._command_context.hold_s * NANOSECONDS)
            self._emit(decision)

    def _emit(self, decision: Decision, note: str = "") -> None:
        """Publishes a decision and its command, and logs a change of state."""
        if decision.is_command:
            self._commands.publish(self._mode.build(decision, self._command_context))
            self._command = decision
        self._decisions.publish(decision_message(decision, self._robot.source, note))
        self._last = decision
        self._counts[decision.status.value] += 1
        log = self.get_logger()
        if decision.status == Status.INVALID:
            log.warning(f"action rejected: {note or decision.reasons()}", throttle_duration_sec=1.0)
        if decision.state != self._state:
            why = decision.reasons() or "first accepted action"
            line = f"{self._state.value} -> {decision.state.value}: {why}"
            self._state = decision.state
            if STATE_LEVELS[decision.state] == DiagnosticStatus.ERROR:
                log.error(line)
            else:
                log.info(line)

    def _stop_now(self, why: str) -> None:
        """E-stop; the hold goes out at once."""
        before = self._state
        decision = self._filter.e_stop(self.now_ns())
        if self.active and decision is not None and before != FilterState.ESTOP:
            self.get_logger().error(f"e-stop: {why}")
            self._emit(decision)
        self._state = self._filter.state

    def _halt(self, now_ns: int) -> None:
        """Publishes the last command as a hold; independent of the filter, which may have failed."""
        if self._command is not None:
            still = np.zeros_like(self._command.joint_velocities)
            hold = dataclasses.replace(
                self._command, stamp_ns=now_ns, joint_velocities=still, dt=0.0, tool_twist=np.zeros(6)
            )
            self._commands.publish(self._mode.build(hold, self._command_context))

    # Services and diagnostics.

    def _reset(self) -> tuple[bool, str]:
        if not self.active:
            return False, "the node is not active"
        if self._description_changed:
            return False, CHANGED_DESCRIPTION
        done, message = self._filter.reset(self.now_ns())
        if done and self._state != self._filter.state:
            self.get_logger().info(f"{self._state.value} -> {self._filter.state.value}: reset")
        self._state = self._filter.state
        return done, message

    def _e_stop(self) -> tuple[bool, str]:
        self._stop_now("service e_stop")
        if not self._e_stop_pressed:
            self._filter.release_e_stop()
        return True, "stopped; ~/reset with fresh joint states starts again"

    def _diagnose(self) -> None:
        now_ns = self.now_ns()
        level, message = DiagnosticStatus.WARN, "inactive"
        if self.active:
            level, message = STATE_LEVELS[self._state], self._state.value
            if self._last is not None and self._last.refusals:
                level = max(level, decision_level(self._last))
                message += f": {self._last.reasons()}"
        values = {
            "state": self._state.value,
            "e_stop_input": self._e_stop_pressed,
            "command_mode": self._values["command_mode"],
            "robot": self._robot.source,
            "statistics": self._statistics.source,
            "last_joint_state_rejected": self._joints_rejected,
            "notice": self._notice or "none",
            **{name: self._counts[name] for name in COUNTED},
        }
        array = DiagnosticArray(
            status=[status_message("octo safety filter", self._robot.source, level, message, values)]
        )
        array.header.stamp = time_message(now_ns)
        self._diagnostics.publish(array)


def main(args: list[str] | None = None) -> int:
    """Runs the node until a signal; returns the exit status."""
    return spin.run(SafetyFilterNode, args)


if __name__ == "__main__":
    sys.exit(main())
