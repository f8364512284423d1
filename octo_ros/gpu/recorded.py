"""Reads steps for a calibration out of a bag or a data set; how many is bounded, which is a seed's choice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from octo_ros.bags.reader import STORAGES, Bag
from octo_ros.bags.stamps import HeaderClock
from octo_ros.bags.topics import resolve_topics
from octo_ros.engine.manifest import Manifest
from octo_ros.errors import BagError, ImageError
from octo_ros.gpu.calibration import Asked, Step
from octo_ros.image_messages import to_rgb
from octo_ros.policy.frames import FrameSync
from octo_ros.policy.history import History
from octo_ros.policy.instruction import Tokenizer
from octo_ros.policy.options import ActOptions
from octo_ros.policy.preparation import Preparation
from octo_ros.rlds.dataset import Episode, count_episodes, known_keys, read_episodes
from octo_ros.rlds.errors import DatasetError
from octo_ros.rlds.info import INFO
from octo_ros.types import NANOSECONDS, Observation

GAP_NS = round(ActOptions.history_gap_s * NANOSECONDS)
"""A longer time between frames restarts the history, as on a robot [ns]."""


@dataclass
class Reading:
    """What `read_calibration` was asked for, and the notes that reading leaves."""

    bundle: Path
    manifest: Manifest
    steps: int
    seed: int
    names: Mapping[str, str]
    instruction: str | None
    dataset: str | None
    rate_hz: float
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.preparation = Preparation(self.manifest, ActOptions(dataset=self.dataset))
        self._tasks: dict[str, Asked] = {}
        language = self.manifest.language
        self._tokenizer = None
        if language is not None and language.tokenizer_file is not None:
            self._tokenizer = Tokenizer(self.bundle / language.tokenizer_file, language)
        elif language is not None:
            self.notes.append("the bundle has no tokenizer: every instruction was masked")

    @property
    def takes_proprio(self) -> bool:
        """Whether the network takes proprioception."""
        return self.manifest.proprio_size is not None

    def task(self, words: str, goals: Mapping[str, np.ndarray] | None = None) -> Asked | None:
        """The task of some words and goal images, each once; None where there are neither."""
        words = (self.instruction or words).strip()
        if not words and not goals:
            return None
        if goals:
            return self._asked(words, self.preparation.goals(goals))
        if words not in self._tasks:
            self._tasks[words] = self._asked(words, {})
        return self._tasks[words]

    def _asked(self, words: str, goals: Mapping[str, np.ndarray]) -> Asked:
        tokens = self._tokenizer.encode(words) if self._tokenizer is not None and words else None
        return Asked(words, tokens, goals)

    def note_cameras(self, found: Sequence[str]) -> None:
        """Notes the bundle's cameras that a recording lacks."""
        masked = [camera for camera in self.manifest.cameras if camera not in found]
        if masked:
            self.notes.append(f"masked, for the recording has no such camera: {', '.join(masked)}")


def is_bag(path: Path) -> bool:
    """Whether a path is meant as a bag."""
    return path.suffix in STORAGES or (path / "metadata.yaml").is_file()


def is_dataset(path: Path) -> bool:
    """Whether a folder holds an RLDS data set, in it or up to two folders below."""
    return any(next(path.glob(pattern), None) for pattern in (INFO, f"*/{INFO}", f"*/*/{INFO}"))


def read_bag(path: Path, reading: Reading) -> list[Step]:
    """Steps of a bag, read once; each has the same chance to be taken."""
    kept: list[tuple[int, Step]] = []
    with Bag(path) as bag:
        for index, step in enumerate(_bag_steps(bag, reading)):
            if index < reading.steps:
                kept.append((index, step))
                continue
            place = int(reading.rng.integers(index + 1))
            if place < reading.steps:
                kept[place] = (index, step)
    kept.sort(key=lambda entry: entry[0])
    return [step for _, step in kept]


