"""Episodes to a rosbag2 that `octo_ros replay` plays: the demo bag's topics and times, and markers."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from octo_ros.bags.build import header, numbers, picture, text
from octo_ros.bags.output import new_bag
from octo_ros.bags.reader import TYPESTORE
from octo_ros.bags.topics import INPUTS, camera_topic
from octo_ros.errors import ParameterError
from octo_ros.rlds.episode import Episode
from octo_ros.rlds.errors import DatasetError
from octo_ros.rlds.options import Kept, Rejected
from octo_ros.rlds.streams import SOURCES
from octo_ros.staging import check_target, temporary_sibling
from octo_ros.types import NANOSECONDS

START_NS = 1_700_000_000 * NANOSECONDS
"""When the first episode begins, so that equal episodes give equal bags [ns]."""

PAUSE_S = 2.2
"""Time from an episode's last frame to the next one's first [s]."""

STATE_LAG_NS, ACTION_LAG_NS = 2_000_000, 5_000_000
"""How long after a frame its state and its action are logged [ns]."""

Entry = tuple[str, int, Any]


def write_bag(
    out: str | Path,
    episodes: Iterable[Episode],
    rate_hz: float | None = None,
    pause_s: float = PAUSE_S,
    progress: Callable[[int], None] | None = None,
) -> tuple[list[Kept], list[Rejected]]:
    """Writes a new MCAP bag; it appears complete or not at all.

    Topics: /camera/<camera>/image_raw, /octo/instruction at the start, /octo/episode at the start and the
    end, /recorded/action, and /recorded/state where there are states.

    Args:
        out: directory to write.
        rate_hz: of the steps where an episode does not say its own [Hz].
        pause_s: from an episode's last frame to the next one's first, at least two steps [s].
        progress: called with the number of episodes done.

    Returns:
        The episodes written, and those without an instruction, which a bag cannot tell apart.

    Raises:
        ParameterError: no rate, or a camera whose name is no part of a topic.
        DatasetError: a place that is taken or cannot be written, or no episode.
    """
    out = Path(out).absolute()
    check_target(out, DatasetError)
    kept: list[Kept] = []
    rejected: list[Rejected] = []
    with temporary_sibling(out, DatasetError) as work:
        try:
            with new_bag(work / out.name) as writer:
                connections: dict[str, Any] = {}
                start_ns = START_NS
                for episode in episodes:
                    if not episode.instruction.strip():
                        reason = "no instruction, by which a bag tells episodes apart"
                        rejected.append(Rejected(episode.source, episode.index, "", reason))
                        continue
                    rate = _rate(episode, rate_hz)
                    for topic, log_ns, message in _entries(episode, start_ns, rate):
                        kind = message.__msgtype__
                        if topic not in connections:
                            connections[topic] = writer.add_connection(topic, kind, typestore=TYPESTORE)
                        data = TYPESTORE.serialize_cdr(message, kind)
                        writer.write(connections[topic], log_ns, data)
                    last_ns = start_ns + round((len(episode) - 1) * NANOSECONDS / rate)
                    start_ns = last_ns + round(max(pause_s, 2.0 / rate) * NANOSECONDS)
                    kept.append(
                        Kept(episode.source, episode.index, episode.instruction, len(episode), rate, {})
                    )
                    if progress is not None:
                        progress(len(kept))
            if not kept:
                raise DatasetError(f"{out}: expected an episode with an instruction to write, got none")
            check_target(out, DatasetError)
            os.replace(work / out.name, out)
        except OSError as error:
            raise DatasetError(f"{out}: cannot be written: {error}") from error
    return kept, rejected


def _entries(episode: Episode, start_ns: int, rate_hz: float) -> Iterator[Entry]:
    """Topic, log time [ns] and message of everything in an episode, by log time."""
    yield SOURCES["episode"][0], start_ns, text(f"begin {episode.instruction}")
    yield INPUTS["instruction"][0], start_ns, text(episode.instruction)
    for step in range(len(episode)):
        stamp_ns = start_ns + round(step * NANOSECONDS / rate_hz)
        for camera, frames in episode.images.items():
            yield _topic(camera), stamp_ns, picture(frames[step], header(stamp_ns, f"{camera}_camera"))
        if episode.state is not None:
            yield SOURCES["recorded_state"][0], stamp_ns + STATE_LAG_NS, numbers(episode.state[step])
        yield SOURCES["recorded_action"][0], stamp_ns + ACTION_LAG_NS, numbers(episode.action[step])
    end_ns = start_ns + round(len(episode) * NANOSECONDS / rate_hz)
    yield SOURCES["episode"][0], end_ns, text(f"end {episode.outcome}")


def _rate(episode: Episode, given: float | None) -> float:
    rate = episode.rate_hz or given or 0.0
    if not 0.0 < rate <= 1000.0:
        raise ParameterError(
            f"rate_hz: the data set does not say its rate; expected one in (0, 1000] Hz (--rate), got {given}"
        )
    return rate


def _topic(camera: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", camera):
        raise ParameterError(
            f"camera {camera!r}: a ROS topic cannot have that name; name it by a key (--key primary=image_0)"
        )
    return camera_topic(camera)
