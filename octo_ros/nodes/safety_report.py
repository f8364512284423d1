"""Everything that safety_filter_node tells beside its commands: decisions, state, markers, diagnostics."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from visualization_msgs.msg import MarkerArray

from octo_ros.nodes.decisions import decision_message
from octo_ros.nodes.lifecycle import ManagedNode
from octo_ros.nodes.messages import status_message, time_message
from octo_ros.nodes.qos import LATCHED
from octo_ros.nodes.safety_markers import SafetyMarkers
from octo_ros.nodes.safety_state import INACTIVE, LEVELS, ShownState
from octo_ros.safety.decision import Decision, Refusal, Status
from octo_ros.safety.filter import SafetyFilter
from octo_ros.safety.robot import Robot
from octo_ros.safety.telling import Telling
from octo_ros.types import NANOSECONDS

MARKER_NS = NANOSECONDS // 10
"""Time from one message on octo/safety_markers to the next [ns]."""

COUNTED = (*(status.value for status in Status), "joint_states", "joint_states_rejected")


class SafetyReport:
    """The node's reports, from configuration to release.

    Args:
        node: that reports; it owns the publishers.
        robot: that is filtered for.
        urdf: its URDF's text.
        facts: what diagnostics say that does not change.
    """

    def __init__(self, node: ManagedNode, robot: Robot, urdf: str, facts: Mapping[str, object]) -> None:
        self._node, self._robot, self._facts = node, robot.source, facts
        self._decisions = node.publisher(DiagnosticStatus, "octo/safety_decision", 10)
        self._states = node.reporter(DiagnosticStatus, "octo/safety_state", LATCHED)
        self._markers = node.reporter(MarkerArray, "octo/safety_markers", LATCHED)
        self._diagnostics = node.reporter(DiagnosticArray, "/diagnostics", 10)
        self._scene = SafetyMarkers(robot, urdf)
        self._shown = ShownState()
        self._draw_due_ns = 0
        self._states.publish(self._shown.message(self._robot))
        self.start_over()

    def start_over(self) -> None:
        """Counts from zero."""
        self._counts: Counter[str] = Counter()
        self._joints_rejected: Refusal | None = None
        self._action_rejected = ""  # why the last was, since the last diagnosis
        self._telling = Telling()

    def joint_state(self, refusal: Refusal | None) -> None:
        """A joint state came; why the filter rejected it, or None."""
        self._counts["joint_states" if refusal is None else "joint_states_rejected"] += 1
        self._joints_rejected = refusal

    def action(self, decision: Decision, note: str) -> None:
        """What was made of an action; `note` says why it was malformed, "" where it was not."""
        self._telling.begin()
        self.decision(decision, note)

    def decision(self, decision: Decision, note: str = "") -> None:
        """Publishes a decision; `note` says why an action was malformed."""
        self._telling.told(decision, time.monotonic_ns())
        self._decisions.publish(decision_message(decision, self._robot, note))
        self._counts[decision.status.value] += 1
        if decision.status is Status.INVALID:
            self._action_rejected = note or decision.reasons()
            log = self._node.get_logger()
            log.warning(f"action rejected: {self._action_rejected}", throttle_duration_sec=1.0)

    def tick(self, decision: Decision | None, changed: bool) -> None:
        """What the filter did by itself: told where it is another state or limit, repeated while it holds."""
        if decision is not None and (changed or self._telling.is_news(decision, time.monotonic_ns())):
            self.decision(decision)

    def state(self, state: str, reasons: Sequence[Refusal], now_ns: int, why: str = "") -> bool:
        """Publishes and logs the state where it has changed; returns whether it has.

        Args: as `ShownState.see` takes them.
        """
        change = self._shown.see(state, reasons, now_ns, time.monotonic_ns(), why)
        if change is None:
            return False
        self._states.publish(self._shown.message(self._robot))
        if change.level == DiagnosticStatus.ERROR:
            self._node.get_logger().error(change.line)
        elif change.line:
            self._node.get_logger().info(change.line)
        return True

    def inactive(self, now_ns: int) -> None:
        """The node has been deactivated."""
        self.state(INACTIVE, (), now_ns, "deactivated")

    def draw(self, safety: SafetyFilter) -> None:
        """Publishes the markers, if they are due and somebody looks."""
        steady_ns = time.monotonic_ns()
        if steady_ns < self._draw_due_ns:
            return
        self._draw_due_ns = steady_ns + MARKER_NS
        if self._markers.get_subscription_count():
            self._markers.publish(self._scene.array(safety, self._shown.text(), self._shown.reasons))

    def diagnose(self, e_stop_input: bool) -> None:
        """Publishes the state, the counts, and why an action was rejected since the last time."""
        level, message = LEVELS[self._shown.state], self._shown.text()
        if self._action_rejected:
            level = max(level, DiagnosticStatus.WARN)
            message += f"; action rejected: {self._action_rejected}"
        self._action_rejected = ""
        values = {
            "state": self._shown.state,
            "e_stop_input": e_stop_input,
            **self._facts,
            "last_joint_state_rejected": self._joints_rejected or "none",
            **{name: self._counts[name] for name in COUNTED},
        }
        status = status_message("octo safety filter", self._robot, level, message, values)
        array = DiagnosticArray(status=[status])
        array.header.stamp = time_message(self._node.now_ns())
        self._diagnostics.publish(array)
