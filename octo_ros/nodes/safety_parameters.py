"""The parameters of safety_filter_node, and the filter's options that follow from them."""

from __future__ import annotations

import math
from typing import Any

from octo_ros.nodes.commands import MODES
from octo_ros.nodes.parameters import Parameter
from octo_ros.policy.gripper import GRIPPER_MODES
from octo_ros.policy.options import NORMALIZATIONS
from octo_ros.safety.options import FilterOptions
from octo_ros.safety.robot import Robot

OPEN_BOX = {"workspace_min": -math.inf, "workspace_max": math.inf}


def _option(name: str, description: str, *bounds: float, choices: tuple[str, ...] = ()) -> Parameter:
    """The parameter of an option of the filter, with the option's own default."""
    return Parameter(name, getattr(FilterOptions, name), description, *bounds, choices=choices)


FILTER_PARAMETERS = (
    _option("joint_margin", "kept from each joint position limit [rad or m]", 0.0, 1.0),
    _option("box_inset", "kept from each wall of the workspace box [m]", 0.0, 0.1),
    _option("velocity_scale", "share of the URDF's joint velocity that is used", 0.001, 0.9),
    _option("max_joint_acceleration", "of each joint, stops included [rad/s^2 or m/s^2]", 0.001, 1000.0),
    _option("max_joint_jerk", "in the motion that actions ask for [rad/s^3 or m/s^3]", 0.001, 1e6),
    _option("max_tool_speed", "of the tip [m/s]", 0.0001, 10.0),
    _option("max_tool_rotation_speed", "of the tip [rad/s]", 0.0001, 20.0),
    _option("min_clearance", "between bodies of the arm, and to declared obstacles [m]", 0.0, 0.5),
    _option("slide_along_walls", "whether motion into a wall of the workspace goes on along it"),
    _option("max_tracking_error", "of measured from commanded joints, then stop [rad or m]", 0.001, math.pi),
    _option("action_timeout_s", "without an accepted action for this long: stop [s]", 0.001, 10.0),
    _option("max_action_age_s", "age by stamp beyond which an action is rejected [s]", 0.001, 10.0),
    _option("max_action_lead_s", "how far in the future an action's stamp may lie [s]", 0.0, 1.0),
    _option(
        "max_joint_state_age_s", "age by stamp beyond which joint states are stale: hold [s]", 0.001, 10.0
    ),
    _option("frozen_joint_state_s", "unchanged joint states under commanded motion: hold [s]", 0.001, 10.0),
    _option("max_step_s", "longest time one command may cover [s]", 0.001, 10.0),
    _option("data_rate_hz", "rate at which the data set's per-step deltas were recorded [Hz]", 0.1, 1000.0),
    _option("action_frame", "axes of a delta", choices=("base", "tool")),
    _option("rotation_order", "rpy: roll first, about fixed axes; ypr: yaw first", choices=("rpy", "ypr")),
    _option("reference", "what a delta is added to", choices=("target", "measured")),
    Parameter("workspace_min", [-math.inf] * 3, "lower corner x y z; may only tighten the URDF's box [m]"),
    Parameter("workspace_max", [math.inf] * 3, "upper corner x y z; may only tighten the URDF's box [m]"),
)

PARAMETERS = (
    Parameter(
        "bundle", "", "folder written by `octo_ros export`: statistics that un-normalise actions; required"
    ),
    Parameter(
        "dataset", "", "data set whose statistics scale actions; empty: the bundle's default or its only one"
    ),
    Parameter("normalization", "mean_std", "how actions were scaled in training", choices=NORMALIZATIONS),
    Parameter("robot_description", "", "the robot's URDF as text, with its octo_safety element"),
    Parameter("urdf_file", "", "path of the URDF, where robot_description is empty"),
    Parameter("robot_description_timeout_s", 5.0, "wait for the topic, where both are empty [s]", 0.0, 60.0),
    Parameter(
        "command_mode", "joint_trajectory", "message the safe command goes out as", choices=tuple(MODES)
    ),
    Parameter("command_rate_hz", 100.0, "rate of the commands, holds included [Hz]", 10.0, 1000.0),
    Parameter("check_collisions", True, "whether distances between bodies are kept; needs their geometry"),
    Parameter(
        "gripper_mode",
        "absolute",
        "what an action's gripper value is: the opening, or a change of it",
        choices=GRIPPER_MODES,
    ),
    Parameter("gripper_threshold", 0.5, "absolute: opening above which it is commanded open", 0.001, 0.999),
    Parameter("gripper_votes", 1, "absolute: equal actions in a row that flip the gripper", 1, 1000),
    Parameter("gripper_start", 1.0, "relative: opening before the first action", 0.0, 1.0),
    *FILTER_PARAMETERS,
)


def filter_options(values: dict[str, Any], robot: Robot) -> FilterOptions:
    """The options of the filter that the parameters stand for.

    Raises:
        ParameterError: a value outside its range.
    """
    options = {parameter.name: values[parameter.name] for parameter in FILTER_PARAMETERS}
    for name, corner in (
        ("workspace_min", robot.workspace.minimum),
        ("workspace_max", robot.workspace.maximum),
    ):
        options[name] = _corner(list(options[name]), OPEN_BOX[name], corner.tolist())
    return FilterOptions(**options)


def _corner(given: list[float], unset: float, of_urdf: list[float]) -> tuple[float, ...] | None:
    """The corner given, with the URDF's value where it is left open; None where all of it is."""
    if all(value == unset for value in given):
        return None
    if len(given) != len(of_urdf):
        return tuple(given)  # FilterOptions refuses it
    return tuple(of_urdf[axis] if value == unset else value for axis, value in enumerate(given))
