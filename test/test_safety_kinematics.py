"""The steps of the inverse kinematics and of the servo, apart from the filter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safety_cell import ROBOTS, model, robot, starts
from safety_urdf import arm, joint

from octo_ros.safety import tool_servo
from octo_ros.safety.compose import Pose, pose_error
from octo_ros.safety.inverse_kinematics import DAMPING, Solution, bounded_step, damped_step, solve
from octo_ros.safety.options import FilterOptions
from octo_ros.safety.robot import Robot
from octo_ros.safety.tool_servo import ToolServo

FIXED = settings(derandomize=True, deadline=None, max_examples=40)
FAR = np.full(8, 1e3)


@FIXED
@given(seed=st.integers(0, 2**32 - 1), blocked=st.sets(st.integers(0, 7), max_size=2))
def test_blocked_joints_stay_and_the_others_take_over(seed, blocked):
    random = np.random.default_rng(seed)
    jacobian, error = random.normal(size=(6, 8)), random.normal(scale=0.01, size=6)
    low, high = -FAR, FAR.copy()
    low[list(blocked)] = high[list(blocked)] = 0.0
    step, stopped = bounded_step(jacobian, error, low, high, np.ones(len(low), dtype=bool), DAMPING)
    assert set(stopped) == blocked
    assert not step[list(blocked)].any()
    if np.linalg.svd(jacobian[:, sorted(set(range(8)) - blocked)])[1].min() > 0.3:
        assert jacobian @ step == pytest.approx(error, abs=1e-9)


@FIXED
@given(seed=st.integers(0, 2**32 - 1))
def test_step_stays_between_its_bounds(seed):
    random = np.random.default_rng(seed)
    jacobian, error = random.normal(size=(6, 7)), random.normal(size=6)
    low, high = -random.uniform(0, 0.3, 7), random.uniform(0, 0.3, 7)
    step, stopped = bounded_step(jacobian, error, low, high, np.ones(len(low), dtype=bool), DAMPING)
    assert np.all((step >= low) & (step <= high))
    for index, wish in stopped.items():
        assert step[index] in (low[index], high[index])
        assert not low[index] <= wish <= high[index]


def test_step_in_a_singular_posture_is_bounded():
    for smallest in (1.0, 0.04, 1e-3, 1e-9, 0.0):
        step = damped_step(np.diag([1.0, 1.0, 1.0, 1.0, 1.0, smallest]), np.array([0, 0, 0, 0, 0, 0.01]))
        assert np.all(np.isfinite(step))
        assert np.linalg.norm(step) <= 0.01 * 0.3 / 0.015 + 1e-12  # 1 / DAMPED_BELOW at the most


@pytest.mark.parametrize("name", ROBOTS)
def test_solution_meets_the_pose(name):
    random = np.random.default_rng(5)
    for start in starts(name)[::4]:
        values = np.linalg.svd(robot(name).jacobian(start))[1]
        if values.min() < 0.1:
            continue
        goal = start + random.normal(scale=0.01, size=len(start))
        target = Pose(*robot(name).tool_pose(goal))
        free = np.full(len(start), 1e3)
        solution = solve(robot(name), start, target, -free, free, free)
        missing = pose_error(Pose(*robot(name).tool_pose(start + solution.delta)), target)
        assert np.max(np.abs(missing)) < 1e-8
        assert solution.clamped == {}


def test_stretched_arm_folds_when_asked_to():
    planar = Robot.from_urdf(arm(*(joint(name) for name in ("shoulder", "elbow", "wrist"))), source="test")
    servo, joints = ToolServo(planar, FilterOptions()), np.zeros(3)
    for _ in range(30):
        position, rotation = planar.tool_pose(joints)
        target = Pose(position + [-0.002, 0.0, 0.0], rotation)
        joints = servo.advance(joints, target, 0.1).joints
    assert planar.tool_pose(joints)[0][0] < 0.3 - 0.02  # of 0.06 m that were asked for


def test_stretched_arm_does_not_flail_when_asked_for_more():
    planar = Robot.from_urdf(arm(*(joint(name) for name in ("shoulder", "elbow", "wrist"))), source="test")
    servo, joints = ToolServo(planar, FilterOptions()), np.zeros(3)
    for _ in range(30):
        position, rotation = planar.tool_pose(joints)
        advance = servo.advance(joints, Pose(position + [0.01, 0.0, 0.0], rotation), 0.1)
        joints = advance.joints
        assert [refusal.limit for refusal in advance.refusals] == ["tool out of reach by"]
    assert joints == pytest.approx(np.zeros(3), abs=1e-6)


def test_ur5e_leaves_the_posture_with_a_stretched_elbow():
    random, found = np.random.default_rng(2), 0
    reference, options = model("ur5e"), FilterOptions()
    while found < 5:
        start = random.uniform(-np.pi, np.pi, 6)
        start[2] = 0.0
        if not reference.is_inside(start, options):
            continue
        found += 1
        servo, joints = ToolServo(robot("ur5e"), options), start
        left, values, _ = np.linalg.svd(robot("ur5e").jacobian(start))
        direction = left[:, -1]  # the one way no joint velocity moves the tool
        assert values[-1] < 1e-6
        shortened = []
        for sign in (1.0, -1.0):
            joints = start
            for _ in range(20):
                position, rotation = robot("ur5e").tool_pose(joints)
                target = Pose(position + sign * 0.004 * direction[:3], rotation)
                target, _ = servo.confined(target, position)
                joints = servo.advance(joints, target, 0.1).joints
            shortened.append(np.max(np.abs(joints - start)))
        assert max(shortened) > 0.1  # folding one way it moves


def test_arm_turns_beside_a_wall_that_its_path_would_bend_through():
    options = FilterOptions()
    start = np.array([0.99063, 1.7128, -2.16925, -1.8242, 2.8473 - 1e-6, 2.9572, 0.38261])
    servo = ToolServo(robot("panda"), options)
    position, rotation = robot("panda").tool_pose(start)
    assert 0.0 < 0.695 - position[2] < 2e-5  # at the inset wall
    spin, joints = np.array([0.67, 0.73, -0.09]) * 0.05, start
    for _ in range(5):
        position, rotation = robot("panda").tool_pose(joints)
        turn = _turn(spin)
        target, _ = servo.confined(Pose(position, turn @ rotation), position)
        joints = servo.advance(joints, target, 0.1).joints
        assert robot("panda").tool_pose(joints)[0][2] <= 0.695
    turned = robot("panda").tool_pose(joints)[1] @ robot("panda").tool_pose(start)[1].T
    assert np.arccos((np.trace(turned) - 1) / 2) > 0.1  # of 0.25 rad that were asked for


@pytest.mark.parametrize("broken", ["nan", "raises"])
def test_kinematics_without_a_result_moves_nothing_and_says_so(monkeypatch, broken):
    def solve_badly(*_):
        if broken == "raises":
            raise np.linalg.LinAlgError("SVD did not converge")
        return Solution(np.full(7, np.nan), {})

    monkeypatch.setattr(tool_servo, "solve", solve_badly)
    start = np.array(robot("fr3").home)
    position, rotation = robot("fr3").tool_pose(start)
    advance = ToolServo(robot("fr3"), FilterOptions()).advance(start, Pose(position + 0.01, rotation), 0.1)
    assert np.array_equal(advance.joints, start)
    assert not advance.reached
    assert [refusal.limit for refusal in advance.refusals] == ["inverse kinematics without a result"]


def test_errors_do_not_add_up_on_the_way():
    random = np.random.default_rng(4)
    servo, joints = ToolServo(robot("fr3"), FilterOptions()), np.array(robot("fr3").home)
    target = Pose(*robot("fr3").tool_pose(joints))
    for step in range(400):
        shift = 0.003 * np.array([np.cos(step / 20), np.sin(step / 20), 0.3 * random.normal()])
        target = Pose(target.position + shift, _turn(0.002 * random.normal(size=3)) @ target.rotation)
        target, _ = servo.confined(target, robot("fr3").tool_pose(joints)[0])
        advance = servo.advance(joints, target, 0.1)
        assert advance.reached
        joints = advance.joints
    assert np.max(np.abs(pose_error(Pose(*robot("fr3").tool_pose(joints)), target))) < 1e-7


def _turn(vector: np.ndarray) -> np.ndarray:
    """Rotation matrix of a rotation vector, by Rodrigues."""
    angle = np.linalg.norm(vector)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
