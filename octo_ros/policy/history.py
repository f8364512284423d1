"""The frames the network sees at once: the newest, and those of the steps before."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from octo_ros.engine.graphs import image_key, observation_tensors
from octo_ros.engine.manifest import Manifest
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
    """The last `window` steps, as the network takes them.

    A longer pause than `gap_ns`, or a stamp that goes back (a bag that loops), begins anew: frames
    from before it say nothing about motion.
    """

    def __init__(self, manifest: Manifest, gap_ns: int) -> None:
        """Args: manifest, for window, cameras and proprioception; gap_ns, longest time between steps [ns]."""
        self._manifest = manifest
        self._gap_ns = gap_ns
        self._steps: deque[dict[str, np.ndarray]] = deque(maxlen=manifest.window)
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
        self._steps.append(self._tensors(step))
        self._stamp_ns = stamp_ns
        return begins

    @property
    def timesteps(self) -> list[dict[str, np.ndarray]]:
        """The steps there are, oldest first, as the network's tensors with batch and time of 1 each.

        A camera or proprioception that a step lacks is zeros, and masked. A step keeps its dictionary
        as long as it is here.
        """
        return list(self._steps)

    def _tensors(self, step: Step) -> dict[str, np.ndarray]:
        given = {image_key(name): image for name, image in step.images.items()}
        if step.proprio is not None:
            given["proprio"] = step.proprio
        tensors = {}
        for name, tensor in observation_tensors(self._manifest, 1).items():
            if name.startswith("pad_mask_"):
                tensors[name] = np.array([[name.removeprefix("pad_mask_") in given]])
            elif name in given:
                tensors[name] = np.ascontiguousarray(given[name])[None, None]
            else:
                tensors[name] = np.zeros(tensor.shape, tensor.dtype)
        return tensors
