"""Parts of the filter node that need no ROS graph: the heartbeat, the guard, the reading of actions."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from sensor_msgs.msg import JointState

from octo_ros.nodes.action_reader import ActionReader
from octo_ros.nodes.command_guard import CommandGuard, CommandTopicError
from octo_ros.nodes.heartbeat import Heartbeat
from octo_ros.policy.normalization import Statistics
from octo_ros.safety.decision import Status
from octo_ros.types import ACTION_AXES, NORMALIZED_AXES

SCALE = np.array([0.01, 0.01, 0.01, 0.1, 0.1, 0.1, 1.0])
MASK = np.array([True] * 6 + [False])
PARAMETERS = {
    "normalization": "mean_std",
    "gripper_mode": "absolute",
    "gripper_threshold": 0.5,
    "gripper_votes": 1,
    "gripper_start": 1.0,
}


# The heartbeat.


def test_a_heartbeat_keeps_its_rate_and_makes_up_for_no_late_beat():
    beats, turn = [], threading.RLock()
    heart = Heartbeat(0.02, lambda: beats.append(time.monotonic()), turn)
    time.sleep(0.6)
    with turn:
        heart.stop()
        counted = len(beats)
        time.sleep(0.3)
    assert 5 <= counted <= 31
    time.sleep(0.1)
    assert len(beats) == counted


def test_a_beat_waits_for_its_turn():
    beats, turn = [], threading.RLock()
    with turn:
        heart = Heartbeat(0.01, lambda: beats.append(1), turn)
        time.sleep(0.2)
        assert beats == []
        heart.stop()
    time.sleep(0.1)
    assert beats == []


# The guard.


def publishers(**nodes):
    """What the graph says of the publishers of a topic, by node name, with how many each has."""
    return [
        SimpleNamespace(node_name=name, node_namespace="/cell")
        for name, count in nodes.items()
        for _ in range(count)
    ]


def guard(*endpoints):
    node = SimpleNamespace(
        get_name=lambda: "filter",
        get_namespace=lambda: "/cell",
        get_publishers_info_by_topic=lambda topic: (
            list(endpoints) if topic == "/arm" else publishers(filter=1)
        ),
    )
    return CommandGuard(node, ("/arm", "/gripper"), time.monotonic() - 10.0)


def test_a_guard_is_content_with_its_own_publishers():
    assert guard(*publishers(filter=1)).others() == ()
    guard(*publishers(filter=1)).check()


def test_a_guard_names_the_topic_and_every_other_node():
    (refusal,) = guard(*publishers(filter=1, teleop=2, joystick=1)).others()
    assert refusal.limit == "other publishers of /arm: /cell/joystick, /cell/teleop"
    with pytest.raises(CommandTopicError, match="publishers of /arm: /cell/teleop"):
        guard(*publishers(filter=1, teleop=1)).check()


def test_another_node_of_the_same_name_is_another_node():
    (refusal,) = guard(*publishers(filter=2)).others()
    assert refusal.limit == "other publishers of /arm: /cell/filter"


def test_a_guard_waits_until_publishers_are_discovered():
    looked = time.monotonic()
    node = guard(*publishers(filter=1))._node
    CommandGuard(node, ("/arm",), looked).check()
    assert time.monotonic() - looked >= 1.0


# Actions.


def reader(**parameters):
    statistics = Statistics("test", MASK, np.zeros(7), SCALE, -SCALE, SCALE)
    return ActionReader(statistics, {**PARAMETERS, **parameters})


def action(*values, names=NORMALIZED_AXES):
    return JointState(name=list(names), position=[float(value) for value in values])


def test_an_action_is_un_normalised_exactly_when_it_says_so():
    delta, malformed = reader().read(action(1, 2, 3, 1, 2, 3, 0.7))
    assert malformed == ""
    np.testing.assert_allclose(delta.translation, [0.01, 0.02, 0.03])
    np.testing.assert_allclose(delta.rotation, [0.1, 0.2, 0.3])
    assert delta.gripper == 1.0
    delta, _ = reader().read(action(1, 2, 3, 1, 2, 3, 0.7, names=ACTION_AXES))
    np.testing.assert_allclose(delta.translation, [1.0, 2.0, 3.0])
    assert delta.gripper == 0.7


def test_a_malformed_action_is_no_number_and_says_why():
    delta, malformed = reader().read(action(1, 2, 3, names=ACTION_AXES))
    assert "expected 7 values" in malformed
    assert np.isnan([*delta.translation, *delta.rotation, delta.gripper]).all()


@pytest.mark.parametrize("names", [NORMALIZED_AXES, ACTION_AXES])
def test_a_relative_gripper_counts_from_the_last_accepted_command(names):
    actions = reader(gripper_mode="relative", gripper_start=0.4)

    def asked(change, status=Status.OK):
        opening = actions.read(action(0, 0, 0, 0, 0, 0, change, names=names))[0].gripper
        actions.decided(SimpleNamespace(status=status, gripper=opening))
        return opening

    assert asked(0.2, Status.INVALID) == pytest.approx(0.6)
    assert asked(0.2) == pytest.approx(0.6)
    assert asked(0.2, Status.STOPPED) == pytest.approx(0.8)
    assert [asked(change) for change in (0.2, 0.3, 5.0, -0.25)] == pytest.approx([0.8, 1.0, 1.0, 0.75])
    assert np.isnan(asked(np.nan, Status.INVALID))
    assert asked(-9.0) == 0.0
