"""What goes wrong with a data set, in the family of the package's errors."""

from __future__ import annotations

from octo_ros.errors import OctoRosError


class DatasetError(OctoRosError):
    """An RLDS data set that is missing, corrupt, lacks a key, or cannot be written."""
