"""Which way MuJoCo renders without a screen; to be settled before mujoco is imported."""

from __future__ import annotations

import ctypes.util
import os
import sys

BACKENDS = (("egl", "EGL"), ("osmesa", "OSMesa"))
"""Values of MUJOCO_GL, with the library that each needs, in order of preference."""


def choose_backend() -> str:
    """Sets MUJOCO_GL where nobody has, by the libraries that are installed; returns its value.

    "disable" where there are none: everything but pictures still works.
    """
    if sys.platform == "linux" and not os.environ.get("MUJOCO_GL"):
        found = (name for name, library in BACKENDS if ctypes.util.find_library(library))
        os.environ["MUJOCO_GL"] = next(found, "disable")
    return os.environ.get("MUJOCO_GL", "")
