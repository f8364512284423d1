"""Folders that appear complete or not at all: filled beside their place, then renamed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from octo_ros.errors import OctoRosError


@contextmanager
def temporary_sibling(target: Path, error: type[OctoRosError]) -> Iterator[Path]:
    """A new folder beside `target`, gone when the block ends unless it was renamed.

    Raises:
        OctoRosError: of the class given, where the folder cannot be made.
    """
    target = target.absolute()
    folder = target.parent / f".{target.name}.{os.getpid()}.partial"
    try:
        folder.mkdir(parents=True)
    except OSError as cause:
        raise error(f"{target}: cannot be written: {cause}") from cause
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
