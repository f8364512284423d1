"""The frames the network sees at once: the newest, and those of the steps before."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from octo_ros.engine.bundle import Manifest
from octo_ros.engine.graphs import image_key
from octo_ros.errors import ObservationError


@dataclass(frozen=True)
class Step:
    """One timestep as the network takes it.

    Attributes:
        images: camera to its prepared frame, (H, W, 3) uint8 in the manifest's size; a camera
            that gave none is left out.
        proprio: (P,) float32, normalized, or None.
    """

    images: Mapping[str, np.ndarray] = field(default_factory=dict)
    proprio: np.ndarray | None = None


class History:
    """The last `window` steps; the first one stands in for those before it, marked as padding.

    A longer pause than `gap_ns`, or a stamp that goes back (a bag that loops), begins anew: frames
    from before it say nothing about motion.
    """

    def __init__(self, manifest: Manifest, gap_ns: int) -> None:
        """Args: manifest, for window, cameras and proprioception; gap_ns, longest time between steps [ns]."""
        self._manifest = manifest
        self._gap_ns = gap_ns
        self._steps: deque[Step] = deque(maxlen=manifest.window)
        self._stamp_ns: int | None = None

    def clear(self) -> None:
        """Forgets every step."""
        self._steps.clear()
        self._stamp_ns = None

    def push(self, stamp_ns: int, step: Step) -> bool:
        """Adds the newest step; returns whether the history began (anew) with it.

        Raises:
            ObservationError: the stamp of the step before, again: the same frame twice is no motion.
        """
        last_ns = self._stamp_ns
        if last_ns is not None and stamp_ns == last_ns:
            raise ObservationError(
                f"stamp_ns: expected a stamp other than the last step's, got {stamp_ns} again"
            )
        begins = last_ns is None or not 0 < stamp_ns - last_ns <= self._gap_ns
        if begins:
            self._steps.clear()
        self._steps.append(step)
        self._stamp_ns = stamp_ns
        return begins

    def timestep_pad_mask(self) -> np.ndarray:
        """(1, window) bool: False where the first step stands in for one before it."""
        window = self._manifest.window
        return np.arange(window)[None] >= window - len(self._steps)

    def observations(self) -> dict[str, Any]:
        """The steps stacked, oldest first, under the keys `Policy.sample` takes.

        A camera or proprioception that a step lacks is zeros, masked in `pad_mask_dict`.
        """
        missing = self._manifest.window - len(self._steps)
        steps = [self._steps[0]] * missing + list(self._steps)
        stacked: dict[str, Any] = {}
        present = {}
        for name, camera in self._manifest.cameras.items():
            blank = np.zeros((camera.height, camera.width, 3), dtype=np.uint8)
            stacked[image_key(name)] = np.stack([step.images.get(name, blank) for step in steps])[None]
            present[image_key(name)] = np.array([[name in step.images for step in steps]])
        if self._manifest.proprio_size is not None:
            blank = np.zeros(self._manifest.proprio_size, dtype=np.float32)
            stacked["proprio"] = np.stack([blank if s.proprio is None else s.proprio for s in steps])[None]
            present["proprio"] = np.array([[step.proprio is not None for step in steps]])
        return {**stacked, "pad_mask_dict": present}
