"""The policy node in this process, with a policy that is slow, picky or broken on demand."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import GetState
from node_cell import ACTIVE, INACTIVE, UNCONFIGURED, open_cell
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from small_bundle import write_bundle
from std_srvs.srv import Trigger

import octo_ros
from octo_ros.engine.bundle import read_bundle
from octo_ros.errors import ObservationError
from octo_ros.nodes.messages import time_message
from octo_ros.nodes.policy_node import PolicyNode
from octo_ros.types import Action


class FakePolicy:
    """Answers at once, or after `gate` opens, or raises `error`; records what it was given."""

    backend_name = "fake"
    backend_details = {"provider": "none"}
    statistics = None

    def __init__(self, manifest):
        self.manifest = manifest
        self.gate = threading.Event()
        self.gate.set()
        self.error = None
        self.tasks, self.calls, self.threads = [], [], set()

    def warm_up(self):
        return 0.001

    def set_task(self, task):
        self._seen("task")
        if task.instruction == "impossible":
            raise ObservationError("instruction: impossible")
        self.tasks.append(task)

    def reset(self):
        self._seen("reset")

    def prepare_frame(self, camera, image):
        self.threads.add(threading.current_thread().name)
        return image

    def act(self, observation):
        self._seen("act")
        self.gate.wait(10.0)
        if self.error is not None:
            raise self.error
        zeros = np.zeros(7)
        return Action(observation.stamp_ns, zeros.astype(np.float32), zeros, np.zeros((4, 7), np.float32))

    def prepare(self):
        self.threads.add(threading.current_thread().name)

    def close(self):
        self.calls.append("close")

    def _seen(self, call):
        self.calls.append(call)
        self.threads.add(threading.current_thread().name)


@pytest.fixture(scope="module")
def cell():
    with open_cell() as cell:
        cell.show("primary", "wrist")
        yield cell


@pytest.fixture
def policy(tmp_path, monkeypatch):
    write_bundle(tmp_path / "small")
    policy = FakePolicy(read_bundle(tmp_path / "small"))
    monkeypatch.setattr(octo_ros, "load_policy", lambda *_, **__: policy)
    return policy


@pytest.fixture
def node(cell, policy, tmp_path):
    """The node, active, handled by the same thread as the cell."""
    node = PolicyNode()
    node.set_parameters([Parameter("bundle", value=str(tmp_path / "small"))])
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    executor.add_node(cell)

    def wait(condition, seconds=5.0):
        end = time.monotonic() + seconds
        while not condition() and time.monotonic() < end:
            executor.spin_once(timeout_sec=0.02)
        return condition()

    cell.wait = wait
    node.trigger_configure()
    node.trigger_activate()
    yield node
    policy.gate.set()
    node.end()
    executor.remove_node(node)
    executor.remove_node(cell)
    node.destroy_node()


@pytest.fixture(scope="module")
def actions(cell):
    return cell.record(JointState, "octo/action")


@pytest.fixture(scope="module")
def diagnostics(cell):
    return cell.record(DiagnosticArray, "/diagnostics")


@pytest.fixture
def flowing(cell, node, actions, diagnostics):
    """An instruction is given and actions flow."""
    time.sleep(0.1)
    assert cell.wait(lambda: node.count_publishers("octo/instruction") > 0)
    actions.clear()
    diagnostics.clear()
    cell.say("pick up the spoon")
    assert cell.wait(lambda: len(actions) >= 2)
    return node


def count(diagnostics, name):
    values = {pair.key: pair.value for pair in diagnostics[-1].status[0].values}
    return int(values[name])


def told(diagnostics, text):
    return bool(diagnostics) and text in diagnostics[-1].status[0].message


def ask(cell, kind, service, request):
    client = cell.create_client(kind, f"policy_node/{service}")
    assert cell.wait(client.service_is_ready)
    future = client.call_async(request)
    assert cell.wait(future.done)
    cell.destroy_client(client)
    return future.result()


def state(cell):
    return ask(cell, GetState, "get_state", GetState.Request()).current_state.id


def test_a_slow_inference_never_blocks_is_dropped_and_counted(cell, flowing, policy, actions, diagnostics):
    policy.gate.clear()
    cell.wait(lambda: False, 0.3)
    actions.clear()
    diagnostics.clear()
    begun = policy.calls.count("act")
    assert cell.wait(lambda: len(diagnostics) >= 2, 4.0), "the executor was blocked"
    assert policy.calls.count("act") == begun, "a second job was queued"
    assert actions == []
    assert count(diagnostics, "dropped") >= 5
    policy.gate.set()
    assert cell.wait(lambda: len(actions) >= 2)
    diagnostics.clear()
    assert cell.wait(lambda: bool(diagnostics), 3.0)
    assert count(diagnostics, "late") == 1


def test_only_the_worker_touches_the_policy(cell, flowing, policy):
    assert ask(cell, Trigger, "reset_history", Trigger.Request()).success
    assert cell.wait(lambda: policy.calls[-1] == "act" and policy.calls.count("reset") >= 2)
    assert policy.threads == {"octo inference"}


def test_a_result_that_a_stop_overtook_is_not_published(cell, flowing, policy, actions):
    policy.gate.clear()
    begun = policy.calls.count("act")
    assert cell.wait(lambda: policy.calls.count("act") > begun)
    assert ask(cell, Trigger, "stop", Trigger.Request()).success
    actions.clear()
    policy.gate.set()
    cell.wait(lambda: False, 0.4)
    assert actions == []


def test_a_refused_instruction_stops_the_actions_until_another(cell, flowing, policy, actions, diagnostics):
    cell.say("impossible")
    assert cell.wait(lambda: told(diagnostics, "impossible"), 4.0)
    actions.clear()
    cell.wait(lambda: False, 0.4)
    assert actions == []
    cell.say("open the drawer")
    assert cell.wait(lambda: len(actions) >= 2)
    assert policy.tasks[-1].instruction == "open the drawer"


def test_a_repeated_instruction_is_encoded_once(cell, flowing, policy, actions):
    for _ in range(5):
        cell.say("pick up the spoon")
    actions.clear()
    assert cell.wait(lambda: len(actions) >= 3)
    assert len(policy.tasks) == 1


def test_unreadable_frames_are_counted_and_the_node_stays_active(cell, flowing, policy, diagnostics):
    policy.error = ObservationError("image primary: broken")
    assert cell.wait(lambda: told(diagnostics, "image primary: broken"), 4.0)
    assert count(diagnostics, "failed") > 0
    assert state(cell) == ACTIVE


def test_an_unexpected_error_goes_through_error_processing_to_unconfigured(cell, flowing, policy, actions):
    policy.error = RuntimeError("out of memory")
    assert cell.wait(lambda: state(cell) == UNCONFIGURED)
    assert policy.calls[-1] == "close"
    actions.clear()
    cell.wait(lambda: False, 0.3)
    assert actions == []
    policy.error = None
    flowing.trigger_configure()
    assert state(cell) == INACTIVE
    flowing.trigger_activate()
    assert state(cell) == ACTIVE


def test_a_clock_that_jumps_back_drops_frames_and_history(cell, node, policy):
    clock = cell.create_publisher(Clock, "/clock", 10)
    node.set_parameters([Parameter("use_sim_time", value=True)])

    def at(seconds):
        def reached():
            clock.publish(Clock(clock=time_message(seconds * 10**9)))
            return node.now_ns() == seconds * 10**9

        return cell.wait(reached)

    assert at(100)
    assert at(101)
    cell.wait(lambda: False, 0.2)
    resets = policy.calls.count("reset")
    assert at(50)
    assert cell.wait(lambda: policy.calls.count("reset") == resets + 1)
    assert at(51)
    cell.wait(lambda: False, 0.2)
    assert policy.calls.count("reset") == resets + 1


def test_an_error_while_loading_returns_to_unconfigured(cell, node, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("no such device")

    node.trigger_deactivate()
    node.trigger_cleanup()
    monkeypatch.setattr(octo_ros, "load_policy", broken)
    node.trigger_configure()
    assert state(cell) == UNCONFIGURED
