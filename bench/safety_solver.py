"""Scaling towards a certified stop, as the filter does it, beside a QP over joint velocities, as peers do it.

Both follow the same targets at 100 Hz in the same run: pushes from many postures along random
directions, 0.8 s each way. The QP (daqp) minimises the tool's velocity error under bounds of
joint velocity, acceleration and braking distance, with the walls as linear rows (a velocity
damper, n J v <= d / TAU); its tool velocity is scaled to the limits first. Neither gets help of the other.

    pip install daqp
    .venv/bin/python bench/safety_solver.py
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field

import daqp
import numpy as np

from octo_ros.resources import share_path
from octo_ros.safety.compose import Pose, moved, pose_error
from octo_ros.safety.constraints import WorkspaceBox
from octo_ros.safety.inverse_kinematics import WEIGHT
from octo_ros.safety.motion import Instant
from octo_ros.safety.options import FilterOptions
from octo_ros.safety.pacing import braked
from octo_ros.safety.robot import Robot
from octo_ros.safety.tool_servo import ToolServo

DT = 0.01
TAU = 0.1  # of the velocity damper at walls [s]
REGULAR = 1e-4  # weight of the joint velocities in the QP
HALF = 80  # steps of each push, and of the way back


@dataclass
class Record:
    """What one solver did."""

    seconds: list[float] = field(default_factory=list)
    beyond_box: float = 0.0  # furthest the tool came beyond the inset box [m]
    beyond_box_braking: float = 0.0  # furthest it would come if the joints braked now [m]
    too_fast: float = 0.0  # largest tool speed over the limit [m/s]
    infeasible: int = 0
    progress: list[float] = field(default_factory=list)  # way along each push, of the way asked for


class Scaling:
    """The filter's own servo."""

    def __init__(self, robot: Robot, options: FilterOptions) -> None:
        self.servo = ToolServo(robot, options)

    def velocity(self, now: Instant, target: Pose, record: Record) -> np.ndarray:
        target, _ = self.servo.confined(target, self.servo.robot.tool_pose(now.joints)[0])
        return self.servo.advance(now, target, DT).motion.velocity


class QuadraticProgram:
    """Least tool velocity error under linear constraints."""

    def __init__(self, robot: Robot, options: FilterOptions) -> None:
        self.robot, self.options = robot, options
        self.box = WorkspaceBox(robot, robot.workspace, options)
        self.lower, self.upper = robot.lower + options.joint_margin, robot.upper - options.joint_margin

    def velocity(self, now: Instant, target: Pose, record: Record) -> np.ndarray:
        joints, velocity = now.joints, now.velocity
        options, a = self.options, self.options.max_joint_acceleration
        here = Pose(*self.robot.tool_pose(joints))
        twist = pose_error(here, target) / DT
        for part, bound in (
            (slice(3), options.max_tool_speed),
            (slice(3, 6), options.max_tool_rotation_speed),
        ):
            speed = np.linalg.norm(twist[part])
            twist[part] *= min(1.0, bound / speed) if speed > 0 else 1.0
        weighted = self.robot.jacobian(joints) * WEIGHT[:, None]
        hessian = weighted.T @ weighted + REGULAR * np.eye(len(joints))
        gradient = -weighted.T @ (twist * WEIGHT)
        bound = self.robot.velocity * options.velocity_scale
        high = np.minimum.reduce([bound, velocity + a * DT, self._braking(self.upper - joints)])
        low = -np.minimum.reduce([bound, a * DT - velocity, self._braking(joints - self.lower)])
        linear = self.robot.jacobian(joints)[:3]
        rows_high = np.maximum(self.box.maximum - here.position, 0.0) / TAU
        rows_low = -np.maximum(here.position - self.box.minimum, 0.0) / TAU
        solution, _, flag, _ = daqp.solve(
            hessian, gradient, np.ascontiguousarray(linear),
            np.concatenate((high, rows_high)), np.concatenate((low, rows_low)),
        )  # fmt: skip
        if flag < 1:
            record.infeasible += 1
            return braked(velocity, a, DT)
        return np.array(solution)

    def _braking(self, room: np.ndarray) -> np.ndarray:
        a, room = self.options.max_joint_acceleration, np.maximum(room, 0.0)
        return 2.0 * room / (DT + np.sqrt(DT * DT + 2.0 * room / a))


def push(robot: Robot, options: FilterOptions, solver, start, direction, record: Record) -> None:
    """Pushes along `direction` (6,) and back."""
    box = WorkspaceBox(robot, robot.workspace, options)
    now = Instant.rest(start)
    begin = robot.tool_pose(start)[0]
    for sign in (1.0, -1.0):
        for _ in range(HALF):
            here = Pose(*robot.tool_pose(now.joints))
            target = moved(here, sign * direction * 0.05, "base")  # ahead of the tool, as lag is
            before = time.perf_counter()
            velocity = solver.velocity(now, target, record)
            record.seconds.append(time.perf_counter() - before)
            joints = now.joints + velocity * DT
            now = Instant(joints, velocity, (velocity - now.velocity) / DT)
            stop = joints + velocity * np.max(np.abs(velocity)) / (2.0 * options.max_joint_acceleration)
            record.beyond_box = max(record.beyond_box, _beyond(box, robot.tool_pose(joints)[0]))
            record.beyond_box_braking = max(record.beyond_box_braking, _beyond(box, robot.tool_pose(stop)[0]))
            speed = np.linalg.norm(robot.tool_pose(joints)[0] - here.position) / DT
            record.too_fast = max(record.too_fast, speed - options.max_tool_speed)
        if sign > 0.0:
            way = (robot.tool_pose(joints)[0] - begin) @ direction[:3] / np.linalg.norm(direction[:3])
            record.progress.append(way / (options.max_tool_speed * HALF * DT))


def _beyond(box: WorkspaceBox, position: np.ndarray) -> float:
    return float(np.max(np.maximum(box.minimum - position, position - box.maximum)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pushes", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for name in ("fr3", "ur5e"):
        robot, options = Robot.from_file(share_path(f"urdf/{name}.urdf")), FilterOptions()
        records = {"scaling": Record(), "qp": Record()}
        solvers = {"scaling": Scaling(robot, options), "qp": QuadraticProgram(robot, options)}
        random = np.random.default_rng(arguments.seed)
        for _ in range(arguments.pushes):
            direction = random.normal(size=6) * np.repeat([1.0, random.choice([0.0, 1.0])], 3)
            direction /= np.linalg.norm(direction[:3])
            start = robot.home + random.normal(scale=0.1, size=len(robot.home))
            for key, solver in solvers.items():
                push(robot, options, solver, start, direction, records[key])
        print(f"{name}, {arguments.pushes} pushes")
        for key, record in records.items():
            p50, p99 = np.percentile(record.seconds, [50, 99]) * 1e3
            print(
                f"  {key:8} p50 {p50:.3f} ms  p99 {p99:.3f} ms"
                f"  beyond the box {record.beyond_box * 1e3:+.3f} mm"
                f", if braking {record.beyond_box_braking * 1e3:+.3f} mm"
                f"  over tool speed {record.too_fast * 1e3:+.1f} mm/s  infeasible {record.infeasible}"
                f"  progress {np.mean(record.progress):.2f}"
            )


if __name__ == "__main__":
    main()
