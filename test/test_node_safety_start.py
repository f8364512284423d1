"""What refuses to start or to configure the safety filter, and how it says so."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

import rclpy
from node_cell import (
    ACTIVATE,
    CLEANUP,
    CONFIGURE,
    UNCONFIGURED,
    URDF,
    processes,
    urdf_without,
)
from std_msgs.msg import Float64

from octo_ros.nodes.safety_parameters import PARAMETERS

FILTER = "safety_filter_node"
DEFAULTS = {parameter.name: parameter.default for parameter in PARAMETERS}


@pytest.fixture(scope="module")
def unconfigured(cell, bundle, logs):
    """A filter that a test tries to configure with a mistake; started when the shared one has ended."""
    given = {"bundle": bundle, "urdf_file": URDF, "robot_description_timeout_s": 0.1}
    with processes(logs, safety_filter_node=given) as started:
        yield started[FILTER]


@pytest.mark.parametrize(
    ("mistake", "expected"),
    [
        ({"bundle": "/nowhere"}, "not an octo_ros bundle"),
        ({"bundle": ""}, "bundle: expected"),
        ({"dataset": "fractal"}, "it has small"),
        ({"urdf_file": "/nowhere.urdf"}, "urdf_file: cannot be read"),
        ({"urdf_file": ""}, "robot_description"),
        ({"robot_description": "<robot"}, "parameter robot_description"),
        ({"robot_description": urdf_without('velocity="2.62"')}, "velocity"),
        ({"robot_description": urdf_without('lower="-2.7437"', 'lower="9"')}, "fr3_joint1"),
        ({"robot_description": urdf_without('safety version="1"', 'safety version="9"')}, "octo_safety"),
        ({"command_mode": "torque"}, "command_mode"),
        ({"gripper_mode": "sticky"}, "gripper_mode: expected one of absolute, relative"),
        ({"workspace_max": [9.0, 0.4, 0.7]}, "workspace_max"),
        ({"workspace_min": [0.3, 0.0]}, "workspace_min"),
    ],
)
def test_a_mistake_refuses_to_configure_and_can_be_corrected(cell, bundle, unconfigured, mistake, expected):
    right = {**DEFAULTS, "bundle": str(bundle), "urdf_file": str(URDF)}
    printed = len(unconfigured.output())
    assert cell.set(FILTER, **{**right, **mistake}) == ""
    assert not cell.change(FILTER, CONFIGURE)
    assert cell.state(FILTER) == UNCONFIGURED
    assert expected in unconfigured.output()[printed:].split("cannot configure:")[1]
    assert cell.set(FILTER, **right) == ""
    assert cell.change(FILTER, CONFIGURE)
    assert cell.change(FILTER, CLEANUP)
    assert "Traceback" not in unconfigured.output()


def test_the_unconfigured_filter_ends_in_order(unconfigured):
    assert unconfigured.stop() == 0


def test_a_misspelt_parameter_ends_the_process_with_one_line(logs, bundle):
    with processes(logs, safety_filter_node={"bundle": bundle, "max_tool_sped": 0.1}) as started:
        assert started[FILTER].wait(10.0) == 1
        assert "did you mean max_tool_speed?" in started[FILTER].output()
        assert "Traceback" not in started[FILTER].output()


def test_a_publisher_that_was_there_first_refuses_activation(cell, logs, bundle):
    """The filter is asked the moment it starts: it waits until it knows who is there."""
    node = rclpy.create_node("teleop")
    node.create_publisher(Float64, "octo/gripper_command", 1)
    with processes(logs, safety_filter_node={"bundle": bundle, "urdf_file": URDF}) as started:
        assert cell.change(FILTER, CONFIGURE), started[FILTER].output()
        assert not cell.change(FILTER, ACTIVATE)
        said = "cannot activate: other publishers of /octo/gripper_command: /teleop"
        assert said in started[FILTER].output()
    node.destroy_node()
