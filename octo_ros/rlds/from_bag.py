"""Recorded rosbag2 to episodes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from octo_ros.bags.reader import Bag, Record, listed
from octo_ros.errors import BagError, ImageError
from octo_ros.image_messages import to_rgb
from octo_ros.rlds.alignment import Misfit
from octo_ros.rlds.episode import Episode
from octo_ros.rlds.frames import Frames
from octo_ros.rlds.options import BagOptions, Kept, Rejected
from octo_ros.rlds.plans import Plan, PosePlanner, RecordedPlanner
from octo_ros.rlds.series import Drift
from octo_ros.rlds.streams import Streams, read_streams
from octo_ros.rlds.windows import Window, by_instructions, by_markers
from octo_ros.safety.robot import Robot


class BagEpisodes:
    """The episodes of one recording, to be iterated once; pictures are read as it goes.

    The bag is read twice: first all but the pictures, which tells the episodes apart and aligns their
    streams, then the pictures that are used. An episode is kept or told of in `rejected`.

    Args:
        path: rosbag2 directory, or an .mcap or .db3 file.
        robot: whose tool's pose gives the actions; None is enough where actions were recorded.
        options: how it is read.

    Attributes:
        path: as given.
        planned: number of episodes that fit so far as is known without the pictures.
        kept, rejected: what became of the episodes, complete after the iteration.
        drifts: of the clocks in the headers.
        warnings: what was done to clocks, and messages that were passed over.

    Raises:
        BagError: a bag that is missing or corrupt, lacks a topic, or says nowhere where episodes begin.
        ParameterError: options that do not fit the bag, or a robot that is needed and missing.
    """

    def __init__(
        self, path: str | Path, robot: Robot | None = None, options: BagOptions | None = None
    ) -> None:
        self.path, self._options = Path(path), options or BagOptions()
        self.kept: list[Kept] = []
        self.rejected: list[Rejected] = []
        joint_names = () if robot is None else robot.joint_names
        with Bag(path) as bag:
            streams = read_streams(bag, self._options.topics, self._options.actions, joint_names)
            windows, passed_over = _windows(bag, streams)
        self._cameras = streams.cameras
        self.warnings = [*streams.warnings, *passed_over]
        series = [*streams.camera_times.values(), *streams.vectors.values()]
        self.drifts: list[Drift] = [drift for drift in (one.drift() for one in series) if drift is not None]
        self._plans = list(self._fitting(windows, _planner(streams, self._options, robot, str(path))))
        self.planned = len(self._plans)

    def __iter__(self) -> Iterator[Episode]:
        """Episodes in the order of the recording.

        Raises:
            BagError: a file that turns out to be corrupt.
        """
        gathering = deque(_Gathering(plan) for plan in self._plans)
        wanted: dict[str, dict[int, list[_Gathering]]] = {topic: {} for topic in self._cameras.values()}
        for one in gathering:
            for camera, topic in self._cameras.items():
                for place in np.unique(one.plan.frames[camera]).tolist():
                    wanted[topic].setdefault(place, []).append(one)
        names = {topic: camera for camera, topic in self._cameras.items()}
        seen = dict.fromkeys(wanted, 0)
        with Bag(self.path) as bag:
            for record in bag.records(wanted):
                takers = wanted[record.topic].pop(seen[record.topic], ())
                if takers:
                    self._take(bag, record, names[record.topic], seen[record.topic], takers)
                seen[record.topic] += 1
                while gathering and gathering[0].complete:
                    yield from self._finished(gathering.popleft())

    def _fitting(self, windows: list[Window], planner: RecordedPlanner | PosePlanner) -> Iterator[Plan]:
        for window in windows:
            if window.fault:
                self._reject(window, window.fault)
            elif window.success is False and not self._options.keep_failures:
                self._reject(window, "it ended in failure (--keep-failures keeps such episodes)")
            else:
                try:
                    yield planner.plan(window)
                except Misfit as misfit:
                    self._reject(window, str(misfit))

    def _take(
        self, bag: Bag, record: Record, camera: str, place: int, takers: tuple[_Gathering, ...]
    ) -> None:
        try:
            frame = to_rgb(bag.decode(record))
        except (BagError, ImageError) as error:
            for taker in takers:
                taker.fail(f"camera {camera}: {error}")
            return
        data = self._options.encoding.encode(frame)
        for taker in takers:
            taker.add(camera, place, data, frame.shape)

    def _finished(self, gathered: _Gathering) -> Iterator[Episode]:
        plan, window = gathered.plan, gathered.plan.window
        if gathered.fault:
            self._reject(window, gathered.fault)
            return
        source = str(self.path)
        self.kept.append(
            Kept(source, window.index, window.instruction, len(plan.action), plan.rate_hz, plan.alignment_s)
        )
        yield Episode(
            images=gathered.frames(),
            action=plan.action,
            state=plan.state,
            instruction=window.instruction,
            rate_hz=plan.rate_hz,
            success=window.success,
            source=source,
            index=window.index,
        )

    def _reject(self, window: Window, reason: str) -> None:
        self.rejected.append(Rejected(str(self.path), window.index, window.instruction, reason))


class _Gathering:
    """The pictures of one episode, as they come."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.fault = plan, ""
        self._found: dict[str, dict[int, bytes]] = {camera: {} for camera in plan.frames}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._missing = sum(len(np.unique(places)) for places in plan.frames.values())

    @property
    def complete(self) -> bool:
        return self._missing == 0

    def add(self, camera: str, place: int, data: bytes, shape: tuple[int, ...]) -> None:
        self._missing -= 1
        first = self._shapes.setdefault(camera, shape)
        if shape != first:
            self.fault = f"camera {camera}: expected frames of {first} as its first, got {shape}"
        if not self.fault:
            self._found[camera][place] = data

    def fail(self, reason: str) -> None:
        self._missing -= 1
        self.fault = self.fault or reason

    def frames(self) -> dict[str, Frames]:
        return {
            camera: Frames([self._found[camera][place] for place in places.tolist()], f"camera {camera}")
            for camera, places in self.plan.frames.items()
        }


def _planner(
    streams: Streams, options: BagOptions, robot: Robot | None, where: str
) -> RecordedPlanner | PosePlanner:
    for name in ("recorded_action", "action"):
        if name in streams.vectors:
            return RecordedPlanner(streams, streams.vectors[name], options, robot, where)
    if options.actions in ("recorded", "commanded"):
        name = "recorded_action" if options.actions == "recorded" else "action"
        passed_over = "".join(f"; {warning}" for warning in streams.warnings)
        raise BagError(
            f"{where}: no {options.actions} actions; map them with {name}=/topic (--topic){passed_over}"
        )
    return PosePlanner(streams, options, robot, where)


def _windows(bag: Bag, streams: Streams) -> tuple[list[Window], list[str]]:
    if streams.markers is not None:
        return by_markers(streams.markers, streams.end_ns)
    if streams.instructions:
        return by_instructions(streams.instructions, streams.end_ns), []
    raise BagError(
        f"{bag.path}: nothing says where episodes begin: no message on /octo/episode or /octo/instruction; "
        f"map one with episode=/topic or instruction=/topic (--topic); it has {listed(bag.topics)}"
    )
