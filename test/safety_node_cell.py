"""A robot cell with the safety filter's real process and a simulated arm, for the tests of the node."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from node_cell import ACTIVATE, CONFIGURE, URDF, Cell, Process, processes, values
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from octo_ros.safety.robot import Robot
from octo_ros.types import ACTION_AXES

FILTER, ARM = "safety_filter_node", "joint_state_simulator"
ROBOT = Robot.from_file(URDF)
ACCELERATION = 10.0

PATIENT = {
    "action_timeout_s": 1.0,
    "max_action_age_s": 1.0,
    "max_joint_state_age_s": 1.0,
    "frozen_joint_state_s": 2.0,
}
"""Parameters under which a machine that stalls for a moment changes nothing."""


class SafetyCell:
    """What a test sees and does: the operator's node, the two processes, and everything they publish.

    Attributes:
        cell: publishes actions and calls services.
        filter, arm: the processes.
        decisions, states, joints: messages since the start, or since a test cleared them.
        commands: the same, each with its number.
    """

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.decisions = cell.record(DiagnosticStatus, "octo/safety_decision")
        self.states = cell.record(DiagnosticStatus, "octo/safety_state")
        self.joints = cell.record(JointState, "joint_states")
        self.commands = cell.record_numbered(JointTrajectory, "octo/joint_trajectory")
        self.filter: Process
        self.arm: Process

    def ready(self) -> SafetyCell:
        """Brings the filter to READY with fresh joint states, whatever the test before left."""
        cell = self.cell
        cell.press_e_stop(False)
        self.joints.clear()
        assert cell.wait(lambda: len(self.joints) > 5), self.arm.output()
        assert cell.wait(lambda: cell.trigger(f"{FILTER}/reset")[0]), self.filter.output()
        cell.spin(0.2)
        self.clear()
        return self

    def clear(self) -> None:
        """Forgets what was received."""
        for received in (self.decisions, self.states, self.commands):
            received.clear()

    def move(
        self, seconds: float, translation=(0.0, 0.0, 0.0), gripper: float = 1.0, until=lambda: False
    ) -> None:
        """Publishes a physical action at 10 Hz for a while."""
        self.cell.stream(seconds, (*translation, 0.0, 0.0, 0.0, gripper), ACTION_AXES, until)

    def state(self) -> str:
        """The filter's state as it last said on octo/safety_state, "" where it has not."""
        return values(self.states[-1])["state"] if self.states else ""

    def stops(self, seconds: float = 5.0) -> bool:
        """Whether the filter tells within a while that it has stopped."""
        return self.cell.wait(lambda: any(values(d)["status"] == "stopped" for d in self.decisions), seconds)

    def reaches(self, state: str, seconds: float = 5.0) -> bool:
        """Whether the filter says a state within a while."""
        return self.cell.wait(lambda: self.state() == state, seconds)

    def positions(self) -> np.ndarray:
        """(k, n) the commands [rad]."""
        return np.array([command.points[0].positions for _, command in self.commands])

    def steps(self) -> tuple[np.ndarray, np.ndarray]:
        """Velocity (k, n) [rad/s] and duration (k,) [s] of each command; NaN where one is lost."""
        numbers = np.array([number for number, _ in self.commands])
        durations = np.array([seconds(command) for _, command in self.commands])[1:]
        velocity = np.diff(self.positions(), axis=0) / durations[:, None]
        velocity[np.diff(numbers) != 1] = np.nan
        return velocity, durations


def seconds(command: JointTrajectory) -> float:
    """When the command's point is to be reached, from its arrival [s]."""
    due = command.points[0].time_from_start
    return due.sec + due.nanosec * 1e-9


def refusals(decision: DiagnosticStatus) -> list[str]:
    """The limits that a decision met."""
    return [key for key in values(decision) if key.startswith("refusal ")]


def silence_s(decision: DiagnosticStatus) -> float:
    """How long no action had been accepted when the filter stopped for it, by the filter's own clock [s]."""
    return float(values(decision)["refusal time since the last accepted action"].split()[0])


@contextmanager
def running(cell: Cell, bundle: Path, logs: Path, **parameters: object) -> Iterator[SafetyCell]:
    """The filter, active, and the arm, under `PATIENT` parameters and others."""
    seen = SafetyCell(cell)
    given = {"bundle": bundle, "urdf_file": URDF, **PATIENT, **parameters}
    with processes(logs, safety_filter_node=given, joint_state_simulator={"urdf_file": URDF}) as started:
        seen.filter, seen.arm = started[FILTER], started[ARM]
        assert cell.change(FILTER, CONFIGURE), seen.filter.output()
        assert cell.change(FILTER, ACTIVATE), seen.filter.output()
        yield seen
