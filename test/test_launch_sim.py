"""The simulated cell's launch file under the real launch system; skipped without that or robosuite."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec

import launch_cell  # first: it skips this file where what it needs is missing
import launch_pytest
import numpy as np
import pytest

if find_spec("robosuite") is None:
    pytest.skip("robosuite is not installed: no simulated cell", allow_module_level=True)
if shutil.which("ros2") is None:
    pytest.skip("the command ros2, which begins the episode, is not installed", allow_module_level=True)

from node_cell import ACTIVE, open_cell
from rcl_interfaces.srv import GetParameters
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String

from octo_ros.nodes.messages import time_ns
from octo_ros.sim.rendering import choose_backend

with pytest.MonkeyPatch.context() as patch:
    patch.setenv("MUJOCO_GL", os.environ.get("MUJOCO_GL", ""))  # the launched cell has to choose for itself
    if choose_backend() == "disable":
        pytest.skip("nothing to render with: install libegl1 or libosmesa6", allow_module_level=True)

DEMO = {"bundle": launch_cell.SHARE / "demo" / "bundle", "cameras": "[primary]"}
NODES = ("safety_filter_node", "policy_node")
START_S = 300.0
"""Longest start of the cell [s]: robosuite is imported and compiles, beside whatever else runs."""


@launch_pytest.fixture
def panda():
    slow = {"real_time_factor": 0.25}  # for machines that other tests use too
    return launch_cell.launched("sim.launch.py", **DEMO, **slow, task="lift the red cube", seed=3)


@launch_pytest.fixture
def ur5e_by_hand():
    choices = {"command_mode": "joint_position", "publish_clock": False, "begin": False}
    return launch_cell.launched("sim.launch.py", **DEMO, robot="ur5e", **choices)


@launch_pytest.fixture
def impossible():
    # launch_ros fails, too, where it is ended while it waits for a transition: none is asked for
    return launch_cell.launched("sim.launch.py", **DEMO, episode_s=0, autostart=False)


@pytest.fixture
def cell():
    with open_cell() as cell:
        yield cell


def parameter(cell, node: str, name: str):
    """The value of a node's parameter."""
    (value,) = cell.call(GetParameters, f"{node}/get_parameters", GetParameters.Request(names=[name])).values
    return value


def way(joints: list[JointState]) -> float:
    """Furthest that a joint has gone from where it was in the first of these messages [rad]."""
    positions = np.array([message.position for message in joints])
    return float(np.abs(positions - positions[0]).max())


@pytest.mark.launch(fixture=panda)
def test_sim_launch_begins_an_episode_and_the_arm_moves(cell, panda):
    _, ended = panda
    episodes = cell.record(String, "octo/episode")
    joints, pictures = cell.record(JointState, "joint_states"), cell.record(Image, "camera/primary/image_raw")
    assert cell.wait(lambda: "sim_cell_node" in ended or (episodes and pictures), START_S)
    assert pictures, ended
    assert episodes[0].data == "begin lift the red cube"
    assert (pictures[0].width, pictures[0].height) == (256, 256)
    assert joints[0].name[0] == "panda_joint1"
    assert time_ns(joints[0].header.stamp) < 1000 * 10**9  # simulated time
    joints.clear()
    assert cell.wait(lambda: joints and way(joints) > 0.1, 60.0)
    for node in NODES:
        assert parameter(cell, node, "use_sim_time").bool_value
        assert parameter(cell, node, "data_rate_hz").double_value == 10.0  # sim.yaml's, not panda.yaml's
    yield
    assert ended == dict.fromkeys((*NODES, "sim_cell_node", "ros2"), 0)


@pytest.mark.launch(fixture=ur5e_by_hand)
def test_without_begin_the_arm_waits_for_a_reset_on_the_systems_clock(cell, ur5e_by_hand):
    _, ended = ur5e_by_hand
    episodes = cell.record(String, "octo/episode")
    joints, actions = cell.record(JointState, "joint_states"), cell.record(JointState, "octo/action")
    assert cell.wait(lambda: "sim_cell_node" in ended or len(joints) > 100, START_S)
    assert joints, ended
    assert joints[0].name[0] == "shoulder_pan_joint"
    assert abs(cell.get_clock().now().nanoseconds - time_ns(joints[-1].header.stamp)) < 5 * 10**9
    for node in NODES:
        assert cell.wait(lambda node=node: cell.state(node) == ACTIVE, 30.0), node
        assert not parameter(cell, node, "use_sim_time").bool_value
    commands = "octo/joint_position_command"
    assert cell.count_publishers(commands) == cell.count_subscribers(commands) == 1
    assert not episodes and not actions
    assert cell.trigger("sim_cell_node/reset")[0]
    assert cell.wait(lambda: episodes and actions, 30.0)
    yield
    assert ended == dict.fromkeys((*NODES, "sim_cell_node"), 0)


@pytest.mark.launch(fixture=impossible)
def test_everything_ends_with_a_cell_that_does_not_start(cell, impossible):
    _, ended = impossible
    assert cell.wait(lambda: {*NODES, "sim_cell_node"} <= set(ended), START_S), ended
    assert ended["sim_cell_node"] == 1
