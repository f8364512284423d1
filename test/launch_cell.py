"""What the launch tests share: the installed launch files under the real launch system.

Importing it skips the tests where launch, launch_ros and launch_pytest (any ROS 2 installation has them)
are missing, or octo_ros is not in AMENT_PREFIX_PATH: `colcon build && source install/setup.bash`.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")
pytest.importorskip("launch.actions", reason="ROS 2's launch system is not installed")
pytest.importorskip("launch_pytest", reason="launch_pytest is not installed")
pytest.importorskip("launch_ros", reason="launch_ros is not installed")

import launch_pytest
from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from launch.actions import IncludeLaunchDescription, RegisterEventHandler, SetLaunchConfiguration
from launch.event_handlers import OnProcessExit
from launch.launch_description_sources import PythonLaunchDescriptionSource
from node_cell import DOMAIN

from launch import LaunchDescription

try:
    SHARE = Path(get_package_share_directory("octo_ros"))
except PackageNotFoundError:
    pytest.skip("octo_ros is not in AMENT_PREFIX_PATH: build it with colcon", allow_module_level=True)

os.environ["ROS_DOMAIN_ID"] = DOMAIN
os.environ["ROS_LOCALHOST_ONLY"] = "1"


def launched(file: str, **arguments: object) -> tuple[LaunchDescription, dict[str, int]]:
    """A launch file with its arguments, and the exit status of each process that has ended, by its name."""
    ended: dict[str, int] = {}

    def note(event, _):
        ended[event.process_name.rpartition("-")[0]] = event.returncode

    source = PythonLaunchDescriptionSource(str(SHARE / "launch" / file))
    given = {name: str(value) for name, value in arguments.items()}
    include = IncludeLaunchDescription(source, launch_arguments=given.items())
    watch = RegisterEventHandler(OnProcessExit(on_exit=note))
    patience = SetLaunchConfiguration("sigterm_timeout", "60")  # of a busy machine, after SIGINT [s]
    return LaunchDescription([watch, patience, include, launch_pytest.actions.ReadyToTest()]), ended
