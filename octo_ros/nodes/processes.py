"""Starts this package's nodes as processes of their own and takes them through their lifecycle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.client import Client
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from octo_ros.errors import OctoRosError


class NodeProcessError(OctoRosError):
    """A node process that did not start, did not answer, or refused a transition."""


class NodeProcess:
    """One node in a process of its own, its output in a log file."""

    def __init__(
        self,
        name: str,
        log: Path,
        parameters: Mapping[str, object],
        parameter_file: Path | None = None,
        *,
        program: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
    ):
        """Starts it.

        Args:
            name: of the node, a module of `octo_ros.nodes`.
            log: file for its output.
            parameters: of the node.
            parameter_file: read before them.
            program: arguments of Python that run it; None for the module of that name.
            environment: beside this process's own.
        """
        self.name = name
        self.log = log
        self._clients: dict[tuple[Node, str], Client] = {}  # by who calls and the service
        command = [sys.executable, *(program or ("-m", f"octo_ros.nodes.{name}")), "--ros-args"]
        if parameter_file is not None:
            command += ["--params-file", str(parameter_file)]
        for key, value in parameters.items():
            command += ["-p", f"{key}:={value}"]
        with log.open("w", encoding="utf-8") as output:
            self._process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, env=os.environ | dict(environment or {})
            )

    def activate(self, operator: Node) -> None:
        """Configures and activates a lifecycle node.

        Raises:
            NodeProcessError: it exited, did not answer, or refused; with the end of its log.
        """
        for transition, label, seconds in (
            (Transition.TRANSITION_CONFIGURE, "configure", 60.0),
            (Transition.TRANSITION_ACTIVATE, "activate", 10.0),
        ):
            request = ChangeState.Request(transition=Transition(id=transition))
            response = self._call(operator, ChangeState, f"{self.name}/change_state", request, seconds)
            if not response.success:
                raise self._error(f"{self.name} refused to {label}")

    def trigger(self, operator: Node, service: str, patience_s: float = 0.0) -> str:
        """Calls a std_srvs/Trigger service of the node and returns its message.

        A no is asked again for as long as `patience_s`.

        Raises:
            NodeProcessError: no answer, or the node answered no to the last.
        """
        end = time.monotonic() + patience_s
        while True:
            response = self._call(operator, Trigger, f"{self.name}/{service}", Trigger.Request(), 5.0)
            if response.success:
                return response.message
            if time.monotonic() >= end:
                raise NodeProcessError(f"{self.name}/{service}: {response.message}")
            time.sleep(0.05)

    def set(self, operator: Node, **values: object) -> None:
        """Sets parameters of the node while it runs, all of them or none.

        Raises:
            NodeProcessError: no answer, or the node refused.
        """
        given = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        request = SetParametersAtomically.Request(parameters=given)
        service = f"{self.name}/set_parameters_atomically"
        result = self._call(operator, SetParametersAtomically, service, request, 5.0).result
        if not result.successful:
            raise NodeProcessError(f"{service}: {result.reason}")

    def check(self) -> None:
        """Raises NodeProcessError where the process has ended, with the end of its log."""
        if self._process.poll() is not None:
            raise self._error(f"{self.name} exited with status {self._process.returncode}")

    def stop(self) -> int:
        """Asks the process to end (SIGINT), waits, kills it after 10 s; returns its exit status."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            return self._process.wait(timeout=10.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def resident_bytes(self) -> int:
        """Resident memory of the process [byte], from /proc."""
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:"))

    def cpu_seconds(self) -> float:
        """CPU time that the process has taken, all its threads together [s], from /proc."""
        status = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii")
        user, system = status.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def _call(self, operator: Node, kind: type, service: str, request: object, seconds: float):
        client = self._clients.get((operator, service))
        if client is None:
            client = self._clients[operator, service] = operator.create_client(kind, service)
        self._wait_for(client, service, seconds=20.0)
        future = client.call_async(request)
        rclpy.spin_until_future_complete(operator, future, timeout_sec=seconds)
        if not future.done():
            client.remove_pending_request(future)
            raise self._error(f"{service}: no answer in {seconds:g} s")
        return future.result()

    def _wait_for(self, client, service: str, seconds: float) -> None:
        for _ in range(int(seconds / 0.2)):
            if client.wait_for_service(timeout_sec=0.2):
                return
            self.check()
        raise self._error(f"{service}: not offered within {seconds:g} s")

    def _error(self, what: str, lines: int = 12) -> NodeProcessError:
        log = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return NodeProcessError("\n".join([f"{what}; the end of {self.log}:", *log[-lines:]]))


@contextmanager
def running(
    operator: Node,
    parameters: Mapping[str, Mapping[str, object]],
    logs: Path,
    *,
    files: Mapping[str, Path],
    active: Sequence[str],
) -> Iterator[dict[str, NodeProcess]]:
    """Nodes by name, each a process, ended on leaving.

    Args:
        operator: calls their services.
        parameters: of each node.
        logs: folder for their output.
        files: parameter files of those that have one.
        active: those that are configured and activated, in this order.

    Raises:
        NodeProcessError: one of them did not start.
    """
    nodes: dict[str, NodeProcess] = {}
    try:
        for name, values in parameters.items():
            nodes[name] = NodeProcess(name, logs / f"{name}.log", values, files.get(name))
        for name in active:
            nodes[name].activate(operator)
        yield nodes
    finally:
        for node in nodes.values():
            node.stop()
