"""Starts policy_node and safety_filter_node and takes both to active.

    ros2 launch octo_ros octo.launch.py robot:=fr3 bundle:=/path/to/bundle instruction:="pick up the spoon"

The safety filter is activated first. A node that cannot be configured stays unconfigured and
says why; correct it and configure it by `ros2 lifecycle set`.
"""

import os

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, EmitEvent, OpaqueFunction, RegisterEventHandler
from launch.conditions import IfCondition
from launch.event_handlers import OnProcessStart
from launch.events import matches_action
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from launch_ros.parameter_descriptions import ParameterValue
from lifecycle_msgs.msg import Transition

from launch import LaunchDescription

ROBOTS = ("fr3", "panda", "ur5e")
SHARE = get_package_share_directory("octo_ros")

COMMANDS = {
    "joint_trajectory": "octo/joint_trajectory",
    "joint_position": "octo/joint_position_command",
    "pose": "octo/pose_command",
    "twist": "octo/twist_command",
}
"""Command mode to the topic its commands go to."""

TOPICS = {
    "primary": "camera/primary/image_raw",
    "wrist": "camera/wrist/image_raw",
    "goal": "octo/goal_image",
    "instruction_topic": "octo/instruction",
    "joint_states": "joint_states",
}
"""Launch argument to the topic that it renames; command_topic renames the command mode's."""

ARGUMENTS = {  # name: (default, meaning, choices)
    "robot": ("fr3", "arm: its URDF and its parameters", ROBOTS),
    "bundle": (None, "folder written by `octo_ros export`", None),
    "dataset": ("", "data set whose statistics scale actions; empty: the bundle's default", None),
    "instruction": ("", "instruction at the start; the topic octo/instruction replaces it", None),
    "command_mode": ("joint_trajectory", "message the safe command goes out as", tuple(COMMANDS)),
    "command_topic": ("", "topic of the controller; empty: octo/...", None),
    "cameras": ("['']", "cameras this robot has, such as [primary]; [''] for all of the bundle's", None),
    "backend": ("onnxruntime", "what runs the bundle's graphs", None),
    "precision": ("", "of a GPU's engine: fp32, fp16 or int8", None),
    "engine": ("", "folder that `octo_ros build` wrote; empty: this GPU's engine in the cache", None),
    "mask_language": ("false", "run a bundle without a tokenizer, words masked", None),
    "use_sim_time": ("false", "take the time from /clock", None),
    "simulate_joints": ("false", "simulate the arm's joint states", None),
    "autostart": ("true", "configure and activate both nodes", None),
    "config": ("", "parameter file; empty: config/<robot>.yaml", None),
    "overlay": ("", "second parameter file, whose values replace those of config", None),
    "urdf": ("", "URDF file; empty: urdf/<robot>.urdf", None),
    **{name: ("", f"topic in place of {topic}", None) for name, topic in TOPICS.items()},
}


def text(name):
    """A launch argument as a text parameter, even where it looks like a number."""
    return ParameterValue(LaunchConfiguration(name), value_type=str)


def remappings(context):
    """The topics that launch arguments rename; of a camera both transports."""
    mode = LaunchConfiguration("command_mode").perform(context)
    topics = {**TOPICS, "command_topic": COMMANDS[mode]}
    renamed = {topic: LaunchConfiguration(name).perform(context) for name, topic in topics.items()}
    return [
        (topic + suffix, new + suffix)
        for topic, new in renamed.items()
        for suffix in ("", "/compressed")
        if new
    ]


def nodes(context):
    """The nodes, and their way to active."""
    robot = LaunchConfiguration("robot").perform(context)
    config = LaunchConfiguration("config").perform(context) or os.path.join(SHARE, "config", f"{robot}.yaml")
    overlay = LaunchConfiguration("overlay").perform(context)
    files = [config, overlay] if overlay else [config]
    urdf = LaunchConfiguration("urdf").perform(context) or os.path.join(SHARE, "urdf", f"{robot}.urdf")
    clock = {"use_sim_time": ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool)}
    common = {**clock, "bundle": text("bundle"), "dataset": text("dataset")}
    arm = {"urdf_file": urdf, "command_mode": text("command_mode")}
    renamed = remappings(context)
    safety = managed("safety_filter_node", files, {**common, **arm}, renamed)
    policy = managed(
        "policy_node",
        files,
        {
            **common,
            "instruction": text("instruction"),
            **{name: text(name) for name in ("backend", "precision", "engine")},
            "cameras": ParameterValue(LaunchConfiguration("cameras")),
            "mask_language": ParameterValue(LaunchConfiguration("mask_language"), value_type=bool),
        },
        renamed,
    )
    simulator = Node(
        package="octo_ros",
        executable="joint_state_simulator",
        name="joint_state_simulator",
        output="screen",
        parameters=[*files, {**clock, **arm}],
        remappings=renamed,
        condition=IfCondition(LaunchConfiguration("simulate_joints")),
    )
    return [simulator, *started(safety), *started(policy), safety, policy]


def managed(name, files, parameters, renamed):
    """A lifecycle node of this package."""
    return LifecycleNode(
        package="octo_ros",
        executable=name,
        name=name,
        namespace="",
        output="screen",
        parameters=[*files, parameters],
        remappings=renamed,
    )


def started(node):
    """Configures a node once its process runs, and activates it once it is configured."""
    this = matches_action(node)

    def change(transition):
        return EmitEvent(event=ChangeState(lifecycle_node_matcher=this, transition_id=transition))

    configure = OnProcessStart(target_action=node, on_start=[change(Transition.TRANSITION_CONFIGURE)])
    activate = OnStateTransition(
        target_lifecycle_node=node,
        start_state="configuring",
        goal_state="inactive",
        entities=[change(Transition.TRANSITION_ACTIVATE)],
    )
    wanted = IfCondition(LaunchConfiguration("autostart"))
    return [RegisterEventHandler(handler, condition=wanted) for handler in (configure, activate)]


def generate_launch_description():
    """The launch description."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=meaning, choices=choices)
        for name, (default, meaning, choices) in ARGUMENTS.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=nodes)])
