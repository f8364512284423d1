"""What the tests of the nodes share: an operator's node, real node processes, their logs.

Import it after `pytest.importorskip("rclpy")`. Every test process has a DDS domain of its own.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger

from octo_ros.nodes.messages import NORMALIZED_AXES, time_message
from octo_ros.nodes.processes import NodeProcess
from octo_ros.nodes.qos import LATCHED
from octo_ros.resources import share_path

CONFIGURE, CLEANUP = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_CLEANUP
ACTIVATE, DEACTIVATE = Transition.TRANSITION_ACTIVATE, Transition.TRANSITION_DEACTIVATE
UNCONFIGURED, INACTIVE = State.PRIMARY_STATE_UNCONFIGURED, State.PRIMARY_STATE_INACTIVE
ACTIVE = State.PRIMARY_STATE_ACTIVE

URDF = share_path("urdf/fr3.urdf")
DOMAIN = str(1 + os.getpid() % 100)
"""DDS domain of this test process."""
STEP = (0.3, 0.2, 0.1, 0.0, 0.0, 0.0, 1.0)
"""A normalized action of the small bundle that moves the tool slowly."""


class Process(NodeProcess):
    """A node's process that can also be killed, and whose output can be read."""

    def interrupt(self) -> None:
        """Asks it to end, as Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)

    def freeze(self) -> None:
        """Stops the process where it is, as a machine that hangs does."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets it go on."""
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> int:
        self.thaw()
        return super().stop()

    def kill(self) -> None:
        """Ends the process at once, as a crash would."""
        self._process.kill()
        self._process.wait()

    def wait(self, seconds: float) -> int:
        """Waits until it ends by itself; returns its exit status."""
        return self._process.wait(timeout=seconds)

    def output(self) -> str:
        """Everything it has printed so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")


class Cell(Node):
    """The operator and the cameras of a robot cell."""

    def __init__(self) -> None:
        super().__init__("test_cell")
        self.image_age_s = 0.0
        self._cameras: dict[str, object] = {}
        self._callers: dict[str, object] = {}
        self._instruction = self.create_publisher(String, "octo/instruction", 1)
        self._e_stop = self.create_publisher(Bool, "octo/e_stop", 1)
        self._actions = self.create_publisher(JointState, "octo/action", 1)

    def record(self, kind: type, topic: str) -> list:
        """A list that grows by each message of a topic."""
        received: list = []
        self.create_subscription(kind, topic, received.append, 1000)
        return received

    def record_numbered(self, kind: type, topic: str) -> list[tuple[int, object]]:
        """The same, each message with its number in its publisher's sequence, which tells of lost ones."""
        received: list = []

        def take(message: object, info: dict) -> None:
            received.append(
                (info.get("publication_sequence_number", len(received)), message)
            )  # Humble has none

        self.create_subscription(kind, topic, take, 1000)
        return received

    def hear_latched(self, kind: type, topic: str, seconds: float = 5.0) -> object | None:
        """What a subscriber that comes only now gets of a latched topic, None where nothing comes."""
        received: list = []
        subscription = self.create_subscription(kind, topic, received.append, LATCHED)
        self.wait(lambda: bool(received), seconds)
        self.destroy_subscription(subscription)
        return received[0] if received else None

    def show(self, *cameras: str) -> None:
        """Lets exactly these cameras deliver frames at 20 Hz."""
        for name in set(cameras) - set(self._cameras):
            topic = f"camera/{name}/image_raw"
            self._cameras[name] = self.create_publisher(Image, topic, qos_profile_sensor_data)
        self._shown = cameras
        if not hasattr(self, "_frame_timer"):
            self._frame_timer = self.create_timer(0.05, self._show)

    def hide(self) -> None:
        """Takes every camera away, its topic too."""
        self._shown = ()
        while self._cameras:
            self.destroy_publisher(self._cameras.popitem()[1])

    def say(self, instruction: str) -> None:
        """Publishes an instruction."""
        self._instruction.publish(String(data=instruction))

    def press_e_stop(self, pressed: bool) -> None:
        """Publishes the state of the e-stop button."""
        self._e_stop.publish(Bool(data=pressed))

    def act(self, values=STEP, names=NORMALIZED_AXES) -> None:
        """Publishes an action, stamped now."""
        message = JointState(name=list(names), position=[float(value) for value in values])
        message.header.stamp = self.get_clock().now().to_msg()
        self._actions.publish(message)

    def stream(self, seconds: float, values=STEP, names=NORMALIZED_AXES, until=lambda: False) -> None:
        """Publishes actions at 10 Hz for a time, or until a condition holds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not until():
            self.act(values, names)
            self.spin(0.1)

    def spin(self, seconds: float) -> None:
        """Handles messages for a while."""
        self.wait(lambda: False, seconds)

    def wait(self, condition: Callable[[], bool], seconds: float = 10.0) -> bool:
        """Handles messages until a condition holds; returns whether it does."""
        end = time.monotonic() + seconds
        while not condition() and (left := end - time.monotonic()) > 0.0:
            rclpy.spin_once(self, timeout_sec=min(left, 0.05))
        return condition()

    def flows(self, received: list, count: int = 3) -> bool:
        """Whether `count` new messages come."""
        received.clear()
        return self.wait(lambda: len(received) >= count, 5.0)

    def is_quiet(self, received: list) -> bool:
        """Whether no message comes, once what is under way at 10 Hz has arrived."""
        self.spin(0.2)
        received.clear()
        self.spin(0.7)
        return not received

    def change(self, node: str, transition: int) -> bool:
        """Asks a lifecycle node for a transition; returns whether it succeeded."""
        self.state(node)  # a request to a node that is just going or coming may be lost; this one is repeated
        request = ChangeState.Request(transition=Transition(id=transition))
        return self.call(ChangeState, f"{node}/change_state", request).success

    def set(self, node: str, **values: object) -> str:
        """Sets parameters of a node; returns why that was refused, "" where it was not."""
        given = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        request = SetParametersAtomically.Request(parameters=given)
        return self.call(SetParametersAtomically, f"{node}/set_parameters_atomically", request).result.reason

    def state(self, node: str) -> int:
        """The primary state of a lifecycle node."""
        for _ in range(10):
            answer = self._ask(GetState, f"{node}/get_state", GetState.Request(), seconds=2.0)
            if answer is not None:
                return answer.current_state.id
        raise AssertionError(f"{node}/get_state did not answer")

    def trigger(self, service: str) -> tuple[bool, str]:
        """Calls a Trigger service."""
        response = self.call(Trigger, service, Trigger.Request())
        return response.success, response.message

    def call(self, kind: type, service: str, request: object):
        """Calls a service and returns its answer."""
        answer = self._ask(kind, service, request, seconds=30.0)
        assert answer is not None, f"{service} did not answer"
        return answer

    def _ask(self, kind: type, service: str, request: object, seconds: float):
        if service not in self._callers:
            self._callers[service] = self.create_client(kind, service)
        client = self._callers[service]
        assert client.wait_for_service(timeout_sec=20.0), f"{service} is not offered"
        future = client.call_async(request)
        rclpy.spin_until_future_complete(self, future, timeout_sec=seconds)
        if not future.done():
            client.remove_pending_request(future)
            return None
        return future.result()

    def _show(self) -> None:
        stamp_ns = self.get_clock().now().nanoseconds - round(self.image_age_s * 1e9)
        for name in self._shown:
            frame = np.full((24, 32, 3), 100, dtype=np.uint8)
            image = Image(height=24, width=32, step=96, encoding="bgr8", data=frame.tobytes())
            image.header.stamp = time_message(stamp_ns)
            self._cameras[name].publish(image)


def values(decision: DiagnosticStatus) -> dict[str, str]:
    """The key-value pairs of a safety decision or a diagnosis."""
    return {pair.key: pair.value for pair in decision.values}


def statuses(decisions: list[DiagnosticStatus]) -> list[str]:
    """What the filter did, decision by decision."""
    return [values(decision)["status"] for decision in decisions]


def urdf_without(what: str, instead: str = "") -> str:
    """The text of the URDF with one thing replaced."""
    text = URDF.read_text(encoding="utf-8")
    assert what in text
    return text.replace(what, instead, 1)


@contextmanager
def open_cell():
    """A cell in a DDS domain of this process's own, which the processes it starts share."""
    os.environ["ROS_DOMAIN_ID"] = DOMAIN
    os.environ["ROS_LOCALHOST_ONLY"] = "1"
    rclpy.init()
    cell = Cell()
    try:
        yield cell
    finally:
        cell.destroy_node()
        rclpy.shutdown()


@contextmanager
def processes(directory: Path, **nodes: dict):
    """Node processes by name with their parameters; all of them are ended on leaving."""
    started = {}
    try:
        for name, parameters in nodes.items():
            log = directory / f"{name}-{time.monotonic_ns()}.log"
            started[name] = Process(name, log, parameters)
        yield started
    finally:
        for process in started.values():
            process.stop()
