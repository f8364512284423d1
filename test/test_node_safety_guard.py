"""What must not get past the filter's process: other publishers of its topics, and looser parameters."""

from __future__ import annotations

import pytest
import rclpy

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from node_cell import ACTIVATE, CLEANUP, CONFIGURE, DEACTIVATE, INACTIVE, statuses
from safety_node_cell import FILTER, running
from std_msgs.msg import Float64
from trajectory_msgs.msg import JointTrajectory


@pytest.fixture(scope="module")
def filter_cell(cell, bundle, logs):
    with running(cell, bundle, logs, max_tool_speed=0.25) as safety:
        yield safety


@pytest.fixture(params=[(JointTrajectory, "/octo/joint_trajectory"), (Float64, "/octo/gripper_command")])
def intruder(request):
    """A node that will publish where only the filter may: starts it, ends it, what is said of it."""
    kind, topic = request.param
    node = rclpy.create_node("intruder", namespace="elsewhere")
    yield lambda: node.create_publisher(kind, topic, 1), f"other publishers of {topic}: /elsewhere/intruder"
    node.destroy_node()


def test_another_publisher_stops_the_arm_and_has_to_go_before_a_reset(cell, safety, intruder):
    intrude, said = intruder
    safety.move(0.5, (0.005, 0.0, 0.0))
    publisher = intrude()
    safety.move(5.0, (0.005, 0.0, 0.0), until=lambda: safety.state() == "stopped")
    assert safety.state() == "stopped"
    assert said in safety.states[-1].message
    assert said in safety.filter.output()
    done, why = cell.trigger(f"{FILTER}/reset")
    assert not done
    assert said in why
    publisher.destroy()
    assert cell.wait(lambda: cell.trigger(f"{FILTER}/reset")[0])
    assert safety.reaches("ready")


def test_with_another_publisher_it_is_not_activated(cell, safety, intruder):
    intrude, said = intruder
    assert cell.change(FILTER, DEACTIVATE)
    publisher = intrude()
    cell.spin(1.0)
    assert not cell.change(FILTER, ACTIVATE)
    assert cell.state(FILTER) == INACTIVE
    assert f"cannot activate: {said}" in safety.filter.output()
    publisher.destroy()
    cell.spin(1.0)
    assert cell.change(FILTER, ACTIVATE)
    assert safety.reaches("ready")


def test_tighter_parameters_are_taken_at_once_and_looser_ones_refused(cell, safety):
    assert cell.set(FILTER, max_tool_speed=0.05) == ""
    safety.move(1.5, (0.02, 0.0, 0.0), until=lambda: "limited" in statuses(safety.decisions))
    assert "tool speed: 0.1 m/s, bound 0.05 m/s" in safety.decisions[-1].message
    assert "max_tool_speed: may only be tightened" in cell.set(FILTER, max_tool_speed=0.06)
    assert "max_tool_speed: may only be tightened" in cell.set(FILTER, joint_margin=0.06, max_tool_speed=1.0)
    assert cell.set(FILTER, workspace_max=[0.7, 0.35, 0.6]) == ""
    assert "workspace_max: may only be tightened" in cell.set(FILTER, workspace_max=[0.7, 0.35, 0.65])
    assert "data_rate_hz: may not change" in cell.set(FILTER, data_rate_hz=1.0)
    assert "clean it up first" in cell.set(FILTER, command_rate_hz=50.0)
    assert "clean it up first" in cell.set(FILTER, check_collisions=False)


def test_what_was_tightened_lasts_until_the_node_is_cleaned_up(cell, safety):
    assert cell.change(FILTER, DEACTIVATE)
    assert "may only be tightened" in cell.set(FILTER, max_tool_speed=0.2)
    assert cell.change(FILTER, ACTIVATE)
    safety.ready()
    safety.move(1.5, (0.02, 0.0, 0.0), until=lambda: "limited" in statuses(safety.decisions))
    assert "tool speed: 0.1 m/s, bound 0.05 m/s" in safety.decisions[-1].message
    assert cell.change(FILTER, DEACTIVATE)
    assert cell.change(FILTER, CLEANUP)
    assert cell.set(FILTER, max_tool_speed=0.2) == ""
    assert cell.change(FILTER, CONFIGURE)
