"""What training data is: episodes of frames, actions and an instruction, checked once here."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from octo_ros.errors import OctoRosError
from octo_ros.policy.images import prepare_image
from octo_ros.types import ACTION_AXES


class TrainingDataError(OctoRosError):
    """Episodes that cannot be trained on."""


class TrainingEpisode(Protocol):
    """One episode of T steps, from any source.

    Attributes:
        cameras: camera name ("primary") to its frames, (T, H, W, 3) uint8 RGB, as an array or as what numpy
            makes one of, so that frames may stay compressed until then.
        action: (T, 7) float32: metres, radians and the gripper, axes as `octo_ros.types.ACTION_AXES`.
        state: (T, P) float32, proprioception in the data's own units, or None.
        instruction: a sentence; empty where there is none.
    """

    @property
    def cameras(self) -> Mapping[str, npt.ArrayLike]: ...

    @property
    def action(self) -> np.ndarray: ...

    @property
    def state(self) -> np.ndarray | None: ...

    @property
    def instruction(self) -> str: ...


@dataclass(frozen=True)
class PreparedEpisode:
    """An episode whose frames have the network's size; else as `TrainingEpisode`."""

    cameras: Mapping[str, np.ndarray]
    action: np.ndarray
    state: np.ndarray | None
    instruction: str

    @property
    def steps(self) -> int:
        """Steps of the episode."""
        return len(self.action)


def prepare_episodes(
    episodes: Sequence[TrainingEpisode],
    sizes: Mapping[str, tuple[int, int]],
    proprio: bool,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[PreparedEpisode]:
    """Checks episodes and brings their frames to the network's size, by the preparation of the policy.

    Frames are decoded and resized by as many threads as there are processors.

    Args:
        episodes: at least one.
        sizes: camera to (height, width) [pixel] that the network takes.
        proprio: whether the network reads proprioception.
        progress: called as (what, episodes done, episodes).

    Raises:
        TrainingDataError: what was expected, what came, and in which episode.
    """
    if not episodes:
        raise TrainingDataError("data: expected at least one episode, got none")
    prepared = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        made = pool.map(
            lambda index: _prepared(episodes[index], sizes, proprio, f"episode {index}"), range(len(episodes))
        )
        for done, episode in enumerate(made, start=1):
            prepared.append(episode)
            if progress is not None:
                progress("preparing frames", done, len(episodes))
    lengths = {None if episode.state is None else episode.state.shape[1] for episode in prepared}
    if len(lengths) > 1:
        raise TrainingDataError(f"state: expected the same number of values in all episodes, got {lengths}")
    return prepared


def _prepared(
    episode: TrainingEpisode, sizes: Mapping[str, tuple[int, int]], proprio: bool, where: str
) -> PreparedEpisode:
    action = _numbers(episode.action, f"{where}: action")
    if action.shape[1] != len(ACTION_AXES):
        raise TrainingDataError(
            f"{where}: action: expected {len(ACTION_AXES)} values a step ({', '.join(ACTION_AXES)}), "
            f"got {action.shape[1]}"
        )
    state = None
    if proprio:
        if episode.state is None:
            raise TrainingDataError(f"{where}: state: the model reads proprioception, and there is none")
        state = _numbers(episode.state, f"{where}: state")
        if len(state) != len(action):
            raise TrainingDataError(f"{where}: state: expected {len(action)} steps, got {len(state)}")
    missing = sorted(set(sizes) - set(episode.cameras))
    if missing:
        raise TrainingDataError(
            f"{where}: no camera {', '.join(missing)}; it has {', '.join(sorted(episode.cameras))}: "
            "name those to train on with --cameras"
        )
    cameras = {
        name: _frames(episode.cameras[name], len(action), size, f"{where}: camera {name}")
        for name, size in sizes.items()
    }
    return PreparedEpisode(cameras, action, state, str(episode.instruction).strip())


def _numbers(values: np.ndarray, where: str) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim != 2 or array.size == 0 or array.dtype.kind not in "fiub":
        raise TrainingDataError(f"{where}: expected numbers (steps, values), got {array.shape} {array.dtype}")
    array = array.astype(np.float32)
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        step, value = bad[0]
        raise TrainingDataError(
            f"{where}: expected finite numbers, got {array[step, value]} at step {step}, value {value}"
        )
    return array


def _frames(frames: npt.ArrayLike, steps: int, size: tuple[int, int], where: str) -> np.ndarray:
    array = np.asarray(frames)
    if array.ndim != 4 or len(array) != steps or array.shape[3] != 3 or array.dtype != np.uint8:
        got = f"{array.shape} {array.dtype}"
        raise TrainingDataError(f"{where}: expected ({steps}, height, width, 3) uint8, got {got}")
    return np.stack([prepare_image(frame, *size, center_crop=False, name=where) for frame in array])
