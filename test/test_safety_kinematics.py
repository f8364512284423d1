"""The steps of the inverse kinematics apart from the filter, and what the filter makes of hard postures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safety_arms import Arm
from safety_cell import MILLISECOND, ROBOTS, Cell, robot, starts
from safety_oracle import Oracle
from safety_urdf import arm, joint

from octo_ros.safety import tool_servo
from octo_ros.safety.compose import Pose, pose_error
from octo_ros.safety.inverse_kinematics import DAMPING, Solution, bounded_step, damped_step, solve
from octo_ros.safety.options import FilterOptions

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
        solution = solve(robot(name), start, target, -free, free)
        missing = pose_error(Pose(*robot(name).tool_pose(start + solution.delta)), target)
        assert np.max(np.abs(missing)) < 1e-6
        assert solution.clamped == {}


class Stretched(Arm):
    """Three turning links of 0.1 m in a plane; at zero they lie on a line."""

    @property
    def xml(self) -> str:
        return arm(*(joint(name) for name in ("shoulder", "elbow", "wrist")), home="0 0 0")


def drive(cell: Cell, translation: tuple, seconds: float, ticks: bool) -> list[str]:
    """Acts at 10 Hz for a while; the limits that were named."""
    named = []
    for _ in range(round(seconds * 10)):
        if ticks:
            cell.go_on(100 * MILLISECOND)
        decision = cell.act(translation, wait_ns=0 if ticks else 100 * MILLISECOND)
        named += [refusal.limit for refusal in decision.refusals]
    return named


@pytest.mark.parametrize("ticks", [False, True])
def test_stretched_arm_folds_when_asked_to(ticks):
    cell = Cell(Stretched("stretched"))
    cell.begin()
    drive(cell, (-0.004, 0.0, 0.0), 3.0, ticks)
    assert cell.model.tool(cell.last)[0][0] < 0.3 - 0.02  # of 0.06 m that were asked for


@pytest.mark.parametrize("ticks", [False, True])
def test_stretched_arm_does_not_flail_when_asked_for_more(ticks):
    cell = Cell(Stretched("stretched"))
    cell.begin()
    assert set(drive(cell, (0.02, 0.0, 0.0), 3.0, ticks)) == {"tool out of reach by"}
    assert cell.last == pytest.approx(np.zeros(3), abs=1e-6)


@pytest.mark.parametrize("ticks", [False, True])
def test_ur5e_leaves_the_posture_with_a_stretched_elbow(ticks):
    random, found = np.random.default_rng(2), 0
    oracle = Oracle(Cell("ur5e").model, FilterOptions())
    while found < 5:
        start = random.uniform(-np.pi, np.pi, 6)
        start[2] = 0.0
        if not oracle.is_inside(start):
            continue
        found += 1
        left, values, _ = np.linalg.svd(robot("ur5e").jacobian(start))
        direction = left[:, -1]  # the one way no joint velocity moves the tool
        assert values[-1] < 1e-6
        moved = []
        for sign in (1.0, -1.0):
            cell = Cell("ur5e", start, thorough=False)
            cell.begin()
            drive(cell, tuple(sign * 0.008 * direction[:3]), 2.0, ticks)
            moved.append(np.max(np.abs(cell.last - start)))
        assert max(moved) > 0.1  # folding one way it moves


def test_arm_turns_beside_a_wall_that_its_path_would_bend_through():
    start = np.array([0.99063, 1.7128, -2.16925, -1.8242, 2.8473 - 1e-6, 2.9572, 0.38261])
    cell = Cell("panda", start)
    cell.begin()
    position, rotation = cell.model.tool(start)
    assert 0.0 < 0.695 - position[2] < 2e-5  # at the inset wall
    for _ in range(10):
        cell.act(rotation=np.array([0.67, 0.73, -0.09]) * 0.1)
        assert cell.model.tool(cell.last)[0][2] <= 0.695
    turned = cell.model.tool(cell.last)[1] @ rotation.T
    assert np.arccos((np.trace(turned) - 1) / 2) > 0.1  # of 0.5 rad that were asked for


@pytest.mark.parametrize("broken", ["nan", "raises"])
def test_kinematics_without_a_result_brakes_and_says_so(monkeypatch, broken):
    def solve_badly(*_, **__):
        if broken == "raises":
            raise np.linalg.LinAlgError("SVD did not converge")
        return Solution(np.full(7, np.nan), {})

    cell = Cell("fr3")
    cell.begin()
    cell.drive((0.02, 0.0, 0.0))
    cell.drive((0.02, 0.0, 0.0))
    assert cell.oracle.velocity.any()
    monkeypatch.setattr(tool_servo, "solve", solve_badly)
    for _ in range(20):
        cell.wait(10 * MILLISECOND)
        decision = cell.tick()
        assert "inverse kinematics without a result" in [refusal.limit for refusal in decision.refusals]
    assert not cell.oracle.velocity.any()


def test_errors_do_not_add_up_on_the_way():
    random = np.random.default_rng(4)
    cell = Cell("fr3", thorough=False)
    cell.begin()
    for step in range(400):
        shift = 0.003 * np.array([np.cos(step / 20), np.sin(step / 20), 0.3 * random.normal()])
        decision = cell.act(shift, 0.002 * random.normal(size=3))
        assert decision.refusals == ()
    position, rotation = cell.model.tool(cell.last)
    assert position == pytest.approx(cell.filter.target.position, abs=1e-6)
    assert rotation == pytest.approx(cell.filter.target.rotation, abs=1e-6)
