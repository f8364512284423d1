"""A robot, a clock and a safety filter, for the tests of the filter.

`Cell` checks every decision against the invariants with a model of its own, read and computed
apart from the code under test.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from safety_arms import SHIPPED, URDF, Arm, arm
from safety_model import Model
from safety_oracle import SAME_TIME_S, Oracle

from octo_ros.safety.decision import Decision, FilterState, Refusal, Status, ToolDelta
from octo_ros.safety.filter import SafetyFilter
from octo_ros.safety.options import FilterOptions
from octo_ros.safety.robot import Robot

ROBOTS = SHIPPED
MILLISECOND = 1_000_000
SECOND = 1000 * MILLISECOND
LATCHED = {FilterState.STOPPED: Status.STOPPED, FilterState.ESTOP: Status.ESTOP}

__all__ = ["MILLISECOND", "ROBOTS", "SECOND", "URDF", "Cell", "model", "robot", "starts"]


def robot(name: str) -> Robot:
    """The robot of that name, as the package reads it."""
    return arm(name).robot


def model(name: str) -> Model:
    """The same robot as the checks read it."""
    return arm(name).model


@cache
def starts(name: str, count: int = 40) -> tuple[np.ndarray, ...]:
    """Joints that satisfy every limit: home, at random, exactly at a limit, and singular postures."""
    options, reference, home = FilterOptions(), model(name), robot(name).home
    oracle, random = Oracle(reference, options), np.random.default_rng(7)
    low, high = reference.lower + options.joint_margin, reference.upper - options.joint_margin
    found = [] if home is None else [np.array(home)]
    for _ in range(20_000):
        if len(found) == count:
            break
        joints = random.uniform(np.maximum(low, -np.pi), np.minimum(high, np.pi))
        kind = len(found) % 4
        if kind == 1:  # one or two joints exactly at a margin
            for joint in random.choice(len(joints), size=2):
                joints[joint] = random.choice([low[joint], high[joint]])
        elif kind == 2:  # near zero: stretched elbow, aligned wrist
            joint = random.integers(len(joints))
            joints[joint] = np.clip(random.choice([0.0, 1e-9, -1e-4, 0.01]), low[joint], high[joint])
        if oracle.is_inside(joints):
            found.append(joints)
    return tuple(found)


class Cell:
    """One filter whose robot does as commanded; every output is checked.

    Attributes:
        measured: (n,) where the robot is.
        lag: share of the way to a command that the robot has not gone when it reports.
        now_ns: the clock.
        oracle: what checks the motion.
    """

    def __init__(
        self,
        name: str | Arm,
        start: np.ndarray | None = None,
        options: FilterOptions | None = None,
        thorough: bool = True,
    ) -> None:
        found = arm(name) if isinstance(name, str) else name
        self.robot, self.model = found.robot, found.model
        self.options = options or FilterOptions()
        self.filter = SafetyFilter(self.robot, self.options)
        self.oracle = Oracle(self.model, self.options, thorough)
        self.measured = np.array(self.robot.home if start is None else start)
        self.lag = 0.0
        self.now_ns = 1000 * SECOND
        self.gripper: float | None = None  # the last goal
        self._state = FilterState.READY
        self._free = 0  # steps in a row that nothing but acceleration and jerk limited
        self.observe()

    @property
    def last(self) -> np.ndarray | None:
        """(n,) the last command."""
        return self.oracle.joints

    @property
    def worst(self) -> dict[str, float]:
        """The smallest margin seen to each invariant of motion."""
        return self.oracle.worst

    def observe(self, age_ns: int = 0) -> Refusal | None:
        """Joint states arrive."""
        stamp_ns = self.now_ns - age_ns
        return self.filter.observe_joints(self.robot.joint_names, self.measured, stamp_ns, self.now_ns)

    def wait(self, duration_ns: int) -> None:
        """Time passes and a new joint state arrives."""
        self.now_ns += duration_ns
        if duration_ns < 0:
            self.oracle.jumped(self.now_ns)
        self.observe()

    def act(
        self, translation=(0, 0, 0), rotation=(0, 0, 0), gripper=0.5, wait_ns=100 * MILLISECOND
    ) -> Decision:
        """A fresh action arrives after `wait_ns`."""
        self.wait(wait_ns)
        return self.step(self.delta(translation, rotation, gripper))

    def drive(
        self,
        translation=(0, 0, 0),
        rotation=(0, 0, 0),
        gripper=0.5,
        period_ns: int = 100 * MILLISECOND,
        tick_ns: int = 10 * MILLISECOND,
    ) -> Decision:
        """A fresh action arrives, then the timer fires at `tick_ns` until just before the next one is due."""
        decision = self.step(self.delta(translation, rotation, gripper))
        self.go_on(period_ns, tick_ns)
        return decision

    def go_on(self, duration_ns: int, tick_ns: int = 10 * MILLISECOND) -> Decision | None:
        """The timer fires every `tick_ns`; returns the last decision."""
        decision, end_ns = None, self.now_ns + duration_ns
        while self.now_ns < end_ns:
            self.wait(min(tick_ns, end_ns - self.now_ns))
            if self.now_ns < end_ns:
                decision = self.tick()
        return decision

    def delta(self, translation=(0, 0, 0), rotation=(0, 0, 0), gripper=0.5, age_ns: int = 0) -> ToolDelta:
        """An action stamped `age_ns` ago."""
        translation, rotation = np.asarray(translation, float), np.asarray(rotation, float)
        return ToolDelta(self.now_ns - age_ns, translation, rotation, gripper)

    def step(self, action) -> Decision:
        """Any action at all, valid or not."""
        return self.check(self.filter.step(action, self.now_ns))

    def tick(self) -> Decision | None:
        """The timer fires."""
        decision = self.filter.tick(self.now_ns)
        return None if decision is None else self.check(decision)

    def e_stop(self) -> Decision:
        """The emergency stop is pressed."""
        return self.check(self.filter.e_stop(self.now_ns))

    def fault(self, limit: str = "another publisher") -> Decision:
        """Something outside is wrong."""
        return self.check(self.filter.fault(Refusal(limit, 1.0, 0.0, ""), self.now_ns))

    def reset(self) -> bool:
        """Asks for a reset; whether it was done."""
        done = self.filter.reset(self.now_ns)[0]
        if done:
            assert self.filter.state is FilterState.READY
            assert self.filter.commanded is None
            self.oracle.restart()
            self._state, self.gripper = FilterState.READY, None
        return done

    def tighten(self, options: FilterOptions) -> None:
        """Tighter limits from the next command on."""
        self.filter.tighten(options)
        self.options = options
        self.oracle.tighten(options)

    def begin(self) -> Decision:
        """The first action, which takes over the measured joints."""
        decision = self.act()
        assert self.filter.state.moves
        return decision

    def check(self, decision: Decision) -> Decision:
        """Every output is finite; a command keeps every limit, and the robot follows it."""
        for array in (
            decision.joint_positions, decision.joint_velocities, decision.tool_position,
            decision.tool_quaternion, decision.tool_twist, [decision.dt, decision.gripper],
            *([refusal.value, refusal.bound] for refusal in decision.refusals),
        ):  # fmt: skip
            assert np.isfinite(array).all(), decision
        self._check_state(decision)
        self._check_gripper(decision)
        if decision.is_command:
            self._check_command(decision)
        self._state = decision.state
        return decision

    def last_position(self, origin: np.ndarray) -> np.ndarray:
        """Where the last command puts the tool, from `origin` [m]."""
        return self.model.tool(self.last)[0] - origin

    def _check_state(self, decision: Decision) -> None:
        """12 and 15: nothing but a reset leaves a stop; and the decision says what the filter is in."""
        state = decision.state
        assert state is self.filter.state
        assert (decision.status is Status.OK) <= (not decision.refusals), decision
        if self._state in LATCHED:
            assert state is self._state or state is FilterState.ESTOP, (self._state, decision)
        if state in LATCHED:
            assert decision.status is LATCHED[state], decision
            assert decision.refusals
        if state is not FilterState.READY and not state.moves:
            assert self.filter.reasons

    def _check_gripper(self, decision: Decision) -> None:
        """23: in range, a goal only where it changes, and a stop keeps it."""
        assert 0.0 <= decision.gripper <= 1.0
        if decision.gripper_goal is not None:
            assert decision.gripper_goal == decision.gripper != self.gripper
            assert decision.state.moves
            self.gripper = decision.gripper_goal
        assert self.gripper is None or decision.gripper == self.gripper

    def _check_command(self, decision: Decision) -> None:
        joints, last = decision.joint_positions, self.last
        assert np.array_equal(joints, self.filter.commanded)
        resumes = self._state is FilterState.HOLD and decision.state.moves
        if last is None or resumes:  # 11
            assert np.max(np.abs(joints - self.measured)) <= 1e-3
            assert not decision.joint_velocities.any()
            assert not self.oracle.velocity.any(), "resumed while the joints still moved"
            self.oracle.restart()
        is_free = decision.state is FilterState.ACTIVE and decision.status is Status.OK
        self._free = self._free + 1 if is_free else 0
        before, last_ns = self.oracle.velocity, self.oracle.time_ns
        self.oracle.emit(self.now_ns, joints, self._free > 2)
        if decision.dt > 0.0:
            assert abs(decision.dt - (self.now_ns - last_ns) * 1e-9) < SAME_TIME_S, decision
            way = decision.joint_velocities * decision.dt
            assert np.allclose(way, joints - last, rtol=1e-9, atol=1e-14), decision
        else:
            assert not decision.joint_velocities.any(), decision
            assert not decision.tool_twist.any(), decision
            assert last is None or resumes or np.array_equal(joints, last), decision
        if not decision.state.moves and not resumes:
            self._check_braking(before, self.oracle.velocity, decision)
        position, rotation = self.model.tool(joints)
        assert np.allclose(decision.tool_position, position, rtol=0.0, atol=1e-9)
        x, y, z, w = decision.tool_quaternion
        assert np.allclose(
            rotation[:, 0], [1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)]
        )
        self.measured = joints - self.lag * (joints - self.measured)

    def _check_braking(self, before: np.ndarray, after: np.ndarray, decision: Decision) -> None:
        """In a stop or a hold the joints slow down along a straight line, as fast as they may."""
        dt = decision.dt
        if dt == 0.0:
            return
        fastest = np.max(np.abs(before))
        left = max(fastest - self.options.max_joint_acceleration * dt, 0.0)
        slack = 1e-5 * fastest + 1e-7
        assert abs(np.max(np.abs(after)) - left) <= slack, (before, after, decision)
        assert np.max(np.abs(after * fastest - before * left)) <= slack * max(fastest, 1.0), (before, after)
