"""An output directory that appears complete or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from octo_ros.errors import ParameterError
from octo_ros.staging import temporary_sibling

SUMMARY = "summary.json"
FORMAT = "octo_ros replay"
"""Field "format" of the summary, by which an earlier replay is known."""


@contextmanager
def staged(out: Path, overwrite: bool) -> Iterator[Path]:
    """Yields a new directory that becomes `out` when the block ends well, and is removed if it does not.

    Raises:
        ParameterError: `out` is not empty and may not be replaced: without `overwrite`, or because it
            is not an earlier replay.
    """
    _check(out, overwrite)
    with temporary_sibling(out, ParameterError) as work:
        yield work
        if out.exists():
            shutil.rmtree(out)
        work.rename(out)


def _check(out: Path, overwrite: bool) -> None:
    if not out.name:
        raise ParameterError(f"out: expected the path of a directory to write, got {str(out)!r}")
    if not out.exists():
        return
    if not out.is_dir():
        raise ParameterError(f"out: {out} exists and is not a directory")
    if not any(out.iterdir()):
        return
    if not overwrite:
        raise ParameterError(
            f"out: {out} is not empty; choose another directory, or overwrite an earlier replay"
        )
    if not _is_replay(out):
        raise ParameterError(
            f"out: {out} is not an earlier replay (no {SUMMARY} of one); it is left as it is"
        )


def _is_replay(out: Path) -> bool:
    try:
        summary = json.loads((out / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(summary, dict) and summary.get("format") == FORMAT
