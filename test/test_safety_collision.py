"""Distances between bodies: against pinocchio's own, their bounds, and what is checked."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import coal
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_geometry import Plain
from safety_urdf import arm, joint, shape, sphere

from octo_ros.safety.bodies.solids import EXACT_DEPTH, SIDES
from octo_ros.safety.robot import Robot

ROBOTS = ("fr3", "panda", "ur5e")
FIXED = settings(derandomize=True, deadline=None, max_examples=60)
URDF = Path(__file__).resolve().parent.parent / "urdf"
WIDER = 1.0 / np.cos(np.pi / SIDES) - 1.0
"""How much further than a cylinder the prism around it reaches, at most, of the radius."""


@cache
def shipped(name: str) -> Robot:
    return Robot.from_file(URDF / f"{name}.urdf")


@cache
def plain(name: str) -> Plain:
    return Plain(str(URDF / f"{name}.urdf"), shipped(name).joint_names)


def within(robot: Robot, shares: np.ndarray) -> np.ndarray:
    """Joints at shares (n,) of the ranges."""
    return robot.lower + (robot.upper - robot.lower) * shares


def read(*joints: str, **parts: object) -> Robot:
    """The arm of `safety_urdf`."""
    return Robot.from_urdf(arm(*joints, **parts), source="arm.urdf")


shares = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).random((2, 7)))


@pytest.mark.parametrize("name", ROBOTS)
@FIXED
@given(shares)
def test_distances_are_those_of_the_file_by_pinocchio_alone(name, share):
    robot, reference = shipped(name), plain(name)
    joints = within(robot, share[0][: len(robot.joint_names)])
    expected = reference.distances(joints)
    for label, distance in zip(robot.clearances.names, robot.clearances.distances(joints), strict=True):
        exact = expected[frozenset(label.split(" - "))]
        if exact <= 0.0:  # coal's own depth of round shapes is not that exact
            assert distance < 1e-5, label
        else:
            assert exact - 2 * 0.1 * WIDER - 1e-5 <= distance <= exact + 1e-5, label


@pytest.mark.parametrize("name", ROBOTS)
def test_pairs_are_links_that_two_joints_or_more_part(name):
    robot = shipped(name)
    found = {frozenset(label.split(" - ")) for label in robot.clearances.names}
    assert len(found) == len(robot.clearances.names)
    bodies = {link: plain(name).body(link) for link in plain(name).owners}
    apart = {frozenset((one, other)) for one in bodies for other in bodies if bodies[one] - bodies[other] > 1}
    ignored = [
        ("base_link_inertia", "upper_arm_link"), ("forearm_link", "wrist_2_link"),
        ("wrist_1_link", "wrist_3_link"),
    ]  # fmt: skip
    assert found == apart - {frozenset(pair) for pair in ignored}
    assert robot.clearances.note == ""


@pytest.mark.parametrize("name", ROBOTS)
def test_home_and_postures_around_it_keep_well_clear(name):
    robot, random = shipped(name), np.random.default_rng(5)
    assert np.min(robot.clearances.distances(robot.home)) > 0.03
    near = [robot.home + random.uniform(-0.4, 0.4, len(robot.home)) for _ in range(300)]
    least = np.array([np.min(robot.clearances.distances(joints)) for joints in near])
    assert np.mean(least > 0.025) > 0.99


@pytest.mark.parametrize("name", ROBOTS)
def test_some_pairs_asked_for_are_those_of_all(name):
    robot = shipped(name)
    clearances, random = robot.clearances, np.random.default_rng(2)
    for _ in range(20):
        joints = within(robot, random.random(len(robot.joint_names)))
        every = clearances.distances(joints)
        for pairs in ([0], [], [3, 1], random.permutation(len(every))):
            some = clearances.distances(joints, np.array(pairs, dtype=int))
            assert some == pytest.approx(every[pairs], abs=1e-9)


SLIDES = """
    <link name="post">{post}</link>
    <joint name="stand" type="fixed"><parent link="base"/><child link="post"/><origin xyz="0 0.4 0"/></joint>
