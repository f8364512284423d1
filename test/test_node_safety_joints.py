"""The filter's process when joint states pause, freeze or end."""

from __future__ import annotations

import time

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from node_cell import URDF, processes, statuses, values
from safety_node_cell import ARM, FILTER, PATIENT, refusals, running
from sensor_msgs.msg import JointState

AGE_S, TIMEOUT_S, FROZEN_S = 0.4, 3.0, PATIENT["frozen_joint_state_s"]


@pytest.fixture(scope="module")
def filter_cell(cell, bundle, logs):
    given = {"max_joint_state_age_s": AGE_S, "action_timeout_s": TIMEOUT_S, "max_tracking_error": 1.0}
    with running(cell, bundle, logs, **given) as safety:
        yield safety


def test_a_pause_of_the_joint_states_holds_the_arm_and_it_goes_on_by_itself(cell, safety):
    safety.move(0.6, (0.01, 0.0, 0.0))
    assert safety.state() in ("active", "limited"), safety.filter.output()
    safety.arm.freeze()
    safety.move(2.0, (0.01, 0.0, 0.0), until=lambda: safety.state() == "hold")
    assert safety.state() == "hold"
    assert "joint state age" in safety.states[-1].message
    cell.spin(0.5)
    safety.clear()
    safety.move(0.4, (0.01, 0.0, 0.0))
    assert set(statuses(safety.decisions)) == {"hold"}
    assert len({tuple(position) for position in safety.positions()}) == 1
    safety.arm.thaw()
    safety.joints.clear()
    safety.clear()
    safety.move(2.0, (0.01, 0.0, 0.0), until=lambda: safety.state() in ("active", "limited"))
    assert safety.state() in ("active", "limited"), safety.filter.output()
    safety.move(0.4, (0.01, 0.0, 0.0))
    commanded = np.array(safety.positions())
    goes_on = next(joints for joints in commanded if np.any(joints != commanded[0]))
    measured = np.array([message.position for message in safety.joints])
    assert np.abs(measured - goes_on).max(axis=1).min() < 0.02  # from where the arm was found
    assert "hold -> " in safety.filter.output()


def test_joint_states_that_never_change_hold_the_arm_that_is_sent_on(cell, safety):
    """A driver that hangs repeats the arm's last positions."""
    safety.arm.freeze()
    message = safety.joints[-1]
    publisher = cell.create_publisher(JointState, "joint_states", 1)

    def repeat() -> None:
        message.header.stamp = cell.get_clock().now().to_msg()
        publisher.publish(message)

    timer = cell.create_timer(0.02, repeat)
    try:
        assert cell.wait(lambda: cell.trigger(f"{FILTER}/reset")[0])
        safety.clear()
        safety.move(4.0 * FROZEN_S, (0.004, 0.0, 0.0), until=lambda: safety.state() == "hold")
        assert safety.state() == "hold"
        assert "joint states unchanged in motion" in safety.states[-1].message
    finally:
        safety.arm.thaw()
        cell.destroy_timer(timer)
        cell.destroy_publisher(publisher)


def test_joint_states_that_stay_away_stop_the_arm_until_a_reset(cell, safety, logs):
    safety.move(0.6, (0.01, 0.0, 0.0))
    safety.arm.kill()
    killed = time.monotonic()
    safety.move(3.0 * TIMEOUT_S, (0.01, 0.0, 0.0), until=lambda: safety.state() == "stopped")
    assert safety.state() == "stopped"
    assert time.monotonic() - killed >= 0.5 * TIMEOUT_S
    assert any("joint state age" in refusal for refusal in refusals(safety.decisions[-1]))
    done, why = cell.trigger(f"{FILTER}/reset")
    assert not done
    assert "joint state" in why
    with processes(logs, joint_state_simulator={"urdf_file": URDF}) as started:
        safety.joints.clear()
        assert cell.wait(lambda: len(safety.joints) > 3), started[ARM].output()
        safety.decisions.clear()
        safety.move(0.5, (0.01, 0.0, 0.0))
        assert set(statuses(safety.decisions)) == {"stopped"}
        assert cell.wait(lambda: cell.trigger(f"{FILTER}/reset")[0])
        safety.decisions.clear()
        safety.move(0.5, (0.01, 0.0, 0.0))
        assert {"active", "limited"} >= {values(decision)["state"] for decision in safety.decisions}
