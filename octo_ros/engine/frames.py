"""Frames of cameras that an engine prepares itself: of which size each, and what the graph for it is.

`octo_ros build --frames primary=640x480` adds a graph `prepare_primary` to an engine. It resizes and crops a
frame of exactly that size as `octo_ros.policy.images.prepare_image` does, and takes no other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from octo_ros.engine.manifest import Camera, Graph, Manifest, Tensor
from octo_ros.errors import ParameterError

PREPARE = "prepare_"
"""What the name of a graph that prepares a camera's frames begins with."""

FRAME, PREPARED = "frame", "prepared"
"""Its input and its output."""

SIDES = range(2, 8193)
"""Sides that a frame may have [pixel]: `prepare_image` needs two, and none is beyond 8K."""


@dataclass(frozen=True)
class CameraFrames:
    """Frames of one camera, as its graph takes them.

    Attributes:
        height, width: of a frame [pixel].
        center_crop: whether the graph also crops to the centre 0.9 of the area.
    """

    height: int
    width: int
    center_crop: bool

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"

    def where(self) -> str:
        """Where the camera's frames are prepared, with this graph there."""
        return f"{self} on the GPU, other sizes on the CPU"

    def takes(self, image: object, center_crop: bool) -> bool:
        """Whether the graph is for this frame: (height, width, 3) uint8, to be cropped as it crops."""
        return (
            isinstance(image, np.ndarray)
            and image.dtype == np.uint8
            and image.shape == (self.height, self.width, 3)
            and center_crop == self.center_crop
        )

    def graph(self, file: str, camera: Camera) -> Graph:
        """The graph in a file: from such a frame to that of the camera in the manifest."""
        return Graph(
            file,
            {FRAME: Tensor("uint8", (self.height, self.width, 3))},
            {PREPARED: Tensor("uint8", (camera.height, camera.width, 3))},
        )


def prepare_graph(camera: str) -> str:
    """The name of the graph that prepares a camera's frames."""
    return f"{PREPARE}{camera}"


def parse_sizes(entries: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Camera to (height, width) [pixel], from texts such as "primary=640x480", width first.

    Raises:
        ParameterError: another form, a side that no frame has, or the same camera twice.
    """
    sizes: dict[str, tuple[int, int]] = {}
    for entry in entries:
        parts = re.fullmatch(r"(.+)=([0-9]{1,9})x([0-9]{1,9})", entry, re.ASCII)
        if parts is None:
            raise ParameterError(
                f"--frames: expected CAMERA=WIDTHxHEIGHT, such as primary=640x480, got {entry!r}"
            )
        camera, width, height = parts[1], int(parts[2]), int(parts[3])
        if width not in SIDES or height not in SIDES:
            raise ParameterError(
                f"--frames {camera}: expected {SIDES[0]} to {SIDES[-1]} pixels a side, got {width}x{height}"
            )
        if camera in sizes:
            raise ParameterError(f"--frames {camera}: expected one size a camera, got a second: {entry!r}")
        sizes[camera] = height, width
    return sizes


def camera_frames(manifest: Manifest, sizes: Mapping[str, tuple[int, int]]) -> dict[str, CameraFrames]:
    """What an engine of a bundle prepares, by camera, for the cameras' sizes of `parse_sizes`.

    Raises:
        ParameterError: a camera that the bundle does not have, or frames with which nothing is to be done.
    """
    frames = {}
    for name, (height, width) in sizes.items():
        if name not in manifest.cameras:
            raise ParameterError(
                f"--frames {name}: unknown camera; this bundle has {', '.join(manifest.cameras)}"
            )
        camera = manifest.cameras[name]
        made = CameraFrames(height, width, camera.center_crop)
        if (height, width) == (camera.height, camera.width) and not camera.center_crop:
            raise ParameterError(
                f"--frames {name}: {made} is the network's own size, and this camera is not cropped: "
                "there is nothing to prepare; leave it out"
            )
        frames[name] = made
    return frames
