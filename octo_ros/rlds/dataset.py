"""Reads the episodes of an RLDS data set, one at a time."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from octo_ros.rlds.episode import OUTCOMES, Episode
from octo_ros.rlds.errors import DatasetError
from octo_ros.rlds.example import Feature, decode_example
from octo_ros.rlds.features import Leaf, read_features
from octo_ros.rlds.frames import Frames
from octo_ros.rlds.info import find_dataset, read_info
from octo_ros.rlds.keys import KNOWN, Chosen, Keys, choose
from octo_ros.rlds.tfrecord import read_records
from octo_ros.rlds.writer import Written, write_dataset

__all__ = ["Episode", "Written", "count_episodes", "known_keys", "read_episodes", "write_dataset"]


def read_episodes(folder: str | Path, split: str = "train", keys: Keys | None = None) -> Iterator[Episode]:
    """The episodes of a split, in the order of its files; frames are decoded when looked at.

    Args:
        folder: with dataset_info.json, or one or two levels above the only one.
        split: its name, or "all" for every split.
        keys: which feature is what; None for those of `octo_ros.rlds.keys.KNOWN`, else the defaults.

    Raises:
        DatasetError: at once, no data set, split or feature of that name; while reading, a file that is
            missing, truncated or corrupt, or holds another number of episodes than dataset_info.json says.
    """
    place = find_dataset(folder)
    info, features = read_info(place), read_features(place)
    chosen = choose(features, keys or KNOWN.get(info.name, Keys()), str(place))
    files = _files(place, split)
    return _episodes(files, chosen, features)


def count_episodes(folder: str | Path, split: str = "train") -> int:
    """Number of episodes of a split, or of "all", as dataset_info.json says; errors as `read_episodes`."""
    return sum(count for _, count in _files(find_dataset(folder), split))


def known_keys(folder: str | Path) -> Keys:
    """The keys that a data set is read by unless others are given; errors as `read_episodes`."""
    return KNOWN.get(read_info(find_dataset(folder)).name, Keys())


def _files(place: Path, split: str) -> list[tuple[Path, int]]:
    """Files of a split, and the episodes in each. A split may be empty, and then has no file."""
    info = read_info(place)
    if split != "all" and split not in info.splits:
        raise DatasetError(f"{place}: no split {split!r}; it has {', '.join(info.splits)}")
    names = list(info.splits) if split == "all" else [split]
    files = [
        (place / file, count)
        for name in names
        for file, count in zip(info.files(name), info.splits[name].shard_lengths, strict=True)
    ]
    for path, _ in files:
        if not path.is_file():
            raise DatasetError(f"{path}: no such file, which {place.name}/dataset_info.json names")
    return files


def _episodes(
    files: list[tuple[Path, int]], chosen: Chosen, features: Mapping[str, Leaf]
) -> Iterator[Episode]:
    for path, expected in files:
        count = 0
        for data in read_records(path):
            where = f"{path}: record {count}"
            yield _episode(decode_example(data, where), chosen, features, where, count)
            count += 1
        if count != expected:
            raise DatasetError(f"{path}: dataset_info.json says {expected} episodes, the file holds {count}")


def _episode(
    example: Mapping[str, Feature], chosen: Chosen, features: Mapping[str, Leaf], where: str, index: int
) -> Episode:
    action = _numbers(example, chosen.action, features, where)
    state = None if chosen.state is None else _numbers(example, chosen.state, features, where)
    images = {
        camera: Frames(_bytes(example, path, where), f"{where}: {path}")
        for camera, path in chosen.images.items()
    }
    words = [] if chosen.instruction is None else _bytes(example, chosen.instruction, where)
    metadata = {path.split("/")[-1]: value for path, value in example.items() if "metadata/" in path}
    return Episode(
        images=images,
        action=action,
        state=state,
        instruction=_text(words, f"{where}: {chosen.instruction}"),
        rate_hz=_number(metadata.get("rate_hz"), 0.0),
        success=OUTCOMES.get(_metadata_text(metadata.get("outcome"))),
        source=_metadata_text(metadata.get("file_path")) or where,
        index=int(_number(metadata.get("episode_id"), index)),
    )


def _numbers(
    example: Mapping[str, Feature], path: str, features: Mapping[str, Leaf], where: str
) -> np.ndarray:
    """A vector of each step, (T, n) float32, in whichever encoding."""
    leaf = features[path]
    shape = leaf.shape or (1,)
    if len(shape) != 1 or shape[0] is None:
        raise DatasetError(f"{where}: {path}: expected a vector of fixed length, features.json says {shape}")
    values = example.get(path, [])
    if isinstance(values, list) and leaf.encoding in ("bytes", "zlib"):
        values = _unpacked(values, leaf, f"{where}: {path}")
    if isinstance(values, list) or len(values) % shape[0]:
        what = f"{len(values)} values" if isinstance(values, np.ndarray) else "none that are numbers"
        raise DatasetError(f"{where}: {path}: expected {shape[0]} values in each step, got {what}")
    return values.reshape(-1, shape[0]).astype(np.float32)


def _unpacked(values: list[bytes], leaf: Leaf, where: str) -> np.ndarray:
    try:
        data = [zlib.decompress(value) if leaf.encoding == "zlib" else value for value in values]
        return np.frombuffer(b"".join(data), dtype=np.dtype(leaf.dtype).newbyteorder("<"))
    except (zlib.error, TypeError, ValueError) as error:
        raise DatasetError(f"{where}: cannot be unpacked as {leaf.encoding} {leaf.dtype}: {error}") from error


def _bytes(example: Mapping[str, Feature], path: str, where: str) -> list[bytes]:
    values = example.get(path, [])
    if not isinstance(values, list):
        raise DatasetError(f"{where}: {path}: expected bytes, got numbers")
    return values


def _text(words: list[bytes], where: str) -> str:
    """The words of the first step: an episode is one task."""
    try:
        return words[0].decode() if words else ""
    except UnicodeDecodeError as error:
        raise DatasetError(f"{where}: expected text, got {words[0][:40]!r}: {error}") from error


def _metadata_text(value: Feature | None) -> str:
    return value[0].decode(errors="replace") if isinstance(value, list) and value else ""


def _number(value: Feature | None, default: float) -> float:
    return float(value[0]) if isinstance(value, np.ndarray) and len(value) else default