"""


@cache
def mixed() -> Robot:
    """Turning and sliding joints about skew axes, shapes of every kind, a post and obstacles."""
    rod, block = '<cylinder radius="0.03" length="0.15"/>', '<box size="0.05 0.08 0.1"/>'
    return read(
        joint("lift", kind="prismatic", axis="0 0 1", lower=-0.3, upper=0.4),
        joint("turn", axis="0 1 1", lower=-2.5, upper=2.5, xyz="0.1 0 0.2"),
        joint("slide", kind="prismatic", axis="1 -1 0", lower=0.05, upper=0.35),
        joint("bend", axis="1 0 0", lower=-2, upper=2, xyz="0 0.15 0"),
        joint("twist", axis="0 0 -1", lower=-3, upper=3, xyz="0 -0.1 0.1"),
        shapes={
            "base": shape(rod),
            "link1": shape(block, "0.02 0 0.1", "0.3 0 1"),
            "link2": shape('<capsule radius="0.03" length="0.1"/>', "0 0.05 0", "1 0.5 0"),
            "out3": sphere(0.04, "0 0 0.1"),
            "link4": shape(rod, "0 0.1 0", "1 0 0"),
            "tip": shape(block, "0.05 0 0") + sphere(0.03, "0.1 0.05 0"),
        },
        safety=shape(block, "0.3 0.3 0.2", "0 1 0", 'obstacle name="crate"')
        + sphere(0.1, "0.2 -0.4 0.1", 'obstacle name="ball"'),
        extra=SLIDES.format(post=shape(rod)),
    )


def robots_and_bodies():
    return [*((name, lambda name=name: shipped(name)) for name in ROBOTS), ("mixed", mixed)]


@pytest.mark.parametrize(("name", "make"), robots_and_bodies())
@FIXED
@given(shares, st.sampled_from([1.0, 0.1, 1e-3]), st.integers(-1, 6))
def test_no_distance_changes_faster_than_its_bound(name, make, share, way, single):
    robot = make()
    count = len(robot.joint_names)
    start, end = (within(robot, row[:count]) for row in share)
    change = (end - start) * way
    if 0 <= single < count:
        change = change * (np.arange(count) == single)
    before, after = robot.clearances.distances(start), robot.clearances.distances(start + change)
    assert robot.clearances.lipschitz.shape == (len(before), count)
    assert np.all(np.abs(after - before) <= robot.clearances.lipschitz @ np.abs(change) + 1e-9)


@pytest.mark.parametrize("name", ROBOTS)
@FIXED
@given(shares)
def test_reach_bounds_every_body_of_the_arm(name, share):
    robot, reference = shipped(name), plain(name)
    joints = within(robot, share[0][: len(robot.joint_names)])
    surfaces = reference.surfaces(joints)
    for index in range(len(robot.joint_names)):
        origin, axis = reference.axis(index)
        outer = [points for link, points in surfaces if reference.body(link) > index]
        off_axis = np.linalg.norm(np.cross(np.vstack(outer) - origin, axis), axis=1)
        assert np.max(off_axis) <= robot.reach[index] + 1e-9
        assert robot.reach[index] < 1.3


def test_reach_of_sliding_joints_counts_their_way():
    robot = read(
        joint("turn"),
        joint("slide", kind="prismatic", axis="1 0 0", lower=-0.2, upper=0.5),
        shapes={"tip": sphere(0.05)},
    )
    # offset 0.1 m, slide 0.5 m at most, offset to the tip 0.1 m, radius of the ball.
    assert robot.reach == pytest.approx([0.1 + 0.5 + 0.1 + 0.05, 1.0])


KINDS = {
    "box": '<box size="0.1 0.2 0.3"/>',
    "ball": '<sphere radius="0.1"/>',
    "rod": '<cylinder radius="0.05" length="0.3"/>',
    "capsule": '<capsule radius="0.05" length="0.2"/>',
}


@cache
def slider(moved: str, still: str, turn: str) -> Robot:
    """A body that slides through an obstacle along x, from 1 m before it to 1 m behind."""
    return read(
        joint("slide", kind="prismatic", axis="1 0 0", lower=-1, upper=1),
        shapes={"link1": shape(KINDS[moved], "0 0.01 0.02", turn)},
        safety=shape(KINDS[still], holder='obstacle name="still"'),
    )


@pytest.mark.skipif(not EXACT_DEPTH, reason="hpp-fcl does not find depths")
@FIXED
@given(
    st.sampled_from(sorted(KINDS)),
    st.sampled_from(sorted(KINDS)),
    st.sampled_from(["0 0 0", "0.4 1.1 -2", "1.5707963267948966 0 0"]),
    st.lists(st.floats(-0.6, 0.6), min_size=3, max_size=3, unique=True),
)
def test_retreat_from_any_overlap_makes_the_distance_grow(moved, still, turn, places):
    """The signed distance of convex bodies is convex along a line: it falls, then grows for good."""
    clearances = slider(moved, still, turn).clearances
    low, middle, high = sorted(places)
    share = (middle - low) / (high - low)
    ends = [float(clearances.distances(np.array([place]))[0]) for place in (low, high)]
    between = float(clearances.distances(np.array([middle]))[0])
    assert np.isfinite([between, *ends]).all()
    assert between <= (1 - share) * ends[0] + share * ends[1] + 1e-8
    assert clearances.distances(np.zeros(1))[0] < -0.04
    for way in (1.0, -1.0):
        places = np.linspace(0.0, 0.6, 31) * way
        line = [float(clearances.distances(np.array([place]))[0]) for place in places]
        assert np.all(np.diff(line[int(np.argmin(line)) :]) > -1e-9)


def test_distances_of_simple_bodies_are_exact():
    balls = slider("ball", "ball", "0 0 0").clearances
    gap = np.hypot(0.5, np.hypot(0.01, 0.02)) - 0.2
    assert balls.distances(np.array([0.5])) == pytest.approx([gap], abs=1e-12)
    boxes = slider("box", "box", "0 0 0").clearances
    assert boxes.distances(np.array([-0.4])) == pytest.approx([0.3], abs=1e-12)
    if EXACT_DEPTH:
        assert boxes.distances(np.array([0.06])) == pytest.approx([-0.04], abs=1e-9)
        deep = slider("rod", "rod", "0 0 0").clearances.distances(np.zeros(1))
        assert -0.1 - 2 * 0.05 * WIDER <= deep[0] <= -0.07


def test_a_cylinder_reaches_as_far_as_it_should_and_little_further():
    rods, random = slider("rod", "ball", "0 0 0").clearances, np.random.default_rng(4)
    rod, ball = coal.Cylinder(0.05, 0.3), coal.Sphere(0.1)
    for place in random.uniform(0.25, 0.6, 50):
        where = coal.Transform3s(np.eye(3), np.array([place, 0.01, 0.02]))
        result = coal.DistanceResult()
        coal.distance(rod, where, ball, coal.Transform3s.Identity(), coal.DistanceRequest(), result)
        found = rods.distances(np.array([place]))[0]
        assert result.min_distance - 0.05 * WIDER - 1e-6 <= found <= result.min_distance + 1e-6


def test_first_link_keeps_off_what_stands_beside_the_arm_but_not_off_its_foot():
    balls = {"base": sphere(0.05), "link1": sphere(0.05, "0.2 0 0")}
    robot = read(joint("turn"), shapes=balls, extra=SLIDES.format(post=sphere(0.05)))
    assert robot.clearances.names == ("link1 - post",)
    assert robot.clearances.distances(np.zeros(1)) == pytest.approx([np.hypot(0.2, 0.4) - 0.1])


def test_obstacle_is_checked_with_every_link_that_moves_and_lies_in_the_workspace_frame():
    stand = '<link name="table"/>' + joint("stand", kind="fixed", parent="base", child="table", xyz="1 2 3")
    robot = read(
        joint("one"),
        joint("two"),
        frame="table",
        shapes={"base": sphere(0.02), "link1": sphere(0.05), "link2": sphere(0.05)},
        safety=sphere(0.1, "-1 -2 -2", 'obstacle name="lamp"'),
        extra=stand,
    )
    assert robot.clearances.names == (
        "link2 - base", "link1 - obstacle lamp", "link2 - obstacle lamp",
    )  # fmt: skip
    distances = robot.clearances.distances(np.zeros(2))
    assert distances == pytest.approx([0.03, 0.85, np.hypot(1.0, 0.1) - 0.15], abs=1e-9)


def test_pairs_that_are_ignored_or_never_apart_are_left_out():
    three = [joint(name) for name in ("one", "two", "three")]
    balls = {link: sphere(0.04) for link in ("base", "link1", "link2", "link3")}
    assert read(*three, shapes=balls).clearances.names == ("link2 - base", "link3 - base", "link3 - link1")
    ignore = '<ignore_collision links="base link3"/>'
    assert read(*three, shapes=balls, safety=ignore).clearances.names == ("link2 - base", "link3 - link1")
    touching = read(*three, shapes={**balls, "link1": sphere(0.15)}).clearances
    assert touching.names == ("link2 - base", "link3 - base")
    assert touching.note == "never 0.02 m apart, not checked: link3 - link1"
    assert touching.widest == pytest.approx([0.02 + 1e-9, 0.12], abs=0.01)


def test_links_without_geometry_are_noted():
    two = [joint("one"), joint("two")]
    assert read(*two).clearances.note == "no moving link has collision geometry: distances are not checked"
    half = read(*two, shapes={"base": sphere(0.05), "tip": sphere(0.01)}).clearances
    assert half.names == ("tip - base",)
    assert half.note == "no collision geometry on the links after one: their distances are not checked"
    for empty in (read(*two).clearances, read(*two, shapes={"base": sphere(0.1)}).clearances):
        assert empty.names == ()
        assert empty.distances(np.zeros(2)).shape == (0,)
        assert empty.lipschitz.shape == (0, 2)


def test_without_collision_checks_there_are_no_pairs():
    text = arm(joint("turn"), shapes={"link1": sphere(-1.0)}, safety=sphere(0.1, holder='obstacle name="a"'))
    robot = Robot.from_urdf(text, source="arm.urdf", collision=False)
    assert robot.clearances.names == ()
    assert robot.clearances.note == "collision checks are off"
    assert robot.reach == pytest.approx([0.1])


def test_locked_joints_of_a_gripper_hold_their_fingers_at_zero():
    fingers = "".join(
        f'<link name="finger{index}">{sphere(0.02, "0.05 0 0")}</link>'
        + joint(f"grip{index}", kind=kind, parent="tip", child=f"finger{index}", extra=mimic)
        for index, (kind, mimic) in enumerate(
            [("revolute", ""), ("prismatic", '<mimic joint="grip0"/>'), ("continuous", "")]
        )
    )
    robot = read(joint("turn"), joint("bend"), shapes={"base": sphere(0.1)}, extra=fingers)
    assert robot.clearances.names == ("finger0 - base", "finger1 - base", "finger2 - base")
    assert robot.clearances.distances(np.zeros(2)) == pytest.approx([0.13] * 3)
