"""Every error a user can cause, in one family.

A message says what was expected, what came, and where; the command line prints it and
exits 1, a node logs it and takes the lifecycle transition that fits.
"""


class OctoRosError(Exception):
    """Base of every error this package raises for a user's mistake."""


class CheckpointError(OctoRosError):
    """An Octo checkpoint directory that is missing, corrupt or not supported."""


class BundleError(OctoRosError):
    """An engine bundle that is missing, incomplete, altered or of another version."""


class ObservationError(OctoRosError):
    """Observations, a task or noise that do not fit the bundle's manifest."""


class CaseError(OctoRosError):
    """A reference case that cannot be read, or is of another checkpoint than the bundle."""


class StatisticsError(OctoRosError):
    """A data set key that the bundle's statistics do not have, or statistics that cannot be used."""


class ImageError(OctoRosError):
    """An image message whose encoding, size or bytes cannot be read."""


class RobotModelError(OctoRosError):
    """A URDF that cannot be loaded, lacks a limit, or lacks a workspace."""


class BagError(OctoRosError):
    """A rosbag2 that is missing, corrupt, or lacks a topic."""


class ParameterError(OctoRosError):
    """A parameter or option with a value outside its range."""
