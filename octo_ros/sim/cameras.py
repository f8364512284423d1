"""Pictures of the simulated cell, rendered off screen."""

from __future__ import annotations

import atexit
import math
from collections.abc import Mapping
from dataclasses import dataclass

import mujoco
import numpy as np

from octo_ros.errors import ParameterError

VISIBLE_GROUP = 1
"""robosuite's group of what is seen; group 0 is what collides."""

SHADOW_PIXELS = 1024
"""Side of the shadow map [pixel]; robosuite's 4096 costs a software renderer a third of its time."""

OFFSCREEN_SAMPLES = 0
"""For smooth edges; robosuite's 4 cost a software renderer half of its time for the primary camera."""


@dataclass(frozen=True)
class CameraView:
    """One camera.

    Attributes:
        model: its name in the model.
        size: side of its square picture [pixel].
    """

    model: str
    size: int


class Cameras:
    """Renders every camera of a model.

    Args:
        model: MuJoCo's.
        views: camera's name to view.

    Raises:
        ParameterError: there is no way to render here; says what is missing.
    """

    def __init__(self, model: mujoco.MjModel, views: Mapping[str, CameraView]) -> None:
        model.vis.quality.shadowsize = SHADOW_PIXELS
        model.vis.quality.offsamples = OFFSCREEN_SAMPLES
        self._model, self.views = model, dict(views)
        self._options = mujoco.MjvOption()
        self._options.geomgroup[:] = 0
        self._options.geomgroup[VISIBLE_GROUP] = 1
        self._options.sitegroup[:] = 0
        missing = "cameras: cannot render off screen; install libegl1 (MUJOCO_GL=egl) or libosmesa6 (osmesa)"
        if not hasattr(mujoco, "GLContext"):
            raise ParameterError(missing)
        try:
            self._renderers = {
                size: mujoco.Renderer(model, size, size) for size in {view.size for view in views.values()}
            }
        except Exception as error:  # each of MuJoCo's GL backends has its own
            raise ParameterError(f"{missing}: {error}") from error
        atexit.register(self.close)  # MuJoCo's own handler, set before, takes away what they are freed with
        for renderer in self._renderers.values():
            renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0

    def images(self, data: mujoco.MjData) -> dict[str, np.ndarray]:
        """Camera's name to an upright RGB picture, (size, size, 3) uint8."""
        images = {}
        for name, view in self.views.items():
            renderer = self._renderers[view.size]
            renderer.update_scene(data, camera=view.model, scene_option=self._options)
            images[name] = renderer.render()
        return images

    def focal_length(self, name: str) -> float:
        """Of a camera [pixel]; its optical axis goes through the picture's middle."""
        view = self.views[name]
        fov = math.radians(self._model.camera(view.model).fovy[0])
        return view.size / 2.0 / math.tan(fov / 2.0)

    def close(self) -> None:
        """Frees the renderers; so does the end of the process."""
        atexit.unregister(self.close)
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers = {}
