"""The values that pass between the policy, the safety filter, the nodes and the replay.

Stamps are integer nanoseconds of the clock that stamped the camera frames (ROS time), so
that a recorded bag and a live robot give the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

ACTION_AXES = ("dx", "dy", "dz", "droll", "dpitch", "dyaw", "gripper")
"""Names of the 7 values of an action: metres, radians, and the gripper (1 open, 0 closed)."""

NORMALIZED_AXES = tuple(f"normalized_{axis}" for axis in ACTION_AXES)
"""Names of an action's values in the network's units."""

NANOSECONDS = 1_000_000_000
"""Nanoseconds in a second."""


@dataclass(frozen=True)
class Observation:
    """What the robot sees at one instant.

    Attributes:
        stamp_ns: stamp of the newest camera frame [ns].
        images: camera name as the manifest spells it ("primary") to an RGB frame,
            (H, W, 3) uint8, any size. A camera left out is masked, never invented.
        proprio: joint or tool state as the checkpoint was trained on, (P,) float32, or None.
    """

    stamp_ns: int
    images: Mapping[str, np.ndarray]
    proprio: np.ndarray | None = None


@dataclass(frozen=True)
class Task:
    """What the robot is asked to do: words, goal images, or both.

    Attributes:
        instruction: a sentence, or None.
        goal_images: camera name to an RGB goal frame, (H, W, 3) uint8, any size.
    """

    instruction: str | None = None
    goal_images: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Action:
    """One step for the arm, with the chunk it was taken from.

    Attributes:
        stamp_ns: stamp of the newest camera frame the action answers [ns].
        normalized: (7,) float32 in the units of the network, axes as `ACTION_AXES`.
        physical: (7,) float64: metres and radians for one step at the data set's rate, then
            the gripper in [0, 1] (1 open).
        chunk: (horizon, 7) float32, the newest normalized chunk as sampled.
    """

    stamp_ns: int
    normalized: np.ndarray
    physical: np.ndarray
    chunk: np.ndarray
