"""The newest message of a topic, fetched when it is wanted; the executor never wakes for it."""

from __future__ import annotations

from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node


class _NeverReady(CallbackGroup):
    """A group whose entities no executor waits for."""

    def can_execute(self, _: Any) -> bool:
        return False

    def beginning_execution(self, _: Any) -> bool:
        return False

    def ending_execution(self, _: Any) -> None:
        pass


class Newest:
    """A subscription that is asked for its newest message; for topics far faster than they are needed.

    Of a thousand joint states a second the middleware keeps one, and Python sees those it asks for.

    Args:
        node: that subscribes.
        kind: type of the message.
        topic: to subscribe to.
        qos: with a depth of 1, so that what is kept is the newest.
    """

    def __init__(self, node: Node, kind: type, topic: str, qos: Any) -> None:
        self._node, self._kind = node, kind
        self._subscription = node.create_subscription(
            kind, topic, lambda _: None, qos, callback_group=_NeverReady()
        )

    def take(self) -> Any | None:
        """The newest message that has come since the last call, or None."""
        with self._subscription.handle:
            taken = self._subscription.handle.take_message(self._kind, False)
        return None if taken is None else taken[0]

    def destroy(self) -> None:
        """Ends the subscription."""
        self._node.destroy_subscription(self._subscription)
