"""The features of the data sets written here, and an episode in them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from octo_ros.rlds.episode import Episode
from octo_ros.rlds.errors import DatasetError
from octo_ros.rlds.features import Leaf
from octo_ros.rlds.frames import Encoding
from octo_ros.rlds.keys import IMAGE

_STEP_LEAVES = {
    "steps/action": Leaf("tensor", (7,), "float32", description=(
        "dx dy dz (m) and droll dpitch dyaw (rad, roll pitch yaw about the base's axes) of one step, "
        "then the gripper after it (1 open, 0 closed)."
    )),
    "steps/language_instruction": Leaf("text", description="What the robot was told."),
    "steps/observation/natural_language_instruction": Leaf("text", description="The same."),
    "steps/is_first": Leaf("tensor", (), "bool"),
    "steps/is_last": Leaf("tensor", (), "bool"),
    "steps/is_terminal": Leaf("tensor", (), "bool"),
    "steps/reward": Leaf("tensor", (), "float32", description="1 on the last step unless it failed."),
    "steps/discount": Leaf("tensor", (), "float32"),
    "episode_metadata/file_path": Leaf("text", description="Path of the recording."),
    "episode_metadata/episode_id": Leaf("tensor", (), "int32", description="Episode in the recording."),
    "episode_metadata/outcome": Leaf("text", description="success, failure or unknown."),
    "episode_metadata/rate_hz": Leaf("tensor", (), "float32", description="Steps in a second (Hz)."),
}  # fmt: skip


class Layout:
    """The features that a first episode gives a data set; later episodes must fit it.

    Attributes:
        features: leaf by path.
    """

    def __init__(self, episode: Episode, encoding: Encoding) -> None:
        self._encoding = encoding
        self._images = _sizes(episode)
        self._width = _width(episode)
        self.features = dict(_STEP_LEAVES)
        for camera, shape in self._images.items():
            self.features[_path(camera)] = Leaf("image", shape, "uint8", encoding.name)
        if self._width is not None:
            self.features["steps/observation/state"] = Leaf("tensor", (self._width,), "float32")

    def example(self, episode: Episode) -> dict[str, Sequence[bytes] | np.ndarray]:
        """An episode as the features of a tf.train.Example, every step's value after the other.

        Raises:
            DatasetError: other cameras, sizes of frames or length of state than the first episode's.
        """
        images, width = _sizes(episode), _width(episode)
        if (images, width) != (self._images, self._width):
            raise DatasetError(
                f"episode {episode.index} of {episode.source}: expected the first episode's frames "
                f"{self._images} and state of {self._width} values; got {images} and {width}"
            )
        steps = len(episode)
        last = np.arange(steps) == steps - 1
        words = [episode.instruction.encode()] * steps
        example: dict[str, Sequence[bytes] | np.ndarray] = {
            "steps/action": episode.action,
            "steps/language_instruction": words,
            "steps/observation/natural_language_instruction": words,
            "steps/is_first": np.arange(steps) == 0,
            "steps/is_last": last,
            "steps/is_terminal": last,
            "steps/reward": np.where(last & (episode.success is not False), 1.0, 0.0),
            "steps/discount": np.ones(steps),
            "episode_metadata/file_path": [episode.source.encode()],
            "episode_metadata/episode_id": np.array([episode.index]),
            "episode_metadata/outcome": [episode.outcome.encode()],
            "episode_metadata/rate_hz": np.array([episode.rate_hz]),
        }
        for camera, frames in episode.images.items():
            example[_path(camera)] = frames.encoded(self._encoding)
        if episode.state is not None:
            example["steps/observation/state"] = episode.state
        return example


def _path(camera: str) -> str:
    return f"steps/observation/{IMAGE}{camera}"


def _sizes(episode: Episode) -> dict[str, tuple[int, ...]]:
    """Shape of the first frame of each camera, cameras sorted."""
    return {camera: episode.images[camera][0].shape for camera in sorted(episode.images)}


def _width(episode: Episode) -> int | None:
    return None if episode.state is None else episode.state.shape[1]
