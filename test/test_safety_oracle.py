"""The checks of the safety filter, checked: each finds the one thing that is wrong with a motion."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from safety_arms import BROKEN, SHAPES, SHIPPED, arm
from safety_model import Model
from safety_oracle import Oracle, Violation

from octo_ros.safety.options import FilterOptions

OPTIONS = FilterOptions()
TICK_NS = 10_000_000
PLANAR = np.array([0.1, 0.5, 0.4])  # well inside
ELBOW = np.array([0.0, 0.0, 1.0])


def ramp(speed: float, seconds: float, acceleration: float = 9.9) -> np.ndarray:
    """(k,) way of a joint that speeds up to `speed`, goes on, and has come to rest after `seconds` [rad]."""
    ticks = np.arange(round(seconds * 100))
    velocity = np.minimum.reduce([acceleration * 0.01 * (ticks + 1), np.full(len(ticks), speed)])
    return np.concatenate(([0.0], np.cumsum(np.minimum(velocity, velocity[::-1]) * 0.01)))


def run(oracle: Oracle, joints: np.ndarray, tick_ns: int = TICK_NS) -> Oracle:
    """Feeds a path (k, n), one command every `tick_ns`."""
    for index, sample in enumerate(joints):
        oracle.emit(index * tick_ns, sample)
    return oracle


def found(name: str, joints: np.ndarray, options: FilterOptions = OPTIONS, tick_ns: int = TICK_NS) -> str:
    """The invariant that a path breaks, "" for none."""
    try:
        run(Oracle(arm(name).model, options), joints, tick_ns)
    except Violation as violation:
        assert violation.margin < 0.0
        return violation.invariant
    return ""


def line(name: str, start: np.ndarray, way: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """(k, n) path from `start` along `direction`."""
    return np.asarray(start) + way[:, None] * np.asarray(direction)


def test_a_gentle_motion_breaks_nothing_and_every_margin_is_measured():
    oracle = run(Oracle(arm("planar").model, OPTIONS), line("planar", PLANAR, ramp(0.3, 1.0), ELBOW))
    assert set(oracle.worst) == {
        "1 joint position", "3 joint velocity", "4 acceleration", "6 tool speed", "6 tool rotation",
        "7 workspace", "5 braking alone, joints", "5 braking alone, boxes", "5 braking together, joints",
        "5 braking together, boxes",
    }  # fmt: skip
    assert oracle.worst["3 joint velocity"] == pytest.approx(0.9 * 2.0, abs=1e-9)  # of the joints that stand
    assert oracle.worst["4 acceleration"] == pytest.approx(0.01, abs=1e-6)
    assert oracle.worst["6 tool speed"] == pytest.approx(0.25 - 0.1 * 0.3, abs=1e-6)
    assert oracle.worst["6 tool rotation"] == pytest.approx(0.5 - 0.3, abs=1e-9)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_1_a_command_that_is_no_number(value):
    assert found("planar", np.array([PLANAR, [0.1, value, 0.4]])) == "1 finite"


def test_1_a_joint_that_enters_its_margin():
    start = [0.1, 0.5, 2.5 - 0.05 - 0.001]
    assert found("planar", line("planar", start, ramp(0.1, 0.5), ELBOW)) == "5 braking alone, joints"
    hard = replace(OPTIONS, max_joint_acceleration=1000.0)  # braking takes no room
    assert found("planar", line("planar", start, np.arange(40.0) * 3e-4, ELBOW), hard) == "1 joint position"


def test_3_a_joint_beyond_its_share_of_the_urdf():
    fast = FilterOptions(max_tool_rotation_speed=10.0, max_tool_speed=5.0)
    way = ramp(0.9 * 3.0 * (1 - 1e-6), 1.0)
    assert found("planar", line("planar", [0.1, 0.5, -1.2], way, ELBOW), fast) == ""
    assert (
        found("planar", line("planar", [0.1, 0.5, -1.2], way * (1 + 3e-6), ELBOW), fast) == "3 joint velocity"
    )


def test_4_a_start_and_a_stop_that_are_too_hard():
    way = ramp(0.3, 0.6, 9.99)
    assert found("planar", line("planar", PLANAR, way, ELBOW)) == ""
    assert found("planar", line("planar", PLANAR, ramp(0.3, 0.6, 10.001), ELBOW)) == "4 acceleration"
    stopped = np.concatenate((way[:20], np.full(5, way[19])))  # dead stop from 0.3 rad/s within 10 ms
    assert found("planar", line("planar", PLANAR, stopped, ELBOW)) == "4 acceleration"
    slower = np.concatenate((way[:20], np.full(5, way[19])))
    assert (
        found("planar", line("planar", PLANAR, slower, ELBOW), tick_ns=31 * 1_000_000) == ""
    )  # 31 ms are enough


@pytest.mark.parametrize("tick_ns", [1000, 30_000, TICK_NS, 400_000_000])
def test_4_holds_at_any_rate(tick_ns):
    dt = tick_ns * 1e-9
    change = 9.9 * dt * dt
    way = np.cumsum(np.minimum(np.arange(20.0), np.arange(20.0)[::-1]) * change)
    fast = replace(OPTIONS, max_tool_rotation_speed=20.0, max_tool_speed=10.0, joint_margin=0.0)
    scale = min(1.0, 0.3 / way[-1])
    assert found("planar", line("planar", PLANAR, way * scale, ELBOW), fast, tick_ns) == ""
    way[10:] += 30 * dt * dt
    if scale == 1.0:
        assert found("planar", line("planar", PLANAR, way, ELBOW), fast, tick_ns) == "4 acceleration"


@pytest.mark.parametrize(("spare", "invariant"), [(1e-4, ""), (-1e-4, "5 braking alone, joints")])
def test_5_speed_from_which_a_joint_no_longer_brakes_before_its_margin(spare, invariant):
    way = ramp(0.4, 0.6)[:30]
    start = 2.45 - 0.4**2 / (2.0 * 10.0) - spare - way[-1]
    assert found("planar", line("planar", [0.1, 0.5, start], way, ELBOW)) == invariant


def test_5_joints_that_brake_together_take_the_time_of_the_fastest():
    model = arm("gantry").model
    options = FilterOptions(max_tool_speed=5.0, max_joint_acceleration=0.5, min_clearance=0.0)
    start = np.array([0.0, -0.3, 0.3, 0.0, 0.0, 0.0])
    steps = ramp(0.5, 4.0, 0.49)
    direction = np.array([1.0, 0.1, 0.0, 0.0, 0.0, 0.0])
    begin = start - [steps[150], 0.0, 0.0, 0.0, 0.0, 0.0]
    begin[1] = (
        0.5 - 0.05 - 0.1 * (steps[150] + 0.1)
    )  # alone joint 2 needs 2.5 mm to brake, with joint 1 25 mm
    wide = Model(arm("gantry").xml.replace("0.700000 0.400000", "0.790000 0.700000"))
    with pytest.raises(Violation, match="5 braking together, joints"):
        run(Oracle(wide, options), line("gantry", begin, steps[:151], direction))
    assert len(model.names) == 6


@pytest.mark.parametrize(("joint", "invariant"), [(0, "6 tool speed"), (2, "6 tool rotation")])
def test_6_a_tool_that_is_too_fast(joint, invariant):
    options = FilterOptions(**{"max_tool_rotation_speed" if joint == 0 else "max_tool_speed": 9.0})
    direction = np.eye(3)[joint]
    reach = np.linalg.norm(arm("planar").model.tool(PLANAR)[0]) if joint == 0 else 1.0
    allowed = (0.25 if joint == 0 else 0.5) / reach
    assert found("planar", line("planar", PLANAR, ramp(allowed * 0.9999, 0.6), direction), options) == ""
    assert (
        found("planar", line("planar", PLANAR, ramp(allowed * 1.0002, 0.6), direction), options) == invariant
    )


def test_7_a_path_that_bulges_through_a_wall_between_two_commands():
    swing = FilterOptions(max_tool_speed=9.0, max_tool_rotation_speed=9.0, max_joint_acceleration=900.0)
    model = arm("planar").model
    ends = [np.array([-0.4, 0.0, 0.0]), np.array([0.4, 0.0, 0.0])]
    assert all(np.all(Oracle(model, swing).beyond(joints) < 0.0) for joints in ends)
    assert found("planar", np.array(ends), swing, 500_000_000) == "7 workspace"  # x = 0.65 in the middle


def test_7_and_5_a_wall_that_is_reached_too_fast():
    speed = 0.24 / 0.65
    way = ramp(speed, 2.0)
    start = np.array([0.3, 0.0, 0.0])
    top = np.arcsin((0.55 - 0.005) / 0.65) - start[0]
    way = way[way < top - 0.001]
    assert found("planar", line("planar", start, way, [1.0, 0.0, 0.0])) in {
        "5 braking alone, boxes",
        "5 braking together, boxes",
    }


def test_8_an_elbow_that_leaves_its_zone():
    options = FilterOptions(max_joint_acceleration=900.0)
    start = np.array([1.2, 1.0, 0.1, 0.0])
    path = line("scara", start, np.linspace(0.0, 0.3, 60), [1.0, -1.0, 0.0, 0.0])
    assert found("scara", path, options, 20_000_000).startswith(("8 zones", "5 braking"))
    outside = start + [0.25, -0.25, 0.0, 0.0]
    assert np.max(Oracle(arm("scara").model, options).beyond(outside)[14:]) > 0.0


def test_9_from_outside_out_is_refused_in_is_not_and_back_out_neither():
    outside = np.array([0.1, 0.5, 2.46])
    out, back = ramp(0.05, 0.3), -ramp(0.05, 0.3)
    assert found("planar", line("planar", outside, out, ELBOW)) == "9 from outside"
    assert found("planar", line("planar", outside, back, ELBOW)) == ""
    assert found("planar", line("planar", outside, np.concatenate((back, back[-1] + out)), ELBOW)) in {
        "9 from outside",
        "1 joint position",
        "5 braking alone, joints",
    }
    creeping = line("planar", outside, np.arange(3000) * 0.9e-9, ELBOW)  # each step within rounding
    assert found("planar", creeping) == "9 from outside"


def test_16_motion_in_no_time_or_in_too_much():
    moved = PLANAR + [0.0, 0.0, 1e-6]
    assert found("planar", np.array([PLANAR, moved]), tick_ns=0) == "16 no motion"
    assert found("planar", np.array([PLANAR, moved]), tick_ns=500) == "16 no motion"
    assert found("planar", np.array([PLANAR, moved]), tick_ns=600_000_000) == "16 no motion"
    assert found("planar", np.array([PLANAR, moved]), tick_ns=500_000_000) == ""


def test_20_coming_closer_to_an_obstacle_than_the_clearance_or_than_before():
    model = arm("scara").model
    start = next(
        joints
        for turn in np.linspace(0.0, 1.2, 600)
        if 0.02 < min(model.distances(joints := np.array([turn, 0.0, 0.3, 0.0]))) < 0.022
    )
    closer = start + [0.02, 0.0, 0.0, 0.0]
    assert model.distances(closer).min() < 0.02
    options = FilterOptions(max_joint_acceleration=900.0)
    assert (
        found("scara", line("scara", start, np.linspace(0.0, 0.02, 10), [1.0, 0, 0, 0]), options)
        == "20 distance"
    )
    away = line("scara", closer, np.linspace(0.0, -0.02, 10), [1.0, 0, 0, 0])
    assert found("scara", away, options) == ""
    assert found("scara", np.concatenate((away, away[::-1][1:])), options) == "20 distance"


def test_jerk_is_the_change_of_acceleration_by_time():
    oracle = Oracle(arm("planar").model, OPTIONS)
    for index, way in enumerate(np.cumsum(np.cumsum([0.0, 1e-4, 3e-4, 3e-4, 1e-4]))):
        oracle.emit(index * TICK_NS, PLANAR + way * ELBOW, is_free=True)
    assert oracle.largest_jerk == pytest.approx(2e-4 / 1e-6)


def test_limits_that_tighten_under_way_must_be_met_by_braking_at_once():
    model = arm("planar").model
    for brakes in (True, False):
        oracle = run(Oracle(model, OPTIONS), line("planar", PLANAR, ramp(0.45, 1.0)[:30], ELBOW))
        oracle.tighten(replace(OPTIONS, max_tool_rotation_speed=0.2))
        joints, velocity = oracle.joints, 0.45
        for index in range(30, 40):
            velocity = max(velocity - 0.0999, 0.0) if brakes else velocity
            joints = joints + ELBOW * velocity * 0.01
            if brakes:
                oracle.emit(index * TICK_NS, joints)
            else:
                with pytest.raises(Violation, match="slowing down"):
                    oracle.emit(index * TICK_NS, joints)
                break
    gentle = run(Oracle(model, OPTIONS), line("planar", PLANAR, ramp(0.1, 1.0)[:30], ELBOW))
    gentle.tighten(replace(OPTIONS, max_tool_rotation_speed=0.2))
    gentle.emit(30 * TICK_NS, gentle.joints + ELBOW * 0.001)


@pytest.mark.parametrize("name", [*SHIPPED, *SHAPES, *(f"random {seed}" for seed in range(12))])
def test_both_readings_of_an_arm_agree(name):
    """The package and the checks read the same limits, kinematics and distances from the same text."""
    robot, model = arm(name).robot, arm(name).model
    assert list(robot.joint_names) == model.names
    assert np.array_equal(robot.lower, model.lower)
    assert np.array_equal(robot.upper, model.upper)
    assert np.array_equal(robot.velocity, model.velocity)
    assert np.array_equal(robot.workspace.minimum, model.minimum)
    random = np.random.default_rng(1)
    pairs = {frozenset(name.split(" - ")): index for index, name in enumerate(robot.clearances.names)}
    shared = [
        (row, pairs[frozenset(pair)])
        for row, pair in enumerate(model.bodies.pairs)
        if frozenset(pair) in pairs
    ]
    assert len(shared) == len(model.bodies.pairs), "a pair that the filter does not look at"
    for _ in range(5):
        joints = random.uniform(model.lower, model.upper)
        for ours, theirs in zip(model.tool(joints), robot.tool_pose(joints), strict=True):
            assert ours == pytest.approx(theirs, abs=1e-12)
        for zone, origin in zip(robot.zones, model.origins(joints), strict=True):
            assert robot.link_position(joints, zone.link) == pytest.approx(origin, abs=1e-12)
        assert robot.jacobian(joints) == pytest.approx(model.jacobian(joints), abs=1e-6)
        ours, theirs = model.distances(joints), robot.clearances.distances(joints)
        for row, index in shared:
            if ours[row] > 0.0:
                assert -1e-5 <= ours[row] - theirs[index] <= model.bodies.roughness[row] + 1e-5


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_arms_are_all_different_from_the_whole_one(kind):
    pattern, replacement, _ = BROKEN[kind]
    assert re.sub(pattern, replacement, arm("planar").xml, count=1) != arm("planar").xml
