"""The cell's models and physics: a robosuite environment with one arm on a table, cubes, and two cameras.

The only module that imports robosuite. Its world has the arm's base frame at the table's top.
"""

from __future__ import annotations

import logging
import warnings
from collections import OrderedDict
from typing import Any

import numpy as np

from octo_ros.sim.arms import ArmModel
from octo_ros.sim.rendering import choose_backend
from octo_ros.sim.state import CUBE_M


class _Quiet(logging.Filter):
    """Keeps robosuite's remarks on every start, about optional extras and files it loads, to itself."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.ERROR


logging.getLogger("robosuite_logs").addFilter(_Quiet())
choose_backend()

with warnings.catch_warnings():
    warnings.simplefilter("ignore", SyntaxWarning)  # of the text of robosuite's own modules
    import mujoco
    from robosuite.controllers import load_composite_controller_config
    from robosuite.environments.manipulation.manipulation_env import ManipulationEnv
    from robosuite.models.arenas import TableArena
    from robosuite.models.objects import BoxObject
    from robosuite.models.tasks import ManipulationTask
    from robosuite.utils.mjcf_utils import array_to_string, find_elements, new_element

    from octo_ros.sim.joint_servo import STIFFNESS, JointServo

CONTROL_HZ = 100
"""Commands a second that the arm takes [Hz]."""

TABLE_M = (1.1, 1.2, 0.05)
"""Length, width and thickness of the table [m]."""

TABLE_HEIGHT_M = 0.8
BASE_X_M = -0.40
"""Where the arm stands: height of the table's top, and place along its length, from its middle [m]."""

COLORS = {"red": (0.85, 0.08, 0.08, 1.0), "green": (0.08, 0.60, 0.15, 1.0), "blue": (0.10, 0.20, 0.85, 1.0)}

PRIMARY, WRIST = "primary", "robot0_eye_in_hand"
"""robosuite's names of the two cameras."""

PRIMARY_AT, PRIMARY_TO = (1.12, -0.38, 0.55), (0.42, 0.01, 0.12)
"""Where the primary camera is and what it looks at, base frame [m]."""

PRIMARY_FOV_DEG = 42.0
"""Its vertical field of view [degree]."""


class Scene(ManipulationEnv):
    """One arm on a table; the arm takes absolute joint positions at `CONTROL_HZ`.

    Args:
        arm: which.
        home: (n,) joints at which its kinematics are set up [rad].
        colors: of the cubes.
    """

    def __init__(self, arm: ArmModel, home: np.ndarray, colors: tuple[str, ...]) -> None:
        self._arm, self._home, self._colors = arm, home, colors
        super().__init__(
            robots=arm.model,
            base_types="NullMount",
            gripper_types="default",
            controller_configs=_controller(arm),
            initialization_noise=None,
            use_camera_obs=False,
            has_renderer=False,
            has_offscreen_renderer=False,  # the cell renders by itself, upright and when it wants to
            renderer="mujoco",
            control_freq=CONTROL_HZ,
            ignore_done=True,
            hard_reset=False,
        )

    def servo(self) -> JointServo:
        """What moves the arm and its gripper."""
        robot = self.robots[0]
        return JointServo(
            self.sim.model._model,
            self.sim.data._data,
            robot.robot_model.arm_joints,
            robot.robot_model.arm_actuators,
            robot.gripper["right"].actuators,
        )

    def follow(self, servo: JointServo, joints: np.ndarray, gripper: np.ndarray) -> None:
        """Goes on by one command, see `JointServo.run`; then every pose, not only every joint, is new."""
        servo.run(joints, gripper, round(self.control_timestep / self.model_timestep))
        mujoco.mj_kinematics(self.sim.model._model, self.sim.data._data)
        mujoco.mj_camlight(self.sim.model._model, self.sim.data._data)

    def reward(self, action: Any = None) -> float:
        """None: the tasks judge by the state."""
        return 0.0

    def _load_model(self) -> None:
        super()._load_model()
        robot = self.robots[0]
        robot.init_qpos = self._home
        robot.robot_model.set_base_xpos(np.array([BASE_X_M, 0.0, TABLE_HEIGHT_M]))
        self._move_bodies(robot.robot_model.worldbody)
        for one, other in self._arm.touching:
            robot.robot_model.contact.append(
                new_element(tag="exclude", name=f"{one}_{other}", body1=one, body2=other)
            )
        arena = TableArena(table_full_size=TABLE_M, table_offset=(0.0, 0.0, TABLE_HEIGHT_M))
        arena.set_origin([0, 0, 0])
        base = np.array([BASE_X_M, 0.0, TABLE_HEIGHT_M])
        arena.set_camera(
            PRIMARY,
            pos=base + PRIMARY_AT,
            quat=_looking(np.array(PRIMARY_AT), np.array(PRIMARY_TO)),
            camera_attribs={"fovy": str(PRIMARY_FOV_DEG)},
        )
        half = [CUBE_M / 2.0] * 3
        self.cubes = {
            color: BoxObject(name=f"{color}_cube", size=half, rgba=COLORS[color], density=500.0)
            for color in self._colors
        }
        self.model = ManipulationTask(
            mujoco_arena=arena, mujoco_robots=[robot.robot_model], mujoco_objects=list(self.cubes.values())
        )

    def _move_bodies(self, root: Any) -> None:
        """Puts the arm's links where its URDF has them, and the wrist camera where it sees."""
        for attribute, table in (("pos", self._arm.body_positions), ("quat", self._arm.body_quaternions)):
            for name, values in table.items():
                body = find_elements(root, tags="body", attribs={"name": name}, return_first=True)
                body.set(attribute, array_to_string(np.array(values)))
        camera = find_elements(root, tags="camera", attribs={"name": WRIST}, return_first=True)
        camera.set("pos", array_to_string(np.array(self._arm.wrist_camera)))

    def _setup_observables(self) -> OrderedDict:
        """None: the cell reads the state itself, when it is asked for."""
        return OrderedDict()


def _controller(arm: ArmModel) -> dict[str, Any]:
    """robosuite's joint position controller, for absolute positions."""
    config = load_composite_controller_config(robot=arm.model)
    config["body_parts"]["right"] = {
        "type": "JOINT_POSITION",
        "input_type": "absolute",
        "kp": STIFFNESS,
        "damping_ratio": 1.0,
        "impedance_mode": "fixed",
        "input_max": 1,
        "input_min": -1,
        "output_max": 1,
        "output_min": -1,
        "interpolation": None,
        "gripper": {"type": "GRIP"},
    }
    return config


def _looking(at: np.ndarray, to: np.ndarray) -> np.ndarray:
    """(4,) w x y z of a camera at a point (3,) that looks to another, its top upward; MuJoCo's axes."""
    from transforms3d.quaternions import mat2quat

    back = (at - to) / np.linalg.norm(at - to)
    right = np.cross([0.0, 0.0, 1.0], back)
    right /= np.linalg.norm(right)
    return mat2quat(np.column_stack((right, np.cross(back, right), back)))
