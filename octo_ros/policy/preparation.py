"""What a robot's sensors give, as the network takes it: sizes, crop, scales of the bundle."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from octo_ros.engine.graphs import image_key
from octo_ros.engine.manifest import Camera, Manifest
from octo_ros.errors import ObservationError
from octo_ros.policy.history import Step
from octo_ros.policy.images import prepare_image
from octo_ros.policy.normalization import Statistics, normalize_proprio, proprio_statistics
from octo_ros.policy.options import ActOptions
from octo_ros.types import Observation


@dataclass(frozen=True)
class PreparedFrame:
    """A camera's frame that `Preparation.frame` has prepared: (H, W, 3) uint8 in the manifest's size."""

    pixels: np.ndarray


class Preparation:
    """Prepares observations and goal images for one bundle."""

    def __init__(self, manifest: Manifest, options: ActOptions) -> None:
        """Args: manifest, for cameras, sizes and statistics; options, for crop, data set and mode."""
        self._manifest = manifest
        self._options = options

    def step(self, observation: Observation) -> Step:
        """One timestep; a camera or proprioception that is not there is left out.

        Raises:
            ObservationError: no camera, an unknown one, or values that do not fit; named.
            StatisticsError: proprioception without statistics to scale it.
        """
        if not observation.images:
            raise ObservationError(f"images: expected some of {', '.join(self._manifest.cameras)}, got none")
        images = {
            name: (image if isinstance(image, PreparedFrame) else self.frame(name, image)).pixels
            for name, image in observation.images.items()
        }
        return Step(images, None if observation.proprio is None else self._proprio(observation.proprio))

    def frame(self, name: str, image: np.ndarray) -> PreparedFrame:
        """A camera's frame prepared ahead: `step` takes it instead of the frame.

        Raises:
            ObservationError: as `step`.
        """
        return PreparedFrame(self._image(name, image, f"image {name!r}"))

    def goals(self, images: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Goal images by camera, as the "image_<camera>" (1, H, W, 3) uint8 of a task.

        Prepared as frames are: training crops both at random, so the average crop is right for both.

        Raises:
            ObservationError: a camera that is unknown or takes no goal, or an image that does not fit.
        """
        goals = {}
        for name, image in images.items():
            what = f"goal image {name!r}"
            if not self._camera(name, what).takes_goal:
                raise ObservationError(f"{what}: this network takes no goal for that camera")
            goals[image_key(name)] = self._image(name, image, what)[None]
        return goals

    def _image(self, name: str, image: np.ndarray, what: str) -> np.ndarray:
        camera = self._camera(name, what)
        crop = camera.center_crop and self._options.center_crop
        return prepare_image(image, camera.height, camera.width, crop, what)

    def _camera(self, name: str, what: str) -> Camera:
        if name not in self._manifest.cameras:
            raise ObservationError(
                f"{what}: unknown camera; this bundle has {', '.join(self._manifest.cameras)}"
            )
        return self._manifest.cameras[name]

    def _proprio(self, raw: np.ndarray) -> np.ndarray:
        statistics = self._proprio_statistics
        values = np.asarray(raw)
        if (
            values.shape != statistics.mean.shape
            or values.dtype.kind not in "fiu"
            or not np.isfinite(values).all()
        ):
            expected = f"{len(statistics.mean)} finite numbers"
            raise ObservationError(f"proprio: expected {expected}, got shape {values.shape}: {values}")
        return normalize_proprio(values, statistics, self._options.normalization)

    @functools.cached_property
    def _proprio_statistics(self) -> Statistics:
        if self._manifest.proprio_size is None:
            raise ObservationError("proprio: expected None, for this network takes no proprioception")
        return proprio_statistics(self._manifest, self._options.dataset)
