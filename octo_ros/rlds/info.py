"""The dataset_info.json of a TFDS data set: its name, version, and the files of each split."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from octo_ros.errors import ParameterError
from octo_ros.rlds.errors import DatasetError
from octo_ros.rlds.features import read_json, write_json

INFO = "dataset_info.json"
TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
"""How TFDS names the files of a split."""

NAME = re.compile(r"[a-z][a-z0-9_]*")
VERSION = re.compile(r"\d+\.\d+\.\d+")


@dataclass(frozen=True)
class Split:
    """One split: examples in each of its files, bytes in all, and the template of the files' names."""

    shard_lengths: tuple[int, ...]
    num_bytes: int
    template: str = TEMPLATE


@dataclass(frozen=True)
class Info:
    """A data set's name, version as "1.0.0", splits by name, and a description for people."""

    name: str
    version: str
    splits: Mapping[str, Split]
    description: str = ""

    def files(self, split: str) -> list[str]:
        """Names of a split's files, in order."""
        shards = self.splits[split].shard_lengths
        fields = {"DATASET": self.name, "SPLIT": split, "FILEFORMAT": "tfrecord"}
        return [
            self.splits[split].template.format(
                **fields,
                SHARD_X_OF_Y=shard_name(index, len(shards)),
                SHARD_INDEX=f"{index:05d}",
                NUM_SHARDS=f"{len(shards):05d}",
            )
            for index in range(len(shards))
        ]


def shard_name(index: int, count: int) -> str:
    """The end of a file's name, such as "00000-of-00002"."""
    return f"{index:05d}-of-{count:05d}"


def check_name(name: str, version: str) -> None:
    """Refuses a name or version that TFDS would not load.

    Raises:
        ParameterError: the name or version.
    """
    if not NAME.fullmatch(name):
        raise ParameterError(
            f"name: expected lower-case letters, digits and _ that start with a letter, got {name!r}"
        )
    if not VERSION.fullmatch(version):
        raise ParameterError(f"version: expected three numbers such as 1.0.0, got {version!r}")


def find_dataset(folder: str | Path) -> Path:
    """The folder with dataset_info.json: the one given, or the only one in it or one level further down.

    So a data directory, a data set in it, and one of its versions are all taken.

    Raises:
        DatasetError: none, or more than one.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder; expected an RLDS data set with {INFO}")
    for pattern in (INFO, f"*/{INFO}", f"*/*/{INFO}"):
        found = sorted(path.parent for path in folder.glob(pattern) if not _is_hidden(path, folder))
        if len(found) == 1:
            return found[0]
        if found:
            listed = ", ".join(str(path.relative_to(folder)) for path in found)
            raise DatasetError(f"{folder}: expected one data set, got {listed}; name one of them")
    raise DatasetError(f"{folder}: expected an RLDS data set: no {INFO} here or in a folder below")


def read_info(folder: Path) -> Info:
    """Reads dataset_info.json.

    Raises:
        DatasetError: no such file, one that is not of TFDS, or records that are not TFRecord files.
    """
    path = folder / INFO
    body = read_json(path)
    try:
        if body.get("fileFormat", "tfrecord") != "tfrecord":
            raise DatasetError(f"{path}: expected files of TFRecords, got {body['fileFormat']!r}")
        splits = {str(split["name"]): _split(split) for split in body["splits"]}
        return Info(str(body["name"]), str(body["version"]), splits, str(body.get("description", "")))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DatasetError(
            f"{path}: expected name, version and splits of a TFDS data set; {type(error).__name__}: {error}"
        ) from error


def write_info(folder: Path, info: Info) -> None:
    """Writes dataset_info.json."""
    splits = [
        {
            "filepathTemplate": split.template,
            "name": name,
            "numBytes": str(split.num_bytes),
            "shardLengths": [str(length) for length in split.shard_lengths],
        }
        for name, split in info.splits.items()
    ]
    body = {
        "description": info.description,
        "fileFormat": "tfrecord",
        "name": info.name,
        "splits": splits,
        "version": info.version,
    }
    write_json(folder / INFO, body)


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _split(body: Mapping[str, Any]) -> Split:
    lengths = tuple(int(length) for length in body.get("shardLengths", ()))
    template = str(body.get("filepathTemplate") or TEMPLATE)
    template = template.split("/")[-1]  # some write the folder before it
    return Split(lengths, int(body.get("numBytes", 0)), template)
