"""Hands a bag's messages to the loop, each at its time, and counts those that cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from octo_ros.bags.arm import FollowingArm, RecordedArm
from octo_ros.bags.log import ReplayLog, Unreadable
from octo_ros.bags.loop import COMMAND_RATE_HZ, ReplayLoop, Ticks
from octo_ros.bags.reader import Bag, Record
from octo_ros.bags.recorded import RecordedActions
from octo_ros.bags.stamps import HeaderClock
from octo_ros.bags.topics import TopicMap
from octo_ros.errors import BagError, ImageError
from octo_ros.image_messages import to_rgb
from octo_ros.types import NANOSECONDS


class Feed:
    """Reads every mapped topic in the order of log times.

    Args:
        bag: open.
        topics: which topic is which input.
        loop: takes frames, instructions and goals.
        arm: takes recorded joint states, if it is the bag's.
        log: counts frames and unreadable messages.
        instruction: in place of the bag's words, or None.
        goal_camera: camera that goal images are for, None where the network takes none.

    Attributes:
        recorded: the recorded actions met so far.
    """

    def __init__(
        self,
        bag: Bag,
        topics: TopicMap,
        loop: ReplayLoop,
        arm: FollowingArm | RecordedArm,
        log: ReplayLog,
        instruction: str | None,
        goal_camera: str | None,
    ) -> None:
        self._bag, self._topics, self._loop, self._arm, self._log = bag, topics, loop, arm, log
        self._instruction, self._goal_camera = instruction, goal_camera
        self.recorded = RecordedActions()
        self._log.frames |= dict.fromkeys(topics.cameras, 0)
        takers = {
            "instruction": self._on_instruction,
            "goal_image": self._on_goal,
            "joint_states": self._on_joints,
            "recorded_action": self._on_recorded,
        }
        self._takers: dict[str, list[Callable[[Any, Record], None]]] = {topic: [] for topic in topics.all()}
        for name, topic in topics.inputs.items():
            self._takers[topic].append(takers[name])
        for camera, topic in topics.cameras.items():
            self._takers[topic].append(self._camera_taker(camera))
        stamped = [*topics.cameras.values(), *self._of_arm()]
        self._clocks = {topic: HeaderClock(bag, topic) for topic in stamped}
        for clock in self._clocks.values():
            if clock.warning:
                log.warn(clock.warning)

    def run(self, rate_hz: float, progress: Callable[[int, int], None] | None) -> None:
        """Feeds the whole bag, with ticks of the policy at `rate_hz`.

        One more period is run after the last message, so that the last frame is acted on.
        """
        total = sum(self._bag.topics[topic].count for topic in self._takers)
        ticks: Ticks | None = None
        for done, record in enumerate(self._bag.records(self._takers), start=1):
            if ticks is None:
                self._log.start_ns = record.log_ns
                ticks = Ticks(record.log_ns, rate_hz, COMMAND_RATE_HZ)
                if self._instruction is not None:
                    self._loop.instruct(self._instruction, record.log_ns)
            for tick in ticks.before(record.log_ns):
                self._loop.run(tick)
            self._take(record)
            self._log.end_ns = record.log_ns
            if progress is not None:
                progress(min(done, total), total)
        if ticks is not None:
            for tick in ticks.before(self._log.end_ns + round(NANOSECONDS / rate_hz) + 1):
                self._loop.run(tick)

    def _take(self, record: Record) -> None:
        try:
            message = self._bag.decode(record)
            for take in self._takers[record.topic]:
                take(message, record)
        except (BagError, ImageError) as error:
            self._log.unreadable.append(Unreadable(record.topic, record.log_ns, str(error)))

    def _of_arm(self) -> list[str]:
        uses_bag = isinstance(self._arm, RecordedArm)
        return [self._topics.inputs["joint_states"]] if uses_bag else []

    def _camera_taker(self, camera: str) -> Callable[[Any, Record], None]:
        def take(message: Any, record: Record) -> None:
            stamp_ns = self._clocks[record.topic].stamp_ns(message, record.log_ns)
            self._loop.frame(camera, stamp_ns, to_rgb(message), record.log_ns)
            self._log.frames[camera] += 1

        return take

    def _on_instruction(self, message: Any, record: Record) -> None:
        words = message.data
        if self._instruction is not None and words.strip():
            if self._loop.has_task and not self._log.acted:
                return  # the episode that the replacement began has not got anywhere yet
            words = self._instruction
        self._loop.instruct(words, record.log_ns)

    def _on_goal(self, message: Any, record: Record) -> None:
        if self._goal_camera is not None:
            self._loop.show_goal({self._goal_camera: to_rgb(message)}, record.log_ns)

    def _on_joints(self, message: Any, record: Record) -> None:
        if isinstance(self._arm, RecordedArm):
            self._arm.take(message, self._clocks[record.topic].stamp_ns(message, record.log_ns))

    def _on_recorded(self, message: Any, record: Record) -> None:
        self.recorded.add(record.log_ns, message.data)
