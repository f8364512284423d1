"""The safety filter: from an action of the policy to commands that keep every limit.

States:

    READY --first accepted action--> ACTIVE <--> LIMITED   (the newest action passed whole, or in part)
    ACTIVE, LIMITED --joint states stale or frozen--> HOLD --fresh ones and an action--> ACTIVE
    ACTIVE, LIMITED, HOLD --silence--> STOPPED      ACTIVE, LIMITED --lost tracking, clock back--> STOPPED
    any --e-stop--> ESTOP          HOLD, STOPPED, ESTOP --reset--> READY

`step` takes an action and `tick`, called at the rate of the controller, goes on between actions;
each advances the commanded joints by the time since the command before. `step` alone, at the
rate of the policy, is complete as well. In HOLD, STOPPED and ESTOP the joints brake, then rest.

The filter owns the commanded joints: it never reads them back from the robot while it is
active, and starts from the measured ones after every hold and reset. It reads no clock: every
method takes the time. It is not rated for safety of persons.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from octo_ros.safety.action import gripper_opening, malformed
from octo_ros.safety.compose import Pose
from octo_ros.safety.course import Course, Leg, decision
from octo_ros.safety.decision import Decision, FilterState, Refusal, Status, ToolDelta
from octo_ros.safety.inputs import Inputs
from octo_ros.safety.options import FilterOptions
from octo_ros.safety.pacing import largest
from octo_ros.safety.robot import Robot
from octo_ros.safety.tool_servo import ToolServo
from octo_ros.safety.watchdog import seconds

SHORTEST_STEP_S = 1e-6
"""Two commands closer than this are one [s]."""

HOLDING = {
    FilterState.HOLD: Status.HOLD,
    FilterState.STOPPED: Status.STOPPED,
    FilterState.ESTOP: Status.ESTOP,
}
"""States in which no action moves the arm, and what is said of one."""


class SafetyFilter:
    """Filters the actions for one robot. Not thread-safe.

    ParameterError where the options leave nothing of a joint's range or of the workspace, or
    would loosen the URDF's workspace.

    Attributes:
        robot: the robot whose limits hold.
        options: those in force.
        state: where the filter stands.
        reasons: why it is in LIMITED, HOLD, STOPPED or ESTOP; empty elsewhere.
    """

    def __init__(self, robot: Robot, options: FilterOptions | None = None) -> None:
        self.robot = robot
        self.options = options = FilterOptions() if options is None else options
        self.state = FilterState.READY
        self.reasons: tuple[Refusal, ...] = ()
        self._servo = ToolServo(robot, options)
        self._inputs = Inputs(robot, options)
        self._course: Course | None = None  # None since the last reset
        self._commanded_ns = 0  # when its joints were emitted
        self._ticked = False  # whether a tick emitted them
        self._rest: np.ndarray | None = None  # (n,) measured when a stop came before any command
        self._gripper: float | None = None  # None until an action says
        self._e_stop_pressed = False

    @property
    def commanded(self) -> np.ndarray | None:
        """(n,) last commanded joints [rad or m], None before the first."""
        return None if self._course is None else self._course.joints.copy()

    @property
    def asked(self) -> Pose | None:
        """Pose of the tool that the newest action asked for, before any limit; None before the first."""
        return None if self._course is None else self._course.asked

    @property
    def target(self) -> Pose | None:
        """Pose that the tool is on its way to; None before the first action."""
        return None if self._course is None else self._course.target

    def observe_joints(
        self, names: Sequence[str], positions: Sequence[float], stamp_ns: int, now_ns: int
    ) -> Refusal | None:
        """Takes a joint state; names outside the chain are ignored. Returns why it was rejected, or None.

        Rejected: old, future or not newer stamps, a joint missing or twice, values that are
        not finite or absurdly far beyond the limits.
        """
        refusal = self._advance_clock(now_ns)
        return refusal or self._inputs.joints.observe(names, positions, stamp_ns, self._inputs.now_ns)

    def step(self, action: ToolDelta, now_ns: int) -> Decision:
        """Turns an action that just arrived into the next command.

        The first accepted action after a hold or a reset moves nothing: it takes over the
        measured joints.
        """
        refusal = self._advance_clock(now_ns)
        if refusal is None:
            self._look_for_faults()
        if self.state in (FilterState.STOPPED, FilterState.ESTOP):
            return self._stopped()
        spoilt = malformed(action)
        if spoilt is not None and self._course is not None:
            self._course.drop()
        refusal = refusal or spoilt or self._inputs.stamps.refusal(action.stamp_ns, self._inputs.now_ns)
        stale = self._inputs.joints.unusable(self._inputs.now_ns)
        if refusal is not None:
            return self._rejected(refusal)
        if stale is not None:
            return self._stopped() if self.state is FilterState.HOLD else self._rejected(stale)
        gripper, refusals = gripper_opening(action)
        if not self.state.moves:
            return self._start(action, gripper, refusals)
        dt = self._elapsed_s()
        if dt > self.options.max_step_s:
            return self._rejected(self._too_long(dt))
        interval_s, goal = self._inputs.accept(action.stamp_ns), self._grip(gripper)
        self._course.ask(action, self._inputs.joints.positions, interval_s, dt)
        if dt < SHORTEST_STEP_S:  # the next tick or step moves
            return self._decision(Status.OK, (), goal=goal, is_command=not self._course.moves)
        leg = self._course.advance(dt)
        return self._emit(leg, refusals + leg.refusals, goal, ticked=False)

    def tick(self, now_ns: int) -> Decision | None:
        """Goes on with the motion of the newest action, or with a stop. None before the first command.

        An action moves the tool until the next one comes, for one step of the data set or a
        little more than the last interval between actions, whichever is longer. Then the joints come to rest.
        """
        if self._advance_clock(now_ns) is None:
            self._look_for_faults()
        if self.state in HOLDING:
            return self._stopped()
        if self._course is None:
            return None
        dt = self._elapsed_s()
        if dt < SHORTEST_STEP_S:
            return self._decision(Status.OK, (), is_command=not self._course.moves)
        if dt > self.options.max_step_s:
            self._halt()
            return self._decision(Status.INVALID, (self._too_long(dt),))
        leg = self._course.advance(dt)
        return self._emit(leg, leg.refusals, None, ticked=True)

    def e_stop(self, now_ns: int) -> Decision:
        """Stops at once, until the input is released and the filter is reset."""
        self._advance_clock(now_ns)
        self._e_stop_pressed = True
        if self.state is not FilterState.ESTOP:
            self._enter(FilterState.ESTOP, Refusal("e-stop input", 1.0, 0.0, ""))
        return self._stopped()

    def release_e_stop(self) -> None:
        """The input went false. The filter stays in ESTOP until a reset."""
        self._e_stop_pressed = False

    def fault(self, reason: Refusal, now_ns: int) -> Decision:
        """Stops for a reason from outside, until a reset."""
        self._advance_clock(now_ns)
        if self.state not in (FilterState.STOPPED, FilterState.ESTOP):
            self._enter(FilterState.STOPPED, reason)
        return self._stopped()

    def reset(self, now_ns: int) -> tuple[bool, str]:
        """Goes to READY where that is safe; returns whether it did, and a sentence that says why not."""
        refusal = self._advance_clock(now_ns)
        if refusal is None:
            self._look_for_faults()
        if self.state.moves:
            return False, "the filter is active: there is nothing to reset"
        if self._e_stop_pressed:
            return False, "the e-stop input is pressed: release it first"
        refusal = refusal or self._inputs.joints.stale(self._inputs.now_ns)
        if refusal is not None:
            return False, f"not safe to start: {refusal}"
        self.state = FilterState.READY
        self._course = self._gripper = None
        self._inputs.start_over()
        self.reasons = ()
        return True, "ready: the first action starts from the measured joints"

    def tighten(self, options: FilterOptions) -> None:
        """Takes options that allow less, while running.

        A moving arm that could not stop within them any more brakes first, within those it had.
        ParameterError, and nothing changes, where an option would allow more or may not change.
        """
        options.check_tightens(self.options)
        servo = ToolServo(self.robot, options)
        self.options, self._servo = options, servo
        self._inputs.tighten(options)
        if self._course is not None:
            self._course.change(options, servo)

    def _advance_clock(self, now_ns: int) -> Refusal | None:
        """Follows the time. A clock that jumps back or gives no time stops the filter; returns why."""
        refusal = self._inputs.advance_clock(now_ns)
        if refusal is not None:
            self._commanded_ns = min(self._commanded_ns, self._inputs.now_ns)
            if self.state.moves or self.state is FilterState.HOLD:
                self._enter(FilterState.STOPPED, refusal)
        return refusal

    def _look_for_faults(self) -> None:
        """Silence and lost tracking stop the arm, joint states that cannot be used hold it."""
        now_ns = self._inputs.now_ns
        if self.state is FilterState.HOLD:
            refusal = self._inputs.silence.refusal(now_ns)
            if refusal is not None:
                self._enter(FilterState.STOPPED, refusal, *self.reasons)
        if not self.state.moves:
            return
        lost = self._inputs.joints.lost(self._course.previous, self._course.joints)
        refusal = self._inputs.silence.refusal(now_ns) or lost
        if refusal is not None:
            self._enter(FilterState.STOPPED, refusal)
            return
        refusal = self._inputs.joints.unusable(now_ns)
        if refusal is not None:
            self._enter(FilterState.HOLD, refusal)

    def _elapsed_s(self) -> float:
        """Time since the last command [s]."""
        return seconds(self._inputs.now_ns - self._commanded_ns)

    def _too_long(self, dt: float) -> Refusal:
        return Refusal("time since the previous command", dt, self.options.max_step_s, "s")

    def _enter(self, state: FilterState, *reasons: Refusal) -> None:
        """Into a state that holds."""
        if self._course is None:
            self._rest = self._inputs.joints.positions
        self.state, self.reasons = state, reasons

    def _grip(self, gripper: float) -> float | None:
        """Takes the opening of an accepted action; returns the gripper's goal where it is another one."""
        goal = None if gripper == self._gripper else gripper
        self._gripper = gripper
        return goal

    def _start(self, action: ToolDelta, gripper: float, refusals: tuple[Refusal, ...]) -> Decision:
        """The first command: the measured joints, wherever they are."""
        if self._course is not None and self._course.moves:
            return self._stopped()  # in HOLD, still braking
        self._inputs.start_over()
        self._inputs.accept(action.stamp_ns)
        goal = self._grip(gripper)
        self._course = Course(self.robot, self.options, self._servo, self._inputs.joints.positions)
        self._commanded_ns, self._ticked = self._inputs.now_ns, False
        refusals += self._servo.outside(self._course.joints)
        self.state, self.reasons = (FilterState.LIMITED if refusals else FilterState.ACTIVE), refusals
        return self._decision(Status.LIMITED if refusals else Status.OK, refusals, goal=goal)

    def _emit(self, leg: Leg, refusals: tuple[Refusal, ...], goal: float | None, ticked: bool) -> Decision:
        """The command of a step that actions ask for."""
        self._commanded_ns, self._ticked = self._inputs.now_ns, ticked
        self._inputs.joints.commanded(leg.velocity * leg.dt, leg.dt)
        if refusals:
            self.state, self.reasons = FilterState.LIMITED, refusals
        elif not ticked:
            self.state, self.reasons = FilterState.ACTIVE, ()
        return self._decision(Status.LIMITED if refusals else Status.OK, refusals, leg, goal)

    def _rejected(self, refusal: Refusal) -> Decision:
        """An action that moves nothing. A motion under way goes on with the next tick."""
        if self._course is None:
            return self._decision(Status.INVALID, (refusal,))
        dt, speed = self._elapsed_s(), largest(self._course.now.velocity)
        if speed and (self._ticked or speed > self.options.max_joint_acceleration * dt):
            return self._decision(Status.INVALID, (refusal,), is_command=False)
        self._halt()
        return self._decision(Status.INVALID, (refusal,))

    def _stopped(self) -> Decision:
        """Brakes, then holds."""
        status, dt = HOLDING[self.state], self._elapsed_s()
        if self._course is None or not self._course.moves or dt > self.options.max_step_s:
            self._halt()
        elif dt >= SHORTEST_STEP_S:
            self._commanded_ns, self._ticked = self._inputs.now_ns, False
            return self._decision(status, self.reasons, self._course.brake(dt))
        return self._decision(status, self.reasons)

    def _halt(self) -> None:
        """The joints rest where they were last sent."""
        if self._course is not None:
            self._course.halt()
            self._commanded_ns = self._inputs.now_ns

    def _decision(
        self,
        status: Status,
        refusals: tuple[Refusal, ...],
        leg: Leg | None = None,
        goal: float | None = None,
        is_command: bool = True,
    ) -> Decision:
        """The commanded joints, at rest without a leg. Before any command: the measured ones, no command."""
        if self._course is None:
            joints = self._inputs.joints.positions if self.state is FilterState.READY else self._rest
            tool = None if joints is None else Pose(*self.robot.tool_pose(joints))
        else:
            joints, tool = self._course.joints, self._course.tool
        return decision(
            joints,
            tool,
            leg,
            stamp_ns=self._inputs.now_ns,
            status=status,
            state=self.state,
            gripper=1.0 if self._gripper is None else self._gripper,
            gripper_goal=goal,
            refusals=refusals,
            is_command=is_command and self._course is not None,
        )
