"""Who else publishes on the topics that only the safety filter may publish on."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from rclpy.node import Node

from octo_ros.errors import OctoRosError
from octo_ros.safety.decision import Refusal

DISCOVERY_S = 1.0
"""After a node has been created, time in which the middleware finds publishers that are there [s]."""


class CommandTopicError(OctoRosError):
    """Another node publishes where only the safety filter may."""


class CommandGuard:
    """Looks for other publishers of a node's own topics.

    Args:
        node: whose publishers are the only ones there may be, one for each topic.
        topics: full names, as remapped.
        node_since_s: when the node was created, by the monotonic clock [s].
    """

    def __init__(self, node: Node, topics: Sequence[str], node_since_s: float) -> None:
        self._node, self._topics = node, tuple(topics)
        self._own = _full_name(node.get_name(), node.get_namespace())
        self._discovered_s = node_since_s + DISCOVERY_S

    def check(self) -> None:
        """Waits until publishers that were there before the node are discovered.

        Raises:
            CommandTopicError: there is one; names the topics and nodes.
        """
        time.sleep(max(self._discovered_s - time.monotonic(), 0.0))
        others = self.others()
        if others:
            raise CommandTopicError("; ".join(refusal.limit for refusal in others))

    def others(self) -> tuple[Refusal, ...]:
        """One refusal for each topic that another publisher holds; it names topic and nodes."""
        refusals = []
        for topic in self._topics:
            found = Counter(
                _full_name(endpoint.node_name, endpoint.node_namespace)
                for endpoint in self._node.get_publishers_info_by_topic(topic)
            )
            found[self._own] -= 1  # a second one is that of another node with the same name
            others = sorted(name for name, count in found.items() if count > 0)
            if others:
                limit = f"other publishers of {topic}: {', '.join(others)}"
                refusals.append(Refusal(limit, len(others), 0.0, ""))
        return tuple(refusals)


def _full_name(name: str, namespace: str) -> str:
    return f"{namespace.rstrip('/')}/{name}"
