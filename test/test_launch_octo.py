"""The launch files under the real launch system, with the installed package; skipped where it is missing."""

from __future__ import annotations

import tempfile
from pathlib import Path

import launch_cell  # first: it skips this file where what it needs is missing
import launch_pytest
import numpy as np
import pytest
import rclpy
from node_cell import ACTIVE, UNCONFIGURED, open_cell
from rclpy.qos import qos_profile_sensor_data
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from small_bundle import write_bundle
from trajectory_msgs.msg import JointTrajectory

from octo_ros.nodes.messages import time_message, time_ns

BUNDLE = Path(tempfile.mkdtemp(prefix="octo_ros_launch_")) / "small"
write_bundle(BUNDLE)
CONTROLLER = "/scaled_joint_trajectory_controller/joint_trajectory"
NODES = ("safety_filter_node", "policy_node")


@launch_pytest.fixture
def octo():
    arguments = {"bundle": BUNDLE, "mask_language": True, "instruction": "3", "simulate_joints": True}
    topics = {"command_topic": CONTROLLER, "joint_states": "/ur/joint_states"}
    return launch_cell.launched("octo.launch.py", robot="ur5e", **arguments, **topics)


@launch_pytest.fixture
def octo_by_hand():
    return launch_cell.launched("octo.launch.py", bundle=BUNDLE, autostart=False)


@launch_pytest.fixture
def octo_without_bundle():
    return launch_cell.launched("octo.launch.py", bundle="/nowhere")


@launch_pytest.fixture
def replay():
    arguments = {"bundle": BUNDLE, "mask_language": True, "instruction": "go", "cameras": "[primary]"}
    return launch_cell.launched("replay.launch.py", primary="/cam/color", **arguments)


@pytest.fixture
def cell():
    with open_cell() as cell:
        yield cell


@pytest.mark.launch(fixture=octo)
def test_octo_launch_brings_both_nodes_to_active_and_commands_flow(cell):
    actions, commands = (
        cell.record(JointState, "octo/action"),
        cell.record(JointTrajectory, CONTROLLER),
    )
    joints = cell.record(JointState, "/ur/joint_states")
    cell.show("primary", "wrist")
    for node in NODES:
        assert cell.wait(lambda node=node: cell.state(node) == ACTIVE, 30.0), node
    assert cell.wait(lambda: len(actions) >= 3 and len(commands) >= 3, 10.0)
    assert actions[-1].header.frame_id == "base_link"
    assert commands[-1].joint_names[0] == "shoulder_pan_joint" == joints[-1].name[0]


@pytest.mark.launch(fixture=octo_by_hand)
def test_without_autostart_both_nodes_wait_unconfigured(cell):
    cell.wait(lambda: False, 2.0)
    for node in NODES:
        assert cell.state(node) == UNCONFIGURED


@pytest.mark.launch(fixture=octo_without_bundle)
def test_a_missing_bundle_leaves_both_nodes_unconfigured_and_alive(cell):
    cell.wait(lambda: False, 4.0)
    for node in NODES:
        assert cell.state(node) == UNCONFIGURED


@pytest.mark.launch(fixture=replay)
def test_replay_launch_runs_by_the_bags_clock_on_the_bags_topics(cell):
    commands = cell.record(JointTrajectory, "octo/joint_trajectory")
    actions, joints = cell.record(JointState, "octo/action"), cell.record(JointState, "joint_states")
    clock = cell.create_publisher(Clock, "/clock", 10)
    frames = cell.create_publisher(Image, "/cam/color", qos_profile_sensor_data)
    bag_ns = [1_000_000_000_000]

    def play():
        bag_ns[0] += 10_000_000
        clock.publish(Clock(clock=time_message(bag_ns[0])))
        if bag_ns[0] % 200_000_000 == 0:
            image = Image(height=24, width=32, step=96, encoding="rgb8")
            image.data = np.zeros(24 * 96, np.uint8).tobytes()
            image.header.stamp = time_message(bag_ns[0])
            frames.publish(image)

    cell.create_timer(0.01, play)
    for node in NODES:
        assert cell.wait(lambda node=node: cell.state(node) == ACTIVE, 30.0), node
    assert cell.wait(lambda: len(actions) >= 3 and len(commands) >= 3, 15.0)
    for message in (actions[-1], joints[-1]):
        assert 1_000_000_000_000 < time_ns(message.header.stamp) <= bag_ns[0]
    assert rclpy.ok()
