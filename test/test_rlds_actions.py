"""Actions of a tool's path, composed as the safety filter composes them, give the path back."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tool_paths import composed

from octo_ros.resources import robot_urdf
from octo_ros.rlds.actions import LARGEST_TURN, pose_differences, tool_states
from octo_ros.safety.compose import Pose, moved, rotation_vector
from octo_ros.safety.robot import Robot

ROBOT = Robot.from_file(robot_urdf("fr3"), collision=False)

SHARE = st.floats(0.02, 0.98)


@st.composite
def joint_paths(draw):
    """(k, 7) joints of the FR3 anywhere in its range, in steps that a robot can make [rad]."""
    share = np.array(draw(st.lists(SHARE, min_size=7, max_size=7)))
    start = ROBOT.lower + share * (ROBOT.upper - ROBOT.lower)
    count = draw(st.integers(1, 12))
    steps = draw(
        st.lists(st.lists(st.floats(-0.1, 0.1), min_size=7, max_size=7), min_size=count, max_size=count)
    )
    return start + np.concatenate((np.zeros((1, 7)), np.cumsum(steps, axis=0)))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(joint_paths())
def test_the_filters_composition_gives_the_poses_back(joints):
    positions, rotations = ROBOT.tool_poses(joints)
    deltas = pose_differences(positions, rotations)
    if np.linalg.norm(deltas[:, 3:], axis=1).max() > LARGEST_TURN:
        return  # told apart as a misfit
    pose = Pose(positions[0], rotations[0])
    for step, delta in enumerate(deltas):
        turn = rotation_vector(delta[3:], "rpy")
        pose = moved(pose, np.concatenate((delta[:3], turn)), "base")
        np.testing.assert_allclose(pose.position, positions[step + 1], atol=1e-12)
        np.testing.assert_allclose(pose.rotation, rotations[step + 1], atol=1e-9)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(joint_paths())
def test_composed_undoes_the_differences_also_in_float32(joints):
    positions, rotations = ROBOT.tool_poses(joints)
    deltas = pose_differences(positions, rotations)
    for values, tolerance in ((deltas, 1e-9), (deltas.astype(np.float32), 1e-5)):
        back_positions, back_rotations = composed(positions[0], rotations[0], values)
        np.testing.assert_allclose(back_positions, positions, atol=tolerance)
        np.testing.assert_allclose(back_rotations, rotations, atol=tolerance)


ANGLE = st.floats(-0.57, 0.57)  # any three of these have a norm below LARGEST_TURN


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.tuples(*[st.floats(-0.1, 0.1)] * 3, *[ANGLE] * 3), min_size=1, max_size=8))
def test_differences_undo_composed(deltas):
    positions, rotations = composed(np.array([0.4, 0.0, 0.3]), np.diag([1.0, -1.0, -1.0]), np.array(deltas))
    np.testing.assert_allclose(pose_differences(positions, rotations), deltas, atol=1e-9)


def test_the_axes_are_the_bases_and_the_order_is_roll_pitch_yaw():
    """Quarter turns by hand: about the base's z, a tool that points along x then points along y."""
    turned = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    tool = np.diag([1.0, -1.0, -1.0])
    delta = pose_differences(np.array([[0, 0, 0], [0.1, 0.2, 0.3]], float), np.stack((tool, turned @ tool)))
    np.testing.assert_allclose(delta, [[0.1, 0.2, 0.3, 0.0, 0.0, np.pi / 2]], atol=1e-12)
    roll = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    states = tool_states(np.zeros((2, 3)), np.stack((roll, turned @ roll)))
    np.testing.assert_allclose(states[:, 3:], [[np.pi / 2, 0, 0], [np.pi / 2, 0, np.pi / 2]], atol=1e-12)
