"""What a robot's sensors give, as the network takes it: sizes, crop, scales of the bundle.

A frame is prepared by the backend where that has a graph for its camera, size and crop, else here on the CPU.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from octo_ros.engine.backend import Backend
from octo_ros.engine.frames import prepare_graph
from octo_ros.engine.graphs import image_key
from octo_ros.engine.manifest import Camera, Manifest
from octo_ros.errors import ObservationError
from octo_ros.policy.history import Step
from octo_ros.policy.images import prepare_image
from octo_ros.policy.normalization import Statistics, normalize_proprio, proprio_statistics
from octo_ros.policy.options import ActOptions
from octo_ros.types import Observation

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparedFrame:
    """A camera's frame that `Preparation.frame` has prepared: (H, W, 3) uint8 in the manifest's size."""

    pixels: np.ndarray


class Preparation:
    """Prepares observations and goal images for one bundle."""

    def __init__(self, manifest: Manifest, options: ActOptions, backend: Backend | None = None) -> None:
        """Opens the backend's graphs for frames.

        Args:
            manifest: for cameras, sizes and statistics.
            options: for crop, data set and mode.
            backend: that may prepare frames; None for the CPU alone.

        Raises:
            BundleError: a graph of the backend that cannot be opened.
        """
        self._manifest = manifest
        self._options = options
        self._backend = backend
        self._frames = {} if backend is None else dict(backend.frames())
        self._other_sizes: dict[str, str] = {}  # camera: the first that its graph does not take
        self._uncropped = [
            name for name, made in self._frames.items() if made.center_crop != self._crops(name)
        ]
        for name in self._frames:
            if name not in self._uncropped:
                backend.open(prepare_graph(name))

    def details(self) -> dict[str, str]:
        """Where frames are prepared, of cameras for which that is not as the backend's own details say."""
        told = {
            f"frames {name}": f"{self._frames[name].where()}, as {size} that came"
            for name, size in self._other_sizes.copy().items()  # another thread may prepare frames
        }
        for name in self._uncropped:
            crops = "crops" if self._frames[name].center_crop else "does not crop"
            told[f"frames {name}"] = f"on the CPU, for the engine {crops} and these options do otherwise"
        return told

    def warm_up(self) -> None:
        """Runs the backend's graphs once on zeros."""
        for name, made in self._frames.items():
            if name not in self._uncropped:
                self.frame(name, np.zeros((made.height, made.width, 3), np.uint8))

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
        what = f"image {name!r}"
        self._camera(name, what)
        if name in self._frames:
            pixels = self._backend.prepare_frame(name, image, self._crops(name))
            if pixels is not None:
                return PreparedFrame(pixels)
        pixels = self._image(name, image, what)
        if name in self._frames and pixels is not image:
            self._tell_of_size(name, image)
        return PreparedFrame(pixels)

    def goals(self, images: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Goal images by camera, as the "image_<camera>" (1, H, W, 3) uint8 of a task.

        Prepared as frames are, on the CPU: training crops both at random, so the average crop is right for
        both.

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
        return prepare_image(image, camera.height, camera.width, self._crops(name), what)

    def _crops(self, name: str) -> bool:
        return self._manifest.cameras[name].center_crop and self._options.center_crop

    def _tell_of_size(self, name: str, image: np.ndarray) -> None:
        """Logs once a camera that its frames are not of the engine's size."""
        if name in self._other_sizes or name in self._uncropped:
            return
        self._other_sizes[name] = f"{image.shape[1]}x{image.shape[0]}"
        _log.warning(
            "frames of %s are %s, and the engine was built for %s: they are prepared on the CPU; "
            "`octo_ros build --frames %s=%s` makes an engine for them",
            name, self._other_sizes[name], self._frames[name], name, self._other_sizes[name],
        )  # fmt: skip

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
