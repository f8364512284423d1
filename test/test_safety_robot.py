"""The shipped robots against the vendors' own models, and kinematics of other shapes."""

from __future__ import annotations

import numpy as np
import pinocchio
import pytest
from safety_cell import ROBOTS, model, robot
from safety_urdf import arm, joint

from octo_ros.errors import RobotModelError
from octo_ros.safety.compose import quaternion_xyzw
from octo_ros.safety.constraints import JointPosition, WorkspaceBox
from octo_ros.safety.options import FilterOptions
from octo_ros.safety.robot import Robot

# Joints [rad], then position [m] and quaternion x y z w of the tip, computed by pinocchio from the
# vendors' descriptions, expanded with xacro: franka_description b299b39 (fr3; fer for panda, which
# the panda.urdf of example-robot-data 6.0.0 agrees with) and Universal_Robots_ROS2_Description
# 2221ec0 (which the ur5e.urdf of airo-models 0.0.12 agrees with).
VENDOR_POSES = [
    (
        ("fr3", "panda"),
        (0.1, -0.7, 0.2, -2.1, 0.3, 1.9, 0.6),
        (0.368520107, 0.187264671, 0.62653666),
        (0.942966795, 0.213393954, 0.23707155, -0.095256092),
    ),
    (
        ("fr3", "panda"),
        (-1.2, 0.9, -0.4, -0.8, 1.7, 2.6, -2.2),
        (0.187508611, -0.892679378, 0.490697015),
        (0.731115266, 0.219398032, 0.212400784, 0.610099073),
    ),
    (
        ("ur5e",),
        (0.3, -1.2, 1.4, -1.9, -1.4, 0.2),
        (0.576476918, 0.335577369, 0.396211608),
        (0.741014144, -0.66295999, -0.040389906, -0.098745864),
    ),
    (
        ("ur5e",),
        (-2.0, -0.6, -1.1, 2.3, 0.8, -1.7),
        (0.05825264, -0.359784095, 0.668775077),
        (0.55555639, 0.627600157, -0.216905313, 0.500427044),
    ),
]

VENDOR_LIMITS = {  # lower, upper [rad], velocity [rad/s]
    "fr3": (
        (-2.7437, -1.7837, -2.9007, -3.0421, -2.8065, 0.5445, -3.0159),
        (2.7437, 1.7837, 2.9007, -0.1518, 2.8065, 4.5169, 3.0159),
        (2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26),
    ),
    "panda": (
        (-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973),
        (2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973),
        (2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61),
    ),
    "ur5e": (
        np.radians((-360, -360, -180, -360, -360, -360)),
        np.radians((360, 360, 180, 360, 360, 360)),
        np.radians((180,) * 6),
    ),
}


@pytest.mark.parametrize(("names", "joints", "position", "quaternion"), VENDOR_POSES)
def test_tool_pose_is_that_of_the_vendors_description(names, joints, position, quaternion):
    for name in names:
        found_position, found_rotation = robot(name).tool_pose(np.array(joints))
        assert found_position == pytest.approx(position, abs=2e-9)
        found = quaternion_xyzw(found_rotation)
        assert found * np.sign(found[0]) == pytest.approx(quaternion, abs=2e-9)


@pytest.mark.parametrize("name", ROBOTS)
def test_limits_are_those_of_the_vendors_description(name):
    lower, upper, velocity = VENDOR_LIMITS[name]
    assert robot(name).lower == pytest.approx(np.array(lower), abs=1e-12)
    assert robot(name).upper == pytest.approx(np.array(upper), abs=1e-12)
    assert robot(name).velocity == pytest.approx(np.array(velocity), abs=1e-12)
    assert set(robot(name).units) == {"rad"}


@pytest.mark.parametrize("name", ROBOTS)
def test_chain_holds_the_arm_and_not_the_fingers(name):
    expected = [f"{name}_joint{number}" for number in range(1, 8)]
    if name == "ur5e":
        expected = [
            f"{part}_joint"
            for part in ("shoulder_pan", "shoulder_lift", "elbow", "wrist_1", "wrist_2", "wrist_3")
        ]
    assert list(robot(name).joint_names) == expected


@pytest.mark.parametrize("name", ROBOTS)
def test_home_keeps_every_limit_with_room_to_move(name):
    options = FilterOptions(joint_margin=0.2, box_inset=0.1)
    for limit in (
        JointPosition(robot(name), options),
        WorkspaceBox(robot(name), robot(name).workspace, options),
    ):
        assert limit.outside(robot(name).home) == []


@pytest.mark.parametrize("name", ROBOTS)
def test_jacobian_is_the_derivative_of_the_tool_pose(name):
    arm_robot, random = robot(name), np.random.default_rng(3)
    joints = arm_robot.home + random.uniform(-0.3, 0.3, len(arm_robot.joint_names))
    jacobian, step = arm_robot.jacobian(joints), 1e-6
    for index in range(len(joints)):
        ahead, behind = joints.copy(), joints.copy()
        ahead[index] += step
        behind[index] -= step
        (position_a, rotation_a), (position_b, rotation_b) = map(arm_robot.tool_pose, (ahead, behind))
        linear = (position_a - position_b) / (2 * step)
        spin = (rotation_a @ rotation_b.T - rotation_b @ rotation_a.T) / (4 * step)
        angular = np.array([spin[2, 1], spin[0, 2], spin[1, 0]])
        assert jacobian[:3, index] == pytest.approx(linear, abs=1e-8)
        assert jacobian[3:, index] == pytest.approx(angular, abs=1e-8)


