"""Runs both nodes on a recorded bag, by the bag's clock, with a simulated arm that follows the commands.

    ros2 launch octo_ros replay.launch.py bundle:=/path/to/bundle primary:=/cam/color/image_raw
    ros2 bag play BAG --clock 100          # or bag:=BAG, which does that

Unlike `octo_ros replay`, which is exact and needs no ROS graph, this runs the real nodes in
real time, so timing differs a little from run to run.
"""

import os

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, ExecuteProcess, IncludeLaunchDescription
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PythonExpression

from launch import LaunchDescription

SHARE = get_package_share_directory("octo_ros")

PASSED_ON = {
    "robot": "fr3",
    "bundle": None,
    "dataset": "",
    "instruction": "",
    "command_mode": "joint_trajectory",
    "cameras": "['']",
    "backend": "onnxruntime",
    "precision": "",
    "engine": "",
    "mask_language": "false",
    "urdf": "",
    "primary": "",
    "wrist": "",
    "goal": "",
    "instruction_topic": "",
    "joint_states": "",
}
"""Arguments that mean what they mean to octo.launch.py, with their defaults."""


def generate_launch_description():
    """The launch description."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description="as octo.launch.py")
        for name, default in PASSED_ON.items()
    ]
    config = DeclareLaunchArgument(
        "config", default_value=os.path.join(SHARE, "config", "replay.yaml"), description="parameter file"
    )
    simulate = DeclareLaunchArgument(
        "simulate_joints", default_value="true", description="false: the bag has joint_states"
    )
    bag = DeclareLaunchArgument("bag", default_value="", description="bag to play; empty: play one yourself")
    nodes = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(os.path.join(SHARE, "launch", "octo.launch.py")),
        launch_arguments={
            **{name: LaunchConfiguration(name) for name in (*PASSED_ON, "config", "simulate_joints")},
            "use_sim_time": "true",
        }.items(),
    )
    player = ExecuteProcess(
        cmd=["ros2", "bag", "play", LaunchConfiguration("bag"), "--clock", "100"],
        output="screen",
        condition=IfCondition(PythonExpression(["'", LaunchConfiguration("bag"), "' != ''"])),
    )
    return LaunchDescription([*arguments, config, simulate, bag, nodes, player])