def _bag_steps(bag: Bag, reading: Reading) -> Iterator[Step]:
    topics = resolve_topics(bag, reading.manifest, reading.names)
    reading.note_cameras(list(topics.cameras))
    if reading.takes_proprio:
        reading.notes.append("proprioception is not read from a bag: it was masked")
    cameras = {topic: camera for camera, topic in topics.cameras.items()}
    told = {
        topics.inputs[name]: name
        for name in ("instruction", "goal_image")
        if name in topics.inputs and (name == "instruction" or reading.manifest.goal_camera() is not None)
    }
    if not told and reading.instruction is None:
        raise BagError(
            f"{bag.path}: nothing says what to do: no message on /octo/instruction or /octo/goal_image; give "
            "an instruction, or map a topic with instruction=/topic"
        )
    clocks = {topic: HeaderClock(bag, topic) for topic in cameras}
    frames, history = FrameSync(tuple(topics.cameras)), History(reading.manifest, GAP_NS)
    words, goals, last_ns, unread = "", {}, None, 0
    task = reading.task(words)
    for record in bag.records([*cameras, *told]):
        try:
            message = bag.decode(record)
            if record.topic in cameras:
                stamp_ns = clocks[record.topic].stamp_ns(message, record.log_ns)
                frames.push(cameras[record.topic], stamp_ns, to_rgb(message))
            elif told[record.topic] == "instruction":
                words = message.data
            else:
                goals = {reading.manifest.goal_camera(): to_rgb(message)}
        except (BagError, ImageError):
            unread += 1
            continue
        if record.topic in told:
            task = reading.task(words, goals)
            history.clear()
            continue
        taken = frames.take(record.log_ns)
        if not isinstance(taken, Observation) or task is None or _is_early(taken, last_ns, reading.rate_hz):
            continue
        last_ns = taken.stamp_ns
        history.push(last_ns, reading.preparation.step(taken))
        yield Step(task, tuple(history.timesteps))
    if unread:
        reading.notes.append(f"{unread} messages could not be read")


def _is_early(taken: Observation, last_ns: int | None, rate_hz: float) -> bool:
    """Whether a set of frames comes within a policy's period, a tenth left for jitter."""
    return last_ns is not None and 0 <= taken.stamp_ns - last_ns < 0.9 * NANOSECONDS / rate_hz


def read_dataset(path: Path, reading: Reading) -> list[Step]:
    """Steps of a data set: from as many episodes as possible, an equal number of each, at random."""
    keys = known_keys(path)
    if reading.names:
        keys = keys.with_names(reading.names)
    count = count_episodes(path, "all")
    chosen = set(reading.rng.permutation(count)[: reading.steps].tolist())
    steps: list[Step] = []
    left = len(chosen)
    for index, episode in enumerate(read_episodes(path, "all", keys)):
        if index not in chosen:
            continue
        if not steps:
            reading.note_cameras(list(episode.images))
            if reading.takes_proprio and episode.state is None:
                reading.notes.append("the data set has no proprioception: it was masked")
        share = -(-(reading.steps - len(steps)) // left)
        steps += _episode_steps(episode, share, reading)
        left -= 1
        if not left:
            break
    return steps


def _episode_steps(episode: Episode, count: int, reading: Reading) -> Iterator[Step]:
    cameras = [camera for camera in reading.manifest.cameras if camera in episode.images]
    if not cameras:
        raise DatasetError(
            f"{episode.source}: no camera of the bundle: expected some of "
            f"{', '.join(reading.manifest.cameras)}, got {', '.join(episode.images)}"
        )
    task = reading.task(episode.instruction)
    if task is None:
        return
    for last in sorted(reading.rng.permutation(len(episode))[:count].tolist()):
        history = History(reading.manifest, GAP_NS)
        for index in range(max(0, last - reading.manifest.window + 1), last + 1):
            images = {camera: episode.images[camera][index] for camera in cameras}
            state = episode.state[index] if reading.takes_proprio and episode.state is not None else None
            observation = Observation(index * GAP_NS, images, state)
            history.push(observation.stamp_ns, reading.preparation.step(observation))
        yield Step(task, tuple(history.timesteps))
