"""The constraints of a motion, each an independent object that knows nothing of the others."""

from octo_ros.safety.constraints.base import Constraint
from octo_ros.safety.constraints.clearance import Clearance
from octo_ros.safety.constraints.joints import JointPosition, JointVelocity
from octo_ros.safety.constraints.tool import ToolSpeed
from octo_ros.safety.constraints.zones import LinkZone, WorkspaceBox

__all__ = [
    "Clearance",
    "Constraint",
    "JointPosition",
    "JointVelocity",
    "LinkZone",
    "ToolSpeed",
    "WorkspaceBox",
]
