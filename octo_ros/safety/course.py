"""Where the joints are commanded to be: the motion that the newest action asked for, and its end."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from octo_ros.safety.compose import Pose, moved, pose_error, quaternion_xyzw, slowed, tool_velocity
from octo_ros.safety.decision import Decision, Refusal, ToolDelta
from octo_ros.safety.detour import Searches, find_detour
from octo_ros.safety.motion import Instant
from octo_ros.safety.options import FilterOptions
from octo_ros.safety.pacing import largest
from octo_ros.safety.robot import Robot
from octo_ros.safety.tool_servo import LOOKAHEAD_S, ToolServo, Way

STRETCH = 1.25
"""An action's velocity holds for so many of the last intervals between actions, where that is the longer."""

STUCK_S = 0.015
"""An action that could not move the arm for longer than that is not tried again; the next one is [s]."""

NEARLY = 0.2
"""Share of a detour that is left when the straight way is taken again."""


@dataclass(frozen=True)
class Leg:
    """One step of the commanded joints.

    Attributes:
        dt: its duration [s]; 0 where the joints rested before and rest after it.
        velocity: (n,) [rad/s or m/s].
        twist: (6,) of the tool, in the workspace frame [m/s, rad/s].
        refusals: what kept it from what was asked for.
    """

    dt: float
    velocity: np.ndarray
    twist: np.ndarray
    refusals: tuple[Refusal, ...]


def decision(joints: np.ndarray | None, tool: Pose | None, leg: Leg | None, **said: Any) -> Decision:
    """The decision that commands `joints` (n,) with the tip at `tool`, at rest without a leg.

    Both are None where no joint state was ever seen. `said`: the other fields of `Decision`.
    """
    if joints is None or tool is None:
        joints, position, quaternion = np.empty(0), np.empty(0), np.empty(0)
    else:
        position, quaternion = tool.position.copy(), quaternion_xyzw(tool.rotation)
    return Decision(
        joint_positions=joints.copy(),
        joint_velocities=np.zeros(len(joints)) if leg is None else leg.velocity.copy(),
        dt=0.0 if leg is None else leg.dt,
        tool_position=position,
        tool_quaternion=quaternion,
        tool_twist=np.zeros(6) if leg is None else leg.twist,
        **said,
    )


