"""Header stamps on the bag's own clock.

A replay's time is the bag's log time, and a frame's age is log time minus header stamp, as the
nodes see it while a bag plays. That fails where the headers come from another clock (a simulation's,
a camera's own) or hold nothing; then stamps are moved to the log's clock, and the replay says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from octo_ros.bags.reader import Bag
from octo_ros.errors import BagError
from octo_ros.image_messages import stamp_ns
from octo_ros.types import NANOSECONDS

ANOTHER_CLOCK_NS = NANOSECONDS
"""A header further than this from its log time comes from another clock [ns]."""

LOOKED_AT = 20
"""Messages of a topic that are compared."""


class HeaderClock:
    """Turns the header stamps of one topic into times of the bag's log.

    Attributes:
        topic: the topic whose first messages were compared.
        offset_ns: added to every stamp: 0 for headers on the log's clock; otherwise what makes the
            least delayed of the first messages arrive without delay [ns].
        stamped: False where the headers are all zero; then the log time is the stamp.
    """

    def __init__(self, bag: Bag, topic: str) -> None:
        self.topic = topic
        self.offset_ns, self.stamped = 0, True
        delays, stamps = [], []
        for log_ns, header_ns in _first_headers(bag, topic):
            delays.append(log_ns - header_ns)
            stamps.append(header_ns)
        if not stamps:
            return
        if not any(stamps):
            self.stamped = False
        elif abs(sorted(delays)[len(delays) // 2]) > ANOTHER_CLOCK_NS:
            self.offset_ns = min(delays)

    def stamp_ns(self, message: Any, log_ns: int) -> int:
        """Stamp of a message on the log's clock [ns]."""
        return stamp_ns(message.header) + self.offset_ns if self.stamped else log_ns

    @property
    def warning(self) -> str:
        """What was done to the stamps, or "" for nothing."""
        if not self.stamped:
            return f"{self.topic}: header stamps are zero; log times are used, so no frame looks old"
        if self.offset_ns:
            seconds = self.offset_ns / NANOSECONDS
            return f"{self.topic}: header stamps come from another clock; {seconds:.3f} s were added to each"
        return ""


def _first_headers(bag: Bag, topic: str) -> Iterable[tuple[int, int]]:
    """Log time and header stamp of the first messages that can be read [ns]."""
    for looked_at, record in enumerate(bag.records([topic])):
        if looked_at == LOOKED_AT:
            return
        try:
            yield record.log_ns, stamp_ns(bag.decode(record).header)
        except BagError:
            continue  # counted when the replay comes to it
