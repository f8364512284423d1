"""What goes into the safety filter and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np


class FilterState(Enum):
    """Where the filter stands; only an explicit reset leaves STOPPED and ESTOP."""

    READY = "ready"  # waits for the first accepted action; has commanded nothing
    ACTIVE = "active"  # actions move the arm
    LIMITED = "limited"  # actions move the arm, the newest one less than it asked for
    HOLD = "hold"  # joint states are stale or frozen; resumes from the measured joints when they are not
    STOPPED = "stopped"  # stale input or a fault; holds
    ESTOP = "estop"  # emergency stop; holds

    @property
    def moves(self) -> bool:
        """Whether actions move the arm."""
        return self in (FilterState.ACTIVE, FilterState.LIMITED)


class Status(Enum):
    """What the filter did with one input."""

    OK = "ok"  # passed unchanged
    LIMITED = "limited"  # passed in part; refusals say why
    INVALID = "invalid"  # rejected: no motion, the watchdog is not fed
    HOLD = "hold"  # holding until the joint states can be used
    STOPPED = "stopped"  # holding until reset
    ESTOP = "estop"  # holding until reset


@dataclass(frozen=True)
class Refusal:
    """One limit that an input met.

    Attributes:
        limit: the limit and what it applies to ("joint position fr3_joint4").
        value: what was asked for, in `unit`.
        bound: what is allowed, in `unit`.
        unit: SI unit of both ("rad", "m", "s", "" for a count).
    """

    limit: str
    value: float
    bound: float
    unit: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", float(self.value))
        object.__setattr__(self, "bound", float(self.bound))

    def __str__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.limit}: {self.value:.4g}{unit}, bound {self.bound:.4g}{unit}"


@dataclass(frozen=True)
class ToolDelta:
    """A physical action: one step of tool motion at the data set's rate, and the gripper.

    Attributes:
        stamp_ns: stamp of the camera frame the action answers [ns].
        translation: (3,) [m], axes of the action frame.
        rotation: (3,) roll, pitch, yaw [rad], about the tool's position.
        gripper: opening in [0, 1], 1 open.
    """

    stamp_ns: int
    translation: np.ndarray
    rotation: np.ndarray
    gripper: float


@dataclass(frozen=True)
class Decision:
    """One safe command and why it is what it is. Always finite.

    The command is where the joints are to be `dt` after the command before it.

    Attributes:
        stamp_ns: when it was decided [ns].
        status: what was done with the input.
        state: the filter's state after it.
        joint_positions: (n,) command [rad or m], in the robot's joint order.
        joint_velocities: (n,) velocity of the commanded step [rad/s or m/s]; zero at rest.
        dt: duration of the commanded step [s], the one that ends at rest included; 0 at rest.
        tool_position: (3,) of the tip at `joint_positions`, in the workspace frame [m].
        tool_quaternion: (4,) x y z w of the tip, in the workspace frame.
        tool_twist: (6,) linear [m/s] then angular [rad/s], in the workspace frame; zero at rest.
        gripper: commanded opening in [0, 1].
        gripper_goal: the same where this input changed it, else None; equal actions give one goal.
        refusals: every limit that was met, empty when status is OK.
        is_command: whether it may be sent to a controller. False before the first accepted
            action since a reset: there is nothing to hold yet, the joints are then the measured
            ones, or empty arrays where no joint state was ever seen. False for an action that is
            rejected in mid-motion as well: the next tick goes on.
    """

    stamp_ns: int
    status: Status
    state: FilterState
    joint_positions: np.ndarray
    joint_velocities: np.ndarray
    dt: float
    tool_position: np.ndarray
    tool_quaternion: np.ndarray
    tool_twist: np.ndarray
    gripper: float
    gripper_goal: float | None = None
    refusals: tuple[Refusal, ...] = ()
    is_command: bool = True

    def reasons(self) -> str:
        """Every refusal in one line, empty where there is none."""
        return "; ".join(str(refusal) for refusal in self.refusals)

    def values(self) -> dict[str, str]:
        """What octo/safety_decision says: status, state, stamp, then "refusal <limit>" for each refusal."""
        values = {"status": self.status.value, "state": self.state.value, "stamp_ns": str(self.stamp_ns)}
        for refusal in self.refusals:
            value, bound = (
                f"{number:.6g} {refusal.unit}".rstrip() for number in (refusal.value, refusal.bound)
            )
            values[f"refusal {refusal.limit}"] = f"{value}, bound {bound}"
        return values
