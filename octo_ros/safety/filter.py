"""The safety filter: from an action of the policy to a command that keeps every limit.

States:

    READY --first accepted action--> ACTIVE --silence, stale joints, lost tracking--> STOPPED
    any --e-stop--> ESTOP          STOPPED, ESTOP --reset--> READY

The filter owns the commanded joints: it never reads them back from the robot while it is
ACTIVE, and starts from the measured ones after every reset. It reads no clock: every method
takes the time. It is not rated for safety of persons.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from octo_ros.safety.compose import Pose, moved, pose_error, quaternion_xyzw, slowed, tool_velocity
from octo_ros.safety.decision import Decision, FilterState, Refusal, Status, ToolDelta
from octo_ros.safety.joint_state import MeasuredJoints
from octo_ros.safety.options import FilterOptions
from octo_ros.safety.robot import Robot
from octo_ros.safety.tool_servo import ToolServo
from octo_ros.safety.watchdog import StampGate, Watchdog, is_stamp, seconds

SHORTEST_STEP_S = 1e-6
"""Two commands closer than this are one [s]."""


class SafetyFilter:
    """Filters the actions for one robot. Not thread-safe.

    ParameterError where the options leave nothing of a joint's range or of the workspace, or
    would loosen the URDF's workspace.

    Attributes:
        robot: the robot whose limits hold.
        options: as given.
        state: where the filter stands.
    """

    def __init__(self, robot: Robot, options: FilterOptions | None = None) -> None:
        self.robot = robot
        self.options = options = FilterOptions() if options is None else options
        self.state = FilterState.READY
        self._servo = ToolServo(robot, options)
        self._measured = MeasuredJoints(robot, options.max_joint_state_age_s, options.max_action_lead_s)
        self._stamps = StampGate("action", options.max_action_age_s, options.max_action_lead_s)
        self._silence = Watchdog("action", options.action_timeout_s)
        self._now_ns = 0
        self._commanded: np.ndarray | None = None  # (n,) last emitted joints; None since the last reset
        self._commanded_ns = 0  # when they were emitted
        self._before: np.ndarray | None = None  # (n,) the joints emitted before those
        self._target: Pose | None = None  # where the tool should be by now
        self._rest: np.ndarray | None = None  # (n,) measured when an e-stop came before any command
        self._gripper = 1.0
        self._e_stop_pressed = False
        self._reasons: tuple[Refusal, ...] = ()  # why the filter is STOPPED or ESTOP

    def observe_joints(
        self, names: Sequence[str], positions: Sequence[float], stamp_ns: int, now_ns: int
    ) -> Refusal | None:
        """Takes a joint state; names outside the chain are ignored. Returns why it was rejected, or None.

        Rejected: old, future or not newer stamps, a joint missing or twice, values that are
        not finite or absurdly far beyond the limits.
        """
        refusal = self._advance_clock(now_ns)
        return refusal or self._measured.observe(names, positions, stamp_ns, self._now_ns)

    def step(self, action: ToolDelta, now_ns: int) -> Decision:
        """Turns an action that just arrived into the next command.

        The motion covers the time since the previous command. The first accepted action after
        a reset moves nothing: it takes over the measured joints.
        """
        refusal = self._advance_clock(now_ns)
        if refusal is None:
            self._stop_on_fault()
        if self.state in (FilterState.STOPPED, FilterState.ESTOP):
            return self._stopped()
        refusal = refusal or self._rejection(action)
        if refusal is not None:
            return self._hold(Status.INVALID, (refusal,))
        gripper, refusals = _gripper(action)
        if self._commanded is None:
            return self._start(action, gripper, refusals)
        dt = seconds(self._now_ns - self._commanded_ns)
        if not SHORTEST_STEP_S <= dt <= self.options.max_step_s:
            bound = self.options.max_step_s if dt > SHORTEST_STEP_S else SHORTEST_STEP_S
            return self._hold(Status.INVALID, (Refusal("time since the previous command", dt, bound, "s"),))
        self._accept(action, gripper)
        return self._move(action, dt, refusals)

    def watch(self, now_ns: int) -> Decision | None:
        """Called by a timer. None while nothing is wrong; a hold for as long as it is STOPPED or ESTOP."""
        if self._advance_clock(now_ns) is None:
            self._stop_on_fault()
        if self.state in (FilterState.READY, FilterState.ACTIVE):
            return None
        return self._stopped()

    def e_stop(self, now_ns: int) -> Decision:
        """Holds at once, until the input is released and the filter is reset."""
        self._advance_clock(now_ns)
        self._e_stop_pressed = True
        if self.state is not FilterState.ESTOP:
            self._rest = self._measured.positions
            self.state = FilterState.ESTOP
            self._reasons = (Refusal("e-stop input", 1.0, 0.0, ""),)
        return self._stopped()

    def release_e_stop(self) -> None:
        """The input went false. The filter stays in ESTOP until a reset."""
        self._e_stop_pressed = False

    def reset(self, now_ns: int) -> tuple[bool, str]:
        """Goes to READY where that is safe; returns whether it did, and a sentence that says why not."""
        refusal = self._advance_clock(now_ns)
        if refusal is None:
            self._stop_on_fault()
        if self.state is FilterState.ACTIVE:
            return False, "the filter is active: there is nothing to reset"
        if self._e_stop_pressed:
            return False, "the e-stop input is pressed: release it first"
        refusal = refusal or self._measured.stale(self._now_ns)
        if refusal is not None:
            return False, f"not safe to start: {refusal}"
        self.state = FilterState.READY
        self._commanded = self._before = self._target = None
        self._reasons = ()
        return True, "ready: the first action starts from the measured joints"

    def _advance_clock(self, now_ns: int) -> Refusal | None:
        """Follows the time. A clock that jumps back or gives no time stops the filter; returns why."""
        if is_stamp(now_ns):
            before, self._now_ns = self._now_ns, int(now_ns)
            if before <= self._now_ns:
                return None
            refusal = Refusal("clock jumped back by", seconds(before - self._now_ns), 0.0, "s")
            self._stamps.forget()  # all it was told before is of another time
            self._measured.forget()
            self._commanded_ns = self._now_ns
        else:
            refusal = Refusal("clock, usable times", 0.0, 1.0, "")
        if self.state is FilterState.ACTIVE:
            self._stop(refusal)
        return refusal

    def _stop_on_fault(self) -> None:
        """ACTIVE becomes STOPPED on silence, on stale joints, and when the robot does not follow."""
        if self.state is not FilterState.ACTIVE:
            return
        now_ns = self._now_ns
        refusal = self._silence.refusal(now_ns) or self._measured.stale(now_ns) or self._tracking_refusal()
        if refusal is not None:
            self._stop(refusal)

    def _tracking_refusal(self) -> Refusal | None:
        """Which joint is too far from where it was sent, the last step still under way."""
        low, high = np.minimum(self._commanded, self._before), np.maximum(self._commanded, self._before)
        error = np.maximum(low - self._measured.positions, self._measured.positions - high)
        worst = int(np.argmax(error))
        if error[worst] <= self.options.max_tracking_error:
            return None
        name, unit = self.robot.joint_names[worst], self.robot.units[worst]
        return Refusal(f"tracking error {name}", error[worst], self.options.max_tracking_error, unit)

    def _rejection(self, action: ToolDelta) -> Refusal | None:
        """Why an action is INVALID, or None."""
        malformed = _malformed(action)
        if malformed is not None:
            return malformed
        return self._stamps.refusal(action.stamp_ns, self._now_ns) or self._measured.stale(self._now_ns)

    def _accept(self, action: ToolDelta, gripper: float) -> None:
        self._stamps.accept(action.stamp_ns)
        self._silence.feed(self._now_ns)
        self._gripper = gripper

    def _start(self, action: ToolDelta, gripper: float, refusals: tuple[Refusal, ...]) -> Decision:
        """The first command: the measured joints, wherever they are."""
        self._accept(action, gripper)
        self._commanded = self._before = self._measured.positions.copy()
        self._target = Pose(*self.robot.tool_pose(self._commanded))
        self.state = FilterState.ACTIVE
        refusals += self._servo.outside(self._commanded)
        return self._hold(Status.LIMITED if refusals else Status.OK, refusals)

    def _move(self, action: ToolDelta, dt: float, refusals: tuple[Refusal, ...]) -> Decision:
        velocity, speed_refusals = slowed(tool_velocity(action, self.options), self.options)
        here = Pose(*self.robot.tool_pose(self._commanded))
        measured = self.options.reference == "measured"
        reference = Pose(*self.robot.tool_pose(self._measured.positions)) if measured else self._target
        target = moved(reference, velocity * dt, self.options.action_frame)
        target, box_refusals = self._servo.confined(target, here.position)
        advance = self._servo.advance(self._commanded, target, dt)
        refusals = _first_of_each((*refusals, *speed_refusals, *box_refusals, *advance.refusals))
        before, self._before, self._commanded = self._commanded, self._commanded, advance.joints
        there = Pose(*self.robot.tool_pose(self._commanded))
        self._target = target if advance.reached else there
        self._commanded_ns = self._now_ns
        return Decision(
            stamp_ns=self._now_ns,
            status=Status.LIMITED if refusals else Status.OK,
            state=self.state,
            joint_positions=self._commanded.copy(),
            joint_velocities=(self._commanded - before) / dt,
            dt=dt,
            tool_position=there.position,
            tool_quaternion=quaternion_xyzw(there.rotation),
            tool_twist=pose_error(here, there) / dt if (self._commanded != before).any() else np.zeros(6),
            gripper=self._gripper,
            refusals=refusals,
        )

    def _stop(self, reason: Refusal) -> None:
        self.state = FilterState.STOPPED
        self._reasons = (reason,)

    def _stopped(self) -> Decision:
        return self._hold(Status.ESTOP if self.state is FilterState.ESTOP else Status.STOPPED, self._reasons)

    def _hold(self, status: Status, refusals: tuple[Refusal, ...]) -> Decision:
        """The last command again. Before any, the measured joints, marked as no command."""
        joints, commanded = self._commanded, self._commanded is not None
        if commanded:
            self._commanded_ns, self._before = self._now_ns, joints
        else:
            joints = self._measured.positions if self.state is FilterState.READY else self._rest
        seen = joints is not None
        joints = joints.copy() if seen else np.empty(0)
        position, rotation = self.robot.tool_pose(joints) if seen else (np.empty(0), None)
        return Decision(
            stamp_ns=self._now_ns,
            status=status,
            state=self.state,
            joint_positions=joints,
            joint_velocities=np.zeros_like(joints),
            dt=0.0,
            tool_position=position,
            tool_quaternion=np.empty(0) if rotation is None else quaternion_xyzw(rotation),
            tool_twist=np.zeros(6),
            gripper=self._gripper,
            refusals=refusals,
            is_command=commanded,
        )


def _malformed(action: ToolDelta) -> Refusal | None:
    """Which part of an action cannot be used, or None."""
    if not isinstance(action, ToolDelta) or not is_stamp(action.stamp_ns):
        return Refusal("action with a usable stamp", 0.0, 1.0, "")
    for name, value, shape in (
        ("translation", action.translation, (3,)),
        ("rotation", action.rotation, (3,)),
        ("gripper", action.gripper, ()),
    ):
        try:
            array = np.asarray(value, dtype=float)
        except (TypeError, ValueError, OverflowError):
            return Refusal(f"action {name}, numbers", 0.0, float(np.prod(shape)), "")
        if array.shape != shape:
            return Refusal(f"action {name}, numbers", float(array.size), float(np.prod(shape)), "")
        if not np.isfinite(array).all():
            finite = float(np.isfinite(array).sum())
            return Refusal(f"action {name}, finite numbers", finite, float(array.size), "")
    return None


def _gripper(action: ToolDelta) -> tuple[float, tuple[Refusal, ...]]:
    """The opening that an action asks for in [0, 1], and a refusal where it asked for more."""
    asked = float(action.gripper)
    opening = min(max(asked, 0.0), 1.0)
    if opening == asked:
        return opening, ()
    return opening, (Refusal("gripper opening", asked, opening, ""),)


def _first_of_each(refusals: tuple[Refusal, ...]) -> tuple[Refusal, ...]:
    """One refusal for each limit, the first: what was asked for, before any was shortened."""
    return tuple({refusal.limit: refusal for refusal in reversed(refusals)}.values())[::-1]