class Course:
    """The commanded joints from a start on.

    An action is a velocity of the tool. It moves a target pose; the joints follow the target
    within every constraint, and come to rest on it when the action has run out.

    Attributes:
        now: the joints last commanded.
        previous: (n,) joints commanded before those [rad or m].
        tool: pose of the tip at the joints.
        target: where the tool is to be.
        asked: pose that the newest action asked for, before any limit; the target at first.
    """

    def __init__(self, robot: Robot, options: FilterOptions, servo: ToolServo, joints: np.ndarray) -> None:
        self._robot, self._options, self._servo = robot, options, servo
        self._next: tuple[FilterOptions, ToolServo] | None = None  # take over once the joints are at rest
        self._rest(joints.copy())
        self.tool = self.target = self.asked = Pose(*robot.tool_pose(joints))
        self._twist = np.zeros(6)  # of the target, in axes of `_frame`
        self._frame = "base"
        self._left_s = 0.0  # how long the twist goes on
        self._over: tuple[Refusal, ...] = ()  # speeds that the action asked for and did not get
        self._lead: Way | None = None  # to a pose further ahead; `_led` says that it was looked for
        self._led = False
        self._goal: np.ndarray | None = None  # (n,) joints of a detour
        self._way = 0.0  # of its fastest joint
        self._searches = Searches()
        self._blocked = False  # whether the last step did not lead to the target
        self._stuck_s = 0.0  # how long the joints have rested, whatever the newest action asked for
        self._stuck: tuple[Refusal, ...] = ()  # why, once it is not tried again before the next action
        self._resting = True

    @property
    def moves(self) -> bool:
        """Whether the last step moved."""
        return bool(self.now.velocity.any())

    @property
    def joints(self) -> np.ndarray:
        """(n,) last commanded [rad or m]."""
        return self.now.joints

    def ask(self, action: ToolDelta, measured: np.ndarray, interval_s: float, dt: float) -> None:
        """Takes an action that comes `interval_s` after the one before, 0 where there was none."""
        options = self._options
        raw = tool_velocity(action, options)
        period = interval_s or 1.0 / options.data_rate_hz
        twist, over = slowed(raw, options)
        self._frame = options.action_frame
        reference = self.target
        if options.reference == "measured":
            reference = Pose(*self._robot.tool_pose(measured))
            goal = moved(reference, twist * period, self._frame)
            self._frame = "base"
            twist, more = slowed(pose_error(self.target, goal) / period, options)
            over = over or more
        self.asked = moved(reference, raw / options.data_rate_hz, options.action_frame)
        before, self._twist, self._over = self._twist, twist, tuple(over)
        self._lead, self._led = None, False
        self._left_s = max(1.0 / options.data_rate_hz, STRETCH * interval_s, dt)
        self._resting = False
        self._stuck_s, self._stuck = 0.0, ()
        if self._next is not None or twist @ before <= 0.0:
            self._leave_detour()
        stuck = self._goal is None and self._next is None and (self._blocked or not self.moves)
        if stuck and self._searches.may_help(self.tool, self._twist, self._frame):
            self._search(max(dt, LOOKAHEAD_S))

    def drop(self) -> None:
        """Forgets the action; the joints come to rest."""
        self._left_s, self._over = 0.0, ()
        self._leave_detour()

    def change(self, options: FilterOptions, servo: ToolServo) -> None:
        """Other constraints: at once where the joints can still stop within them, else at their stop."""
        if servo.holds(self.now):
            self._options, self._servo, self._next = options, servo, None
        else:
            self._next = options, servo
        self._resting, self._stuck = False, ()
        self._searches.drop()

    def advance(self, dt: float) -> Leg:
        """The next step, `dt` seconds long, towards the target."""
        if self._next is not None:
            return self._change_at_rest(dt)
        if self._resting:
            return Leg(0.0, self.now.velocity, np.zeros(6), ())
        found = self._searches.go_on(dt)
        if found is not None:
            self._goal, self._way, self._stuck = found, largest(found - self.joints), ()
        acting = min(dt, self._left_s)
        self._left_s -= acting
        if self._stuck and acting > 0.0:
            return Leg(0.0, self.now.velocity, np.zeros(6), self._stuck)
        refusals = list(self._over) if acting > 0.0 else []
        target = moved(self.target, self._twist * acting, self._frame) if acting > 0.0 else self.target
        target, walls = self._servo.confined(target, self.tool.position)
        refusals.extend(walls)
        if self._goal is not None and largest(self._goal - self.joints) < NEARLY * self._way:
            self._goal = None
        if self._goal is not None:
            motion = self._servo.follow(self.now, self._goal, dt)
            self.target = Pose(*self._robot.tool_pose(motion.stop))
            way = largest(self._goal - self.joints)
            refusals.append(Refusal("straight way blocked, joints go around by", way, 0.0, "rad"))
            self._blocked = True
            if not motion.velocity.any():
                self._goal = None
        else:
            step = self._servo.advance(self.now, target, dt, self._lead if acting > 0.0 else None)
            if dt < LOOKAHEAD_S and not (step.reached or self._led or self._searches.under_way):
                self._look_ahead()
            motion = step.motion
            refusals.extend(step.refusals)
            self._blocked = not step.reached
            self.target = target if step.reached else Pose(*self._robot.tool_pose(motion.stop))
        self._resting = not (motion.velocity.any() or self._left_s > 0.0 or refusals)
        leg = self._follow(motion.end, motion.velocity, dt, _first_of_each(refusals))
        if leg.dt == 0.0 and self._goal is None and leg.refusals:
            self._stuck_s += dt
            self._stuck = leg.refusals if self._stuck_s > STUCK_S else ()
        return leg

    def brake(self, dt: float) -> Leg:
        """The next step, `dt` seconds long, of stopping as soon as the joints may."""
        self.drop()
        if not self.moves:
            return Leg(0.0, self.now.velocity, np.zeros(6), ())
        motion = self._servo.braking(self.now, dt)
        leg = self._follow(motion.end, motion.velocity, dt, ())
        self.target = Pose(*self._robot.tool_pose(motion.stop))
        return leg

    def halt(self) -> None:
        """The joints are at rest: so long ago was the last command."""
        self.drop()
        self._rest(self.joints)
        self.target = self.tool

    def _leave_detour(self) -> None:
        self._goal = None
        self._searches.drop()

    def _rest(self, joints: np.ndarray) -> None:
        still = np.zeros_like(joints)
        self.now, self.previous = Instant(joints, still, still), joints

    def _follow(self, end: np.ndarray, velocity: np.ndarray, dt: float, refusals: tuple[Refusal, ...]) -> Leg:
        here, twist = self.tool, np.zeros(6)
        rests = not (self.moves or velocity.any())
        self.previous = self.joints
        if velocity.any():
            self.tool = Pose(*self._robot.tool_pose(end))
            twist = pose_error(here, self.tool) / dt
        else:
            end = self.joints
        self.now = Instant(end, velocity, (velocity - self.now.velocity) / dt)
        return Leg(0.0 if rests else dt, velocity, twist, refusals)

    def _change_at_rest(self, dt: float) -> Leg:
        """Brakes; changes the constraints as soon as the joints are at rest."""
        leg = self.brake(dt)
        if not self.moves:
            (self._options, self._servo), self._next = self._next, None
        slower = Refusal("joint speed while limits tighten", largest(leg.velocity), 0.0, "rad/s")
        return Leg(leg.dt, leg.velocity, leg.twist, (slower,))

    def _search(self, ahead_s: float) -> None:
        """Begins to look for a detour."""
        if self._twist.any():
            search = find_detour(self._servo, self.now, self._ahead(self.target, ahead_s), ahead_s)
            self._searches.begin(search, self.tool, self._twist)

    def _look_ahead(self) -> None:
        """Finds the way to where the action leads, once an action."""
        self._led = True
        with contextlib.suppress(np.linalg.LinAlgError):
            self._lead = self._servo.way_ahead(self.now, self._ahead(self.target, LOOKAHEAD_S))

    def _ahead(self, target: Pose, ahead_s: float) -> Pose:
        """Where the action takes `target` within that time, as far as the box allows."""
        target = moved(target, self._twist * ahead_s, self._frame)
        return self._servo.confined(target, self.tool.position)[0]


def _first_of_each(refusals: list[Refusal]) -> tuple[Refusal, ...]:
    """One refusal for each limit, the first: what was asked for, before any was shortened."""
    return tuple({refusal.limit: refusal for refusal in reversed(refusals)}.values())[::-1]
