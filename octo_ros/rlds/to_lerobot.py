"""Episodes to a LeRobotDataset v3, which the library `lerobot` writes itself."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from octo_ros.errors import ParameterError
from octo_ros.rlds.episode import Episode
from octo_ros.rlds.errors import DatasetError
from octo_ros.rlds.options import Kept, Rejected
from octo_ros.staging import check_target, temporary_sibling
from octo_ros.types import ACTION_AXES

PICTURES = {"png": "image", "video": "video"}
"""How pictures are stored, and the library's name for it: PNG keeps every pixel; video is as the library
encodes it, many times smaller, and changes them."""

SMALLEST_VIDEO = 64
"""Height and width below which the library's video encoder may end the process [pixels]."""

RATE_SLACK = 0.01
"""Share by which steps may come faster or slower than whole frames in a second, which LeRobot counts."""


def write_lerobot(
    out: str | Path,
    episodes: Iterable[Episode],
    rate_hz: float | None = None,
    *,
    encoding: str = "png",
    robot_type: str | None = None,
    keep_failures: bool = False,
    progress: Callable[[int], None] | None = None,
) -> tuple[list[Kept], list[Rejected]]:
    """Writes a new LeRobotDataset; it appears complete or not at all.

    Features: observation.images.<camera>, observation.state where there are states, action; the task is
    the instruction. Episodes keep their order and share one rate, and cameras, sizes and state.

    Args:
        out: directory to write.
        rate_hz: of the steps where an episode does not say its own [Hz].
        encoding: of the pictures, one of `PICTURES`.
        robot_type: LeRobot's field of that name; None for none.
        keep_failures: whether failures are written too; LeRobot would not tell them from the others.
        progress: called with the number of episodes done.

    Returns:
        The episodes written, and those left out: without an instruction, and failures.

    Raises:
        ParameterError: another encoding, frames too small for video, or a rate that is not whole.
        DatasetError: no library, a place that is taken or cannot be written, no episode, or episodes that
            differ from the first.
    """
    if encoding not in PICTURES:
        raise ParameterError(f"encoding: expected one of {', '.join(PICTURES)} for LeRobot, got {encoding!r}")
    library = _library()
    out = Path(out).absolute()
    check_target(out, DatasetError)
    kept: list[Kept] = []
    rejected: list[Rejected] = []
    dataset, first = None, None
    with temporary_sibling(out, DatasetError) as work:
        try:
            for episode in episodes:
                reason = _fault(episode, keep_failures)
                if reason:
                    rejected.append(Rejected(episode.source, episode.index, episode.instruction, reason))
                    continue
                fps, features = _fps(episode, rate_hz), _features(episode, PICTURES[encoding])
                if dataset is None:
                    first = fps, features
                    dataset = library.create(
                        out.name,
                        fps,
                        copy.deepcopy(features),  # the library adds to them
                        root=work / out.name,
                        robot_type=robot_type,
                        use_videos=encoding == "video",
                    )
                if (fps, features) != first:
                    raise DatasetError(
                        f"episode {episode.index} of {episode.source}: expected the first episode's "
                        f"{_told(*first)}; got {_told(fps, features)}"
                    )
                for step in range(len(episode)):
                    dataset.add_frame(_frame(episode, step))
                dataset.save_episode()
                kept.append(Kept(episode.source, episode.index, episode.instruction, len(episode), fps, {}))
                if progress is not None:
                    progress(len(kept))
            if dataset is None:
                raise DatasetError(f"{out}: no episode to write; {_reasons(rejected)}")
            dataset.finalize()
            check_target(out, DatasetError)
            os.replace(work / out.name, out)
        except (OSError, ValueError, RuntimeError) as error:  # what the library raises
            raise DatasetError(f"{out}: cannot be written: {' '.join(str(error).split())}") from error
    return kept, rejected


def _library() -> Any:
    """The class LeRobotDataset; DatasetError where it is not installed."""
    try:
        from lerobot.datasets.lerobot_dataset import LeRobotDataset
    except ImportError as error:
        raise DatasetError(
            f"LeRobot data sets need the Python package lerobot: install octo_ros with its extra 'lerobot' "
            f"in an environment without its extra 'export' ({' '.join(str(error).split())})"
        ) from error
    return LeRobotDataset


def _fault(episode: Episode, keep_failures: bool) -> str:
    """Why an episode is left out, or ""."""
    if not episode.instruction.strip():
        return "no instruction, which is LeRobot's task"
    if episode.success is False and not keep_failures:
        return "it ended in failure"
    return ""


def _reasons(rejected: list[Rejected]) -> str:
    counts = {one.reason: 0 for one in rejected}
    for one in rejected:
        counts[one.reason] += 1
    return ", ".join(f"{count} left out: {reason}" for reason, count in counts.items()) or "there is none"


def _fps(episode: Episode, given: float | None) -> int:
    """Frames in a second of an episode, a whole number."""
    rate = episode.rate_hz or given or 0.0
    if not 0.0 < rate <= 1000.0:
        raise ParameterError(
            f"rate_hz: the data set does not say its rate; expected one in (0, 1000] Hz (--rate), got {given}"
        )
    fps = max(1, round(rate))
    if abs(rate / fps - 1.0) > RATE_SLACK:
        raise ParameterError(
            f"rate_hz: LeRobot counts whole frames in a second; expected a rate within {RATE_SLACK:.0%} of "
            f"a whole number, got {rate:g} Hz"
        )
    return fps


def _features(episode: Episode, kind: str) -> dict[str, dict[str, Any]]:
    """The features of an episode in LeRobot's form, its frames stored as `kind`."""
    features: dict[str, dict[str, Any]] = {}
    for camera in sorted(episode.images):
        shape = episode.images[camera][0].shape
        if kind == "video" and min(shape[:2]) < SMALLEST_VIDEO:
            raise ParameterError(
                f"encoding: video: camera {camera}: expected frames of {SMALLEST_VIDEO} pixels or more in "
                f"height and width, got {shape[0]} x {shape[1]}; store them as png"
            )
        names = ["height", "width", "channels"]
        features[f"observation.images.{camera}"] = {"dtype": kind, "shape": shape, "names": names}
    if episode.state is not None:
        features["observation.state"] = _vector(episode.state, None)
    features["action"] = _vector(episode.action, list(ACTION_AXES))
    return features


def _vector(values: np.ndarray, names: list[str] | None) -> dict[str, Any]:
    return {"dtype": "float32", "shape": values.shape[1:], "names": names}


def _frame(episode: Episode, step: int) -> dict[str, Any]:
    """One step as the library takes it."""
    frame: dict[str, Any] = {"action": episode.action[step], "task": episode.instruction}
    if episode.state is not None:
        frame["observation.state"] = episode.state[step]
    for camera, frames in episode.images.items():
        frame[f"observation.images.{camera}"] = frames[step]
    return frame


def _told(fps: int, features: dict[str, dict[str, Any]]) -> str:
    shapes = ", ".join(f"{name} {feature['shape']}" for name, feature in features.items())
    return f"{fps} Hz and {shapes}"
