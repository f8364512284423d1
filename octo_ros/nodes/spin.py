"""Runs one node as a process: SIGINT or SIGTERM ends it in order, with exit status 0 and no traceback."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Sequence

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from octo_ros.errors import OctoRosError
from octo_ros.nodes.lifecycle import ManagedNode

POLL_S = 0.1
"""Longest time from a signal to its effect [s]."""


def run(create: Callable[[], Node], args: Sequence[str] | None = None) -> int:
    """Runs the node that `create` returns until a signal; returns the exit status.

    rclpy's own handlers would end the middleware first; a node must still be able to publish
    a last command. A second signal ends the process at once.
    """
    signals: list[int] = []

    def on_signal(number: int, _: object) -> None:
        signals.append(number)
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        node = create()
    except (OctoRosError, RuntimeError) as error:  # RuntimeError: rclpy's own, such as a malformed argument
        print(f"error: {error}", file=sys.stderr)
        return 1
    logging.getLogger("octo_ros").addHandler(NodeLogHandler(node))
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        while not signals and rclpy.ok():
            executor.spin_once(timeout_sec=POLL_S)
    except ExternalShutdownException:
        pass
    finally:
        _end(node)
        executor.shutdown()
    return 0


def _end(node: Node) -> None:
    if isinstance(node, ManagedNode) and rclpy.ok():
        node.end()
    node.destroy_node()
    rclpy.try_shutdown()


class NodeLogHandler(logging.Handler):
    """Hands the warnings of this package's plain Python code to a node's ROS logger."""

    def __init__(self, node: Node) -> None:
        super().__init__(level=logging.INFO)
        self._logger = node.get_logger()

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if record.levelno >= logging.ERROR:
            self._logger.error(message)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(message)
        else:
            self._logger.info(message)
