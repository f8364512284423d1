"""A safety decision as one diagnostic_msgs/DiagnosticStatus, with every refusal in it."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticStatus

from octo_ros.nodes.messages import status_message
from octo_ros.safety.decision import Decision, Status

LEVELS = {
    Status.OK: DiagnosticStatus.OK,
    Status.LIMITED: DiagnosticStatus.WARN,
    Status.INVALID: DiagnosticStatus.ERROR,
    Status.STOPPED: DiagnosticStatus.ERROR,
    Status.ESTOP: DiagnosticStatus.ERROR,
}


def decision_level(decision: Decision) -> bytes:
    """How bad a decision is."""
    return LEVELS[decision.status]


def reasons(decision: Decision) -> str:
    """Every refusal in one line, empty where there is none."""
    return "; ".join(str(refusal) for refusal in decision.refusals)


def decision_message(decision: Decision, robot: str, note: str = "") -> DiagnosticStatus:
    """The decision for octo/safety_decision.

    `message` is the status and the reasons; `values` hold status, state and stamp, then "refusal
    <limit>" for each refusal with its value and bound.

    Args:
        robot: goes into hardware_id.
        note: why an action was malformed, where it was.
    """
    values: dict[str, object] = {
        "status": decision.status.value,
        "state": decision.state.value,
        "stamp_ns": decision.stamp_ns,
    }
    for refusal in decision.refusals:
        value, bound = (f"{number:.6g} {refusal.unit}".rstrip() for number in (refusal.value, refusal.bound))
        values[f"refusal {refusal.limit}"] = f"{value}, bound {bound}"
    why = "; ".join(text for text in (note, reasons(decision)) if text)
    message = f"{decision.status.value}: {why}" if why else decision.status.value
    return status_message("octo safety decision", robot, decision_level(decision), message, values)
