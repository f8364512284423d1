"""One episode of a data set: what a robot saw, did and was told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from octo_ros.rlds.errors import DatasetError
from octo_ros.rlds.frames import Frames
from octo_ros.types import ACTION_AXES

OUTCOMES = {"success": True, "failure": False, "unknown": None}
"""How an episode's outcome is written, and what it means."""


@dataclass(frozen=True)
class Episode:
    """T steps of one task; shapes are checked when it is made.

    Attributes:
        images: camera ("primary") to its T frames, each (H, W, 3) uint8 RGB when looked at.
        action: (T, 7) float32, one step each: dx dy dz [m], droll dpitch dyaw [rad] in the axes of the
            base, and the gripper after it (absolute, 1 open, 0 closed).
        state: (T, k) float32 proprioception, or None.
        instruction: what the robot was told.
        rate_hz: steps in a second [Hz]; 0.0 where it is not known.
        success: whether the task was done, None where nobody said.
        source: where it came from, such as the path of a bag.
        index: of the episode in its source, from 0.
    """

    images: Mapping[str, Frames]
    action: np.ndarray
    state: np.ndarray | None
    instruction: str
    rate_hz: float = 0.0
    success: bool | None = None
    source: str = ""
    index: int = 0

    def __post_init__(self) -> None:
        where = f"episode {self.index} of {self.source or 'no source'}"
        steps = len(self.action)
        _check_vector(self.action, f"{where}: action", (steps, len(ACTION_AXES)))
        if not steps or not self.images:
            raise DatasetError(
                f"{where}: expected at least one step and one camera, "
                f"got {steps} steps and {len(self.images)} cameras"
            )
        if self.state is not None:
            width = self.state.shape[1] if self.state.ndim == 2 else 0
            _check_vector(self.state, f"{where}: state", (steps, width))
        for camera, frames in self.images.items():
            if len(frames) != steps:
                raise DatasetError(f"{where}: camera {camera}: expected {steps} frames, got {len(frames)}")

    def __len__(self) -> int:
        """Number of steps T."""
        return len(self.action)

    @property
    def outcome(self) -> str:
        """ "success", "failure" or "unknown"."""
        return next(name for name, success in OUTCOMES.items() if success is self.success)


def _check_vector(values: np.ndarray, where: str, shape: tuple[int, int]) -> None:
    if values.shape != shape or 0 in shape[1:] or values.dtype != np.float32:
        raise DatasetError(f"{where}: expected {shape} float32, got {values.shape} {values.dtype}")
    if not np.isfinite(values).all():
        step = int(np.argmin(np.isfinite(values).all(axis=1)))
        raise DatasetError(f"{where}: not finite at step {step}: {values[step].tolist()}")
