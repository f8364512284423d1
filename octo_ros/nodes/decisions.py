"""A safety decision as one diagnostic_msgs/DiagnosticStatus, with every refusal in it."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticStatus

from octo_ros.nodes.messages import status_message
from octo_ros.safety.decision import Decision, Status

LEVELS = {
    Status.OK: DiagnosticStatus.OK,
    Status.LIMITED: DiagnosticStatus.WARN,
    Status.INVALID: DiagnosticStatus.ERROR,
    Status.HOLD: DiagnosticStatus.WARN,
    Status.STOPPED: DiagnosticStatus.ERROR,
    Status.ESTOP: DiagnosticStatus.ERROR,
}


def decision_level(decision: Decision) -> bytes:
    """How bad a decision is."""
    return LEVELS[decision.status]


def decision_message(decision: Decision, robot: str, note: str = "") -> DiagnosticStatus:
    """The decision for octo/safety_decision.

    `message` is the status and the reasons; `values` hold status, state and stamp, then "refusal
    <limit>" for each refusal with its value and bound.

    Args:
        robot: goes into hardware_id.
        note: why an action was malformed, where it was.
    """
    why = "; ".join(text for text in (note, decision.reasons()) if text)
    message = f"{decision.status.value}: {why}" if why else decision.status.value
    return status_message("octo safety decision", robot, decision_level(decision), message, decision.values())
