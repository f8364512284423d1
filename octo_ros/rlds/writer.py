"""Writes an RLDS data set that `tensorflow_datasets` and Octo's training load, complete or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from octo_ros.rlds.episode import Episode
from octo_ros.rlds.errors import DatasetError
from octo_ros.rlds.example import encode_example
from octo_ros.rlds.features import write_features
from octo_ros.rlds.frames import Encoding
from octo_ros.rlds.info import Info, Split, check_name, write_info
from octo_ros.rlds.layout import Layout
from octo_ros.rlds.split import VALIDATION, validation_episodes
from octo_ros.rlds.statistics import StatisticsBuilder, write_statistics
from octo_ros.rlds.tfrecord import HEAD, TAIL, RecordWriter
from octo_ros.staging import new_folder

TRAIN, VAL = "train", "val"
"""Names of the splits; Octo's training looks for "val", and cuts "train" where that is missing."""

SHARD_BYTES = 256 * 1024 * 1024
"""A file of a split is closed before it grows beyond this, unless one episode does [bytes]."""


@dataclass(frozen=True)
class Written:
    """A data set that was written.

    Attributes:
        folder: with dataset_info.json, `<folder>/<name>/<version>`.
        splits: episodes of each split.
        statistics: of all episodes, the data set's entry of dataset_statistics.json.
    """

    folder: Path
    splits: Mapping[str, int]
    statistics: Mapping[str, Any]


@dataclass(frozen=True)
class _Spooled:
    """Where an episode's record lies in the spool, its framing included [bytes], and its instruction."""

    offset: int
    size: int
    instruction: str


def write_dataset(
    folder: str | Path,
    name: str,
    episodes: Iterable[Episode],
    *,
    encoding: Encoding | None = None,
    validation: float = VALIDATION,
    seed: int = 0,
    version: str = "1.0.0",
    description: str = "",
    progress: Callable[[int], None] | None = None,
) -> Written:
    """Writes `<folder>/<name>/<version>`, so that `folder` is the data directory of TFDS.

    Episodes are taken one at a time and keep their order within a split. The frames of a camera have
    one size in all of them.

    Args:
        name: lower-case letters, digits and _.
        encoding: of the frames; None for PNG. Frames that are in it already are not encoded again.
        validation: share of the episodes for the split "val"; `octo_ros.rlds.split` says which.
        seed: of that choice.
        progress: called with the number of episodes done.

    Raises:
        ParameterError: a name, version or share that is not one.
        DatasetError: a place that is taken or cannot be written, no episode, or episodes that differ in
            cameras, sizes or state.
    """
    check_name(name, version)
    validation_episodes([], validation, seed)  # refuses the share before the work
    target = Path(folder) / name / version
    with new_folder(target, DatasetError) as work:
        spool = work / "spool"
        spooled = _spool(spool, episodes, encoding or Encoding(), progress)
        if spooled is None:
            raise DatasetError(f"{target}: expected at least one episode to write, got none")
        layout, entries, statistics = spooled
        chosen = validation_episodes([entry.instruction for entry in entries], validation, seed)
        parts = {TRAIN: [entry for i, entry in enumerate(entries) if i not in chosen]}
        if chosen:
            parts[VAL] = [entry for i, entry in enumerate(entries) if i in chosen]
        splits = {split: _write_split(work, name, split, part, spool) for split, part in parts.items()}
        spool.unlink()
        write_features(work, layout.features)
        write_info(work, Info(name, version, splits, description or f"{name}, by octo_ros convert."))
        write_statistics(work, name, statistics)
    return Written(target, {split: len(part) for split, part in parts.items()}, statistics)


def _spool(
    path: Path, episodes: Iterable[Episode], encoding: Encoding, progress: Callable[[int], None] | None
) -> tuple[Layout, list[_Spooled], dict[str, Any]] | None:
    """Writes all episodes to one file, since the splits need all instructions; None where there is none."""
    layout, statistics, entries = None, StatisticsBuilder(), []
    offset = 0
    with RecordWriter(path) as writer:
        for episode in episodes:
            layout = layout or Layout(episode, encoding)
            data = encode_example(layout.example(episode))
            writer.write(data)
            statistics.add(episode)
            size = HEAD.size + len(data) + TAIL.size
            entries.append(_Spooled(offset, size, episode.instruction))
            offset += size
            if progress is not None:
                progress(len(entries))
    if layout is None:
        return None
    return layout, entries, statistics.result()


def _write_split(work: Path, name: str, split: str, entries: Sequence[_Spooled], spool: Path) -> Split:
    shards: list[list[_Spooled]] = [[]]
    held = 0
    for entry in entries:
        if shards[-1] and held + entry.size > SHARD_BYTES:
            shards.append([])
            held = 0
        shards[-1].append(entry)
        held += entry.size
    size = sum(entry.size - HEAD.size - TAIL.size for entry in entries)
    written = Split(tuple(len(shard) for shard in shards), size)
    files = Info(name, "", {split: written}).files(split)
    with open(spool, "rb") as source:
        for file, shard in zip(files, shards, strict=True):
            with open(work / file, "wb") as out:
                for entry in shard:
                    source.seek(entry.offset)
                    out.write(source.read(entry.size))
    return written
