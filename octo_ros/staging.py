"""Folders that appear complete or not at all: filled beside their place, then renamed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from octo_ros.errors import OctoRosError


@contextmanager
def temporary_sibling(target: Path, error: type[OctoRosError]) -> Iterator[Path]:
    """A new folder beside `target`, gone when the block ends unless it was renamed.

    So are the parents of `target` that were made for it, where nothing came of it.

    Raises:
        OctoRosError: of the class given, where the folder cannot be made.
    """
    target = target.absolute()
    folder = target.parent / f".{target.name}.{os.getpid()}.partial"
    made = [parent for parent in target.parents if not parent.exists()]
    try:
        folder.mkdir(parents=True)
    except OSError as cause:
        _remove_empty(made)
        raise error(f"{target}: cannot be written: {cause}") from cause
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _remove_empty(made)


@contextmanager
def new_folder(target: Path, error: type[OctoRosError]) -> Iterator[Path]:
    """A folder that becomes `target` when the block ends well, and is gone when it does not.

    Raises:
        OctoRosError: of the class given: a place that is taken, before the block or meanwhile; or the
            system's refusal to write (a full disk, say).
    """
    check_target(target, error)
    with temporary_sibling(target, error) as folder:
        try:
            yield folder
            check_target(target, error)
            os.replace(folder, target)
        except OSError as cause:
            raise error(f"{target}: cannot be written: {cause}") from cause


def _remove_empty(folders: list[Path]) -> None:
    """Removes those folders, the innermost first, that hold nothing."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def check_target(target: Path, error: type[OctoRosError]) -> None:
    """Refuses a place for a folder that is taken.

    Raises:
        OctoRosError: of the class given: a file, a link, a folder that is not empty, or a place that
            cannot be looked at.
    """
    try:
        taken = target.is_symlink() or (target.exists() and not target.is_dir())
        full = target.is_dir() and any(target.iterdir())
    except OSError as cause:  # a name too long, a parent that may not be entered
        raise error(f"{target}: cannot be written: {cause}") from cause
    if taken:
        raise error(f"{target}: expected a folder that does not exist yet or is empty, got a file or link")
    if full:
        raise error(f"{target}: expected a folder that does not exist yet or is empty; this one is not empty")
