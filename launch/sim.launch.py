"""Runs both nodes on the simulated cell, and begins its first episode.

    ros2 launch octo_ros sim.launch.py robot:=panda task:="lift the red cube"

Arguments of octo.launch.py that are not named here (cameras, dataset, mask_language and so on) mean
what they mean there. Once the policy is active the cell is reset, which says the words to act on; the
filter was activated and waits for the first action, so it needs no reset. Later episodes are an
operator's to begin. When the cell ends, so does everything.
"""

import os

from ament_index_python.packages import get_package_share_directory
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
)
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import StateTransition
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription

SHARE = get_package_share_directory("octo_ros")
FOLLOWED = ("joint_trajectory", "joint_position")
"""Command modes that the cell follows."""

ARGUMENTS = {  # name: (default, meaning, choices)
    "robot": ("panda", "arm: its URDF and its parameters", ("panda", "ur5e")),
    "bundle": (
        os.path.join(SHARE, "demo", "policy"),
        "folder written by `octo_ros export`; default: the shipped policy of the cell",
        None,
    ),
    "command_mode": ("joint_trajectory", "message the safe command goes out as", FOLLOWED),
    "task": ("", "all, a verb such as lift, or an instruction; empty: as in sim_config", None),
    "seed": ("", "of the first episode; empty: as in sim_config", None),
    "real_time_factor": ("", "simulated seconds in a real one; empty: as in sim_config", None),
    "episode_s": ("", "simulated time until an episode has failed [s]; empty: as in sim_config", None),
    "publish_clock": ("true", "the cell is the clock of all; false: the system's clock", None),
    "begin": ("true", "begin the first episode; false: by /sim_cell_node/reset", None),
    "sim_config": (
        os.path.join(SHARE, "config", "sim.yaml"),
        "parameter file of the cell, and of both nodes over config",
        None,
    ),
}

OF_THE_CELL = {"task": str, "seed": int, "real_time_factor": float, "episode_s": float}
"""Arguments that are parameters of the cell where they are given, with their types."""


def cell(context):
    """The cell's node."""
    given = {
        name: ParameterValue(LaunchConfiguration(name), value_type=kind)
        for name, kind in OF_THE_CELL.items()
        if LaunchConfiguration(name).perform(context)
    }
    return [
        Node(
            package="octo_ros",
            executable="sim_cell_node",
            name="sim_cell_node",
            output="screen",
            parameters=[
                LaunchConfiguration("sim_config"),
                {
                    "robot": LaunchConfiguration("robot"),
                    "command_mode": LaunchConfiguration("command_mode"),
                    "publish_clock": ParameterValue(LaunchConfiguration("publish_clock"), value_type=bool),
                    **given,
                },
            ],
            on_exit=end_all,
        )
    ]


def end_all(_, context):
    """What follows the cell's end, unless that is part of everything's end."""
    return None if context.is_shutdown else [Shutdown(reason="the simulated cell has ended")]


def policy_is_active(event):
    """Whether an event is the policy's becoming active."""
    return (
        isinstance(event, StateTransition)
        and event.action.node_name == "/policy_node"
        and event.goal_state == "active"
    )


def generate_launch_description():
    """The launch description."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=meaning, choices=choices)
        for name, (default, meaning, choices) in ARGUMENTS.items()
    ]
    begin = OnStateTransition(
        matcher=policy_is_active,
        entities=[
            ExecuteProcess(
                cmd=["ros2", "service", "call", "/sim_cell_node/reset", "std_srvs/srv/Trigger"],
                output="screen",
            )
        ],
        handle_once=True,
    )
    nodes = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(os.path.join(SHARE, "launch", "octo.launch.py")),
        launch_arguments={
            **{name: LaunchConfiguration(name) for name in ("robot", "bundle", "command_mode")},
            "overlay": LaunchConfiguration("sim_config"),
            "use_sim_time": LaunchConfiguration("publish_clock"),
            "simulate_joints": "false",
            "instruction": "",  # the words are the cell's
        }.items(),
    )
    return LaunchDescription(
        [
            *arguments,
            OpaqueFunction(function=cell),
            RegisterEventHandler(begin, condition=IfCondition(LaunchConfiguration("begin"))),
            nodes,
        ]
    )
