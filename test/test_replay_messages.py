"""The messages of a replay's bag are those the nodes publish, field by field. Needs rclpy."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

pytest.importorskip("rosbags", reason="the rosbags library is not installed")
pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from bag_maker import write_bag
from rclpy.serialization import serialize_message
from sensor_msgs.msg import JointState

from octo_ros.bags import messages
from octo_ros.bags.reader import Bag
from octo_ros.nodes import commands, decisions
from octo_ros.nodes import messages as of_nodes
from octo_ros.resources import robot_urdf
from octo_ros.safety.decision import Decision, FilterState, Refusal, Status
from octo_ros.safety.robot import Robot
from octo_ros.types import Action

STAMP_NS = 1_700_000_001_234_567_890
REFUSALS = (
    Refusal("joint position fr3_joint4", -3.21, -2.9921, "rad"),
    Refusal("joint states seen", 0.0, 1.0, ""),
)


@pytest.fixture(scope="module")
def robot():
    return Robot.from_file(robot_urdf("fr3"))


@pytest.fixture
def action():
    generator = np.random.default_rng(0)
    chunk = generator.standard_normal((4, 7)).astype(np.float32)
    return Action(STAMP_NS, chunk[0], generator.standard_normal(7), chunk)


@pytest.fixture
def decision(robot):
    return Decision(
        stamp_ns=STAMP_NS,
        status=Status.LIMITED,
        state=FilterState.ACTIVE,
        joint_positions=robot.home + 0.01,
        joint_velocities=np.zeros(7),
        dt=0.2,
        tool_position=np.zeros(3),
        tool_quaternion=np.array([0.0, 0.0, 0.0, 1.0]),
        tool_twist=np.zeros(6),
        gripper=1.0,
        refusals=REFUSALS,
    )


def same(ours, theirs):
    """Whether a message of the rosbags library says the same as one of rclpy, field by field."""
    if not hasattr(theirs, "get_fields_and_field_types"):
        if isinstance(theirs, (str, bytes, int, float)):
            return ours == (theirs[0] if isinstance(theirs, bytes) else theirs)
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    fields = theirs.get_fields_and_field_types()
    return all(same(getattr(ours, name), getattr(theirs, name)) for name in fields)


def test_a_joint_state_of_rclpy_is_read(tmp_path):
    """Fast DDS leaves bytes behind a message that ends in empty arrays; rclpy's own bytes must be read."""
    for count in range(5):
        names = [f"joint{i}" for i in range(count)]
        data = serialize_message(JointState(name=names, position=[0.5] * count))
        kind = messages.OUTPUTS["/octo/action"]
        path = write_bag(tmp_path / str(count), [("/joint_states", 0, (kind, data))])
        with Bag(path) as bag:
            (record,) = bag.records()
            message = bag.decode(record)
        assert message.name == names
        assert message.position.tolist() == [0.5] * count


def test_actions_and_chunks(action):
    assert same(
        messages.action_message(action, "base"), of_nodes.action_message(action, "base", physical=False)
    )
    assert same(
        messages.chunk_message(action, "base", 5.0),
        of_nodes.chunk_message(STAMP_NS, action.chunk, of_nodes.NORMALIZED_AXES, "base", 5.0),
    )


@pytest.mark.parametrize("dt", [0.2, 0.0])
def test_commands(robot, decision, dt):
    decision = dataclasses.replace(decision, dt=dt)
    context = commands.CommandContext(robot.joint_names, robot.workspace.frame, 0.1)
    ours = messages.trajectory_message(decision, robot.joint_names, 0.1)
    assert same(ours, commands.joint_trajectory(context)(decision))


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("refusals", [(), REFUSALS])
def test_decisions(robot, decision, status, refusals):
    decision = dataclasses.replace(decision, status=status, refusals=refusals)
    assert same(messages.decision_message(decision, robot), decisions.decision_message(decision, "fr3.urdf"))
