"""A robot, a clock and a safety filter, for the tests of the filter.

`Cell` checks every command against the limits with a model of its own, read and computed apart
from the code under test.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pinocchio

from octo_ros.safety.decision import Decision, FilterState, Status, ToolDelta
from octo_ros.safety.filter import SafetyFilter
from octo_ros.safety.options import FilterOptions
from octo_ros.safety.robot import Robot

URDF = Path(__file__).resolve().parent.parent / "urdf"
ROBOTS = ("fr3", "panda", "ur5e")
MILLISECOND = 1_000_000
SECOND = 1000 * MILLISECOND


class Model:
    """What the limits are, read from the URDF file with nothing of the package's own code."""

    def __init__(self, name: str) -> None:
        path = URDF / f"{name}.urdf"
        root = ElementTree.parse(path).getroot()
        workspace = root.find("octo_safety/workspace")
        box = workspace.find("box")
        self.minimum = np.array(box.get("min").split(), dtype=float)
        self.maximum = np.array(box.get("max").split(), dtype=float)
        joints = [joint for joint in root.findall("joint") if joint.get("type") == "revolute"]
        self.names = [joint.get("name") for joint in joints]
        limits = [joint.find("limit") for joint in joints]
        self.lower = np.array([float(limit.get("lower")) for limit in limits])
        self.upper = np.array([float(limit.get("upper")) for limit in limits])
        self.velocity = np.array([float(limit.get("velocity")) for limit in limits])
        self._model = pinocchio.buildModelFromUrdf(str(path))
        self._data = self._model.createData()
        self._frame = self._model.getFrameId(workspace.get("frame"), pinocchio.FrameType.BODY)
        self._tip = self._model.getFrameId(workspace.get("tip"), pinocchio.FrameType.BODY)

    def tool(self, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Position and rotation of the tip in the workspace frame."""
        full = np.zeros(self._model.nq)
        full[: len(joints)] = joints
        pinocchio.framesForwardKinematics(self._model, self._data, full)
        pose = self._data.oMf[self._frame].actInv(self._data.oMf[self._tip])
        return pose.translation.copy(), pose.rotation.copy()

    def beyond_joints(self, joints: np.ndarray, margin: float) -> np.ndarray:
        """How far each joint is beyond its margin, 0 inside."""
        return np.maximum(np.maximum(self.lower + margin - joints, joints - self.upper + margin), 0.0)

    def beyond_box(self, joints: np.ndarray, inset: float) -> np.ndarray:
        """How far the tip is beyond each wall of the inset box, 0 inside."""
        position = self.tool(joints)[0]
        return np.maximum(np.maximum(self.minimum + inset - position, position - self.maximum + inset), 0.0)

    def is_inside(self, joints: np.ndarray, options: FilterOptions) -> bool:
        """Whether the joints at rest satisfy every limit."""
        beyond = (
            *self.beyond_joints(joints, options.joint_margin),
            *self.beyond_box(joints, options.box_inset),
        )
        return not any(beyond)


@cache
def robot(name: str) -> Robot:
    """The robot of one URDF file."""
    return Robot.from_file(URDF / f"{name}.urdf")


@cache
def model(name: str) -> Model:
    """The independent model of the same file."""
    return Model(name)


@cache
def starts(name: str) -> tuple[np.ndarray, ...]:
    """Joints that satisfy every limit: home, at random, exactly at a limit, and singular postures."""
    options, reference = FilterOptions(), model(name)
    random = np.random.default_rng(7)
    low, high = reference.lower + options.joint_margin, reference.upper - options.joint_margin
    found = [np.array(robot(name).home)]
    wanted = 40
    while len(found) < wanted:
        joints = random.uniform(np.maximum(low, -np.pi), np.minimum(high, np.pi))
        kind = len(found) % 4
        if kind == 1:  # one or two joints exactly at a margin
            for joint in random.choice(len(joints), size=2):
                joints[joint] = random.choice([low[joint], high[joint]])
        elif kind == 2:  # near zero: stretched elbow, aligned wrist
            joint = random.integers(len(joints))
            joints[joint] = np.clip(random.choice([0.0, 1e-9, -1e-4, 0.01]), low[joint], high[joint])
        if reference.is_inside(joints, options):
            found.append(joints)
    return tuple(found)


@dataclass
class Worst:
    """The smallest margin seen to each limit; below zero is a violation."""

    joint: float = np.inf
    velocity: float = np.inf
    braking: float = np.inf
    tool_speed: float = np.inf
    rotation_speed: float = np.inf
    box: float = np.inf

    def note(self, name: str, margin: float) -> float:
        """Keeps the smaller of `margin` and what was seen, and returns `margin`."""
        setattr(self, name, min(getattr(self, name), float(margin)))
        return float(margin)


class Cell:
    """One filter whose robot does exactly as commanded; every output is checked."""

    def __init__(
        self, name: str, start: np.ndarray | None = None, options: FilterOptions | None = None
    ) -> None:
        self.robot, self.model = robot(name), model(name)
        self.options = options or FilterOptions()
        self.filter = SafetyFilter(self.robot, self.options)
        self.measured = np.array(self.robot.home if start is None else start)
        self.now_ns = 1000 * SECOND
        self.worst = Worst()
        self.last: np.ndarray | None = None  # the last command, and when it came
        self.last_ns = 0
        self.observe()

    def observe(self, age_ns: int = 0) -> None:
        """Joint states arrive."""
        self.filter.observe_joints(self.robot.joint_names, self.measured, self.now_ns - age_ns, self.now_ns)

    def wait(self, duration_ns: int) -> None:
        """Time passes and a new joint state arrives."""
        self.now_ns += duration_ns
        self.observe()

    def act(
        self, translation=(0, 0, 0), rotation=(0, 0, 0), gripper=0.5, wait_ns=100 * MILLISECOND
    ) -> Decision:
        """A fresh action arrives after `wait_ns`."""
        self.wait(wait_ns)
        return self.step(self.delta(translation, rotation, gripper))

    def delta(self, translation=(0, 0, 0), rotation=(0, 0, 0), gripper=0.5, age_ns: int = 0) -> ToolDelta:
        """An action stamped `age_ns` ago."""
        translation, rotation = np.asarray(translation, float), np.asarray(rotation, float)
        return ToolDelta(self.now_ns - age_ns, translation, rotation, gripper)

    def step(self, action) -> Decision:
        """Any action at all, valid or not."""
        decision = self.filter.step(action, self.now_ns)
        self.check(decision)
        return decision

    def watch(self) -> Decision | None:
        """The watch timer fires."""
        decision = self.filter.watch(self.now_ns)
        if decision is not None:
            self.check(decision)
        return decision

    def begin(self) -> Decision:
        """The first action, which takes over the measured joints."""
        decision = self.act()
        assert self.filter.state is FilterState.ACTIVE
        return decision

    def check(self, decision: Decision) -> None:
        """Every output is finite; a command keeps every limit, and the robot follows it."""
        for array in (
            decision.joint_positions, decision.joint_velocities, decision.tool_position,
            decision.tool_quaternion, decision.tool_twist, [decision.dt, decision.gripper],
            *([refusal.value, refusal.bound] for refusal in decision.refusals),
        ):  # fmt: skip
            assert np.isfinite(array).all(), decision
        assert 0.0 <= decision.gripper <= 1.0
        assert (decision.status is Status.OK) <= (not decision.refusals)
        if not decision.is_command:
            return
        if self.last is None:  # invariant 11
            assert np.max(np.abs(decision.joint_positions - self.measured)) <= 1e-3
        else:
            self._check_motion(self.last, decision)
        self.last, self.last_ns = decision.joint_positions.copy(), self.now_ns
        self.measured = decision.joint_positions.copy()

    def last_position(self, origin: np.ndarray) -> np.ndarray:
        """Where the last command puts the tool, from `origin` [m]."""
        return self.model.tool(self.last)[0] - origin

    def restart(self) -> None:
        """The filter was reset: the next command is a first one."""
        self.last = None

    def _check_motion(self, start: np.ndarray, decision: Decision) -> None:
        end, options, worst = decision.joint_positions, self.options, self.worst
        before = self.model.beyond_joints(start, options.joint_margin)
        after = self.model.beyond_joints(end, options.joint_margin)
        # 1 and 9: inside stays inside, and no violation grows.
        assert worst.note("joint", -np.max(np.where(before > 0.0, after - before - 1e-9, after))) >= 0.0
        dt = (self.now_ns - self.last_ns) * 1e-9
        if np.array_equal(start, end):
            assert not decision.joint_velocities.any() and not decision.tool_twist.any()
            self._check_path(start, end, 1.0)
            return
        # 3: the joint velocity, and the speed from which the joint still brakes before its margin.
        velocity = (end - start) / dt
        bound = 0.9 * self.model.velocity
        assert worst.note("velocity", np.min(bound - np.abs(velocity))) >= 0.0
        room = np.where(velocity > 0, self.model.upper - end, end - self.model.lower) - options.joint_margin
        envelope = np.sqrt(2.0 * options.max_joint_acceleration * np.maximum(room, 0.0))
        assert worst.note("braking", np.min(envelope - np.abs(velocity))) >= -1e-9
        assert np.allclose(decision.joint_velocities, velocity, rtol=1e-6, atol=1e-9)
        self._check_path(start, end, dt)

    def _check_path(self, start: np.ndarray, end: np.ndarray, dt: float) -> None:
        """6 and 7: tool speed and box at 50 samples of the segment."""
        options, worst = self.options, self.worst
        before = self.model.beyond_box(start, options.box_inset)
        last_position, last_rotation = self.model.tool(start)
        for sample in range(1, 51):
            joints = start + (end - start) * (sample / 50)
            beyond = self.model.beyond_box(joints, options.box_inset)
            assert worst.note("box", -np.max(np.where(before > 0.0, beyond - before - 1e-9, beyond))) >= 0.0
            position, rotation = self.model.tool(joints)
            speed = np.linalg.norm(position - last_position) * 50 / dt
            turn = np.linalg.norm(pinocchio.log3(last_rotation.T @ rotation)) * 50 / dt
            assert worst.note("tool_speed", options.max_tool_speed - speed) >= 0.0
            assert worst.note("rotation_speed", options.max_tool_rotation_speed - turn) >= 0.0
            last_position, last_rotation = position, rotation