@pytest.mark.parametrize("name", ROBOTS)
def test_tool_poses_are_those_of_each_row(name):
    joints = robot(name).home + np.linspace(0.0, 0.1, 5)[:, None]
    positions, rotations = robot(name).tool_poses(joints)
    for index, row in enumerate(joints):
        position, rotation = model(name).tool(row)
        assert positions[index] == pytest.approx(position, abs=1e-12)
        assert rotations[index] == pytest.approx(rotation, abs=1e-12)
        assert robot(name).tool_pose(row)[0] == pytest.approx(position, abs=1e-12)


def test_prismatic_joint_is_in_metres_and_moves_along_its_axis():
    gantry = Robot.from_urdf(
        arm(joint("rail", kind="prismatic", axis="0 3 4", lower=-0.5, upper=0.5, velocity=0.4)), source="test"
    )
    assert gantry.units == ("m",)
    assert gantry.tool_pose(np.array([0.5]))[0] == pytest.approx([0.1, 0.3, 0.4])  # the axis is normalized


def test_frame_on_a_branch_of_its_own_is_where_the_workspace_lies():
    table = '<link name="table"/>' + joint("stand", kind="fixed", parent="base", child="table", xyz="1 2 3")
    beside = Robot.from_urdf(arm(joint("turn"), extra=table, frame="table"), source="test")
    assert beside.tool_pose(np.array([0.0]))[0] == pytest.approx([-0.9, -2.0, -3.0])
    assert beside.jacobian(np.array([0.0]))[:, 0] == pytest.approx([0.0, 0.1, 0.0, 0.0, 0.0, 1.0])


def test_everything_is_in_the_axes_of_a_frame_that_is_turned():
    table = '<link name="table"/>' + joint(
        "stand", kind="fixed", parent="base", child="table", xyz="1 2 3", rpy="0.3 -0.8 2"
    )
    turns = joint("turn", axis="1 2 0.5", xyz="0 0.1 0.2", rpy="1 0 0"), joint("bend", axis="0 1 -1")
    joints = np.array([0.4, -0.7])
    level = Robot.from_urdf(arm(*turns, extra=table), source="test")
    turned = Robot.from_urdf(arm(*turns, extra=table, frame="table"), source="test")
    turn = pinocchio.rpy.rpyToMatrix(0.3, -0.8, 2.0)
    (position, rotation), (found, found_rotation) = level.tool_pose(joints), turned.tool_pose(joints)
    assert turn @ found + (1, 2, 3) == pytest.approx(position, abs=1e-12)
    assert turn @ found_rotation == pytest.approx(rotation, abs=1e-12)
    for link in ("link1", "out1", "link2", "tip", "base"):
        place = turned.link_position(joints, link)
        assert turn @ place + (1, 2, 3) == pytest.approx(level.link_position(joints, link), abs=1e-12)
    assert turned.link_position(joints, "table") == pytest.approx(np.zeros(3), abs=1e-12)
    jacobian = np.kron(np.eye(2), turn) @ turned.jacobian(joints)
    assert jacobian == pytest.approx(level.jacobian(joints), abs=1e-12)
    assert turned.reach == pytest.approx(level.reach)


def test_a_pose_stays_what_it_was_when_the_next_is_asked_for():
    position, rotation = robot("fr3").tool_pose(robot("fr3").home)
    before = position.copy(), rotation.copy()
    robot("fr3").tool_pose(robot("fr3").home + 0.1)
    assert np.array_equal(position, before[0])
    assert np.array_equal(rotation, before[1])


def test_frame_above_the_root_joint_and_joints_below_it_do_not_count():
    mobile = '<link name="cart"/>' + joint("wheels", kind="floating", parent="cart", child="base")
    finger = '<link name="finger"/>' + joint("grip", kind="continuous", parent="tip", child="finger")
    found = Robot.from_urdf(arm(joint("turn"), extra=mobile + finger), source="test")
    assert found.joint_names == ("turn",)


def test_link_and_joint_may_share_a_name():
    found = Robot.from_urdf(arm(joint("base"), joint("tip")), source="test")
    assert found.joint_names == ("base", "tip")
    assert found.tool_pose(np.zeros(2))[0] == pytest.approx([0.2, 0.0, 0.0])


def test_undeclared_namespace_prefix_is_read_past():
    text = arm(joint("turn")).replace("<limit ", '<limit drake:acceleration="2.5" ')
    assert Robot.from_urdf(text, source="test").joint_names == ("turn",)


def test_home_is_read_and_checked():
    assert Robot.from_urdf(arm(joint("turn"), home="0.5"), source="test").home == pytest.approx([0.5])
    assert Robot.from_urdf(arm(joint("turn")), source="test").home is None
    with pytest.raises(RobotModelError, match=r"home: turn 3 is outside -1 to 1"):
        Robot.from_urdf(arm(joint("turn"), home="3"), source="test")
    with pytest.raises(RobotModelError, match=r"home: expected 1 joints \(turn\), got 2"):
        Robot.from_urdf(arm(joint("turn"), home="0 0"), source="test")


def test_arrays_of_a_robot_cannot_be_changed():
    for array in (robot("fr3").lower, robot("fr3").velocity, robot("fr3").workspace.maximum):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 9.0


def test_missing_file_is_an_error_that_names_it(tmp_path):
    with pytest.raises(RobotModelError, match="absent.urdf"):
        Robot.from_file(tmp_path / "absent.urdf")
