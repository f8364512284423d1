"""What the filter is told, and whether it can be believed at the time it is told."""

from __future__ import annotations

from octo_ros.safety.decision import Refusal
from octo_ros.safety.joint_state import MeasuredJoints
from octo_ros.safety.options import FilterOptions
from octo_ros.safety.robot import Robot
from octo_ros.safety.watchdog import StampGate, Watchdog, is_stamp, seconds


class Inputs:
    """The time, the joint states, and when actions came.

    Attributes:
        now_ns: the newest time that was given [ns].
        joints: the measured ones.
        stamps: which actions' stamps are believed.
        silence: how long no action was accepted.
        accepted_ns: when the last action was accepted, None since the last reset [ns].
    """

    def __init__(self, robot: Robot, options: FilterOptions) -> None:
        self.now_ns = 0
        self.joints = MeasuredJoints(robot, options)
        self.stamps = StampGate("action", options.max_action_age_s, options.max_action_lead_s)
        self.silence = Watchdog("action", options.action_timeout_s)
        self.accepted_ns: int | None = None

    def advance_clock(self, now_ns: int) -> Refusal | None:
        """Follows the time; says why it cannot. Where it jumps back, what was told before is forgotten."""
        if not is_stamp(now_ns):
            return Refusal("clock, usable times", 0.0, 1.0, "")
        before, self.now_ns = self.now_ns, int(now_ns)
        if before <= self.now_ns:
            return None
        self.stamps.forget()
        self.joints.forget()
        return Refusal("clock jumped back by", seconds(before - self.now_ns), 0.0, "s")

    def accept(self, stamp_ns: int) -> float:
        """An action is believed and used; returns the time since the one before, else 0 [s]."""
        interval = 0.0 if self.accepted_ns is None else seconds(self.now_ns - self.accepted_ns)
        self.stamps.accept(stamp_ns)
        self.silence.feed(self.now_ns)
        self.accepted_ns = self.now_ns
        return interval

    def start_over(self) -> None:
        """After a reset: no action was accepted, and the arm was sent nowhere."""
        self.accepted_ns = None
        self.joints.expect_nothing()

    def tighten(self, options: FilterOptions) -> None:
        """Takes other bounds from now on."""
        self.joints.tighten(options)
        self.stamps.max_age_s, self.stamps.max_lead_s = options.max_action_age_s, options.max_action_lead_s
        self.silence.timeout_s = options.action_timeout_s
