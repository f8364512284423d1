"""The arms of the simulated cell: which robosuite models they are, and what makes them equal their URDFs.

robosuite's models are rounded to millimetres and end where its grippers begin. `body_positions`
puts their links where the URDFs have them, so that joint positions mean the same tool pose in both;
test/test_sim_cell.py measures what remains.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from octo_ros.errors import ParameterError

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class ArmModel:
    """One arm with its gripper.

    Attributes:
        robot: name of its URDF in `octo_ros.resources`.
        model: name of robosuite's robot; its own gripper is used.
        body_positions: robosuite's body to its place in its parent that the URDF has instead [m].
        body_quaternions: the same for orientations, w x y z.
        tip_yaw: turn about the hand's axis from robosuite's hand to the URDF's tip [rad].
        tip_m: from robosuite's hand, along its axis, to the URDF's tip [m].
        grasp_m: from the URDF's tip, along its z axis, to the point between the fingers [m].
        pads: the two bodies' geometries between which things are held.
        closed_m, open_m: distance of their middles when the gripper is closed on nothing, and open [m].
        wrist_camera: place of the eye in the hand, in robosuite's hand [m].
        touching: bodies whose meshes touch where a joint turns them on each other; they do not collide.
        closed_action, open_action: what robosuite's gripper is asked for, closed and open, one value
            for each finger.
    """

    robot: str
    model: str
    body_positions: Mapping[str, Vector]
    body_quaternions: Mapping[str, tuple[float, float, float, float]]
    tip_yaw: float
    tip_m: float
    grasp_m: float
    pads: tuple[str, str]
    closed_m: float
    open_m: float
    wrist_camera: Vector
    touching: tuple[tuple[str, str], ...]
    closed_action: tuple[float, float]
    open_action: tuple[float, float]


PANDA = ArmModel(
    robot="panda",
    model="Panda",
    body_positions={
        "robot0_right_hand": (0.0, 0.0, 0.107),  # 0.1065 in robosuite
        "gripper0_right_leftfinger": (0.0, 0.0, 0.0584),  # 0.0524: its fingertips end above the tip
        "gripper0_right_rightfinger": (0.0, 0.0, 0.0584),
    },
    body_quaternions={"robot0_right_hand": (0.9238795325, 0.0, 0.0, -0.3826834324)},  # 0.924, -0.383
    tip_yaw=0.0,
    tip_m=0.1034,
    grasp_m=0.0,
    pads=("gripper0_right_finger1_pad_collision", "gripper0_right_finger2_pad_collision"),
    closed_m=0.007,
    open_m=0.085,
    wrist_camera=(0.05, 0.0, 0.0),  # as in robosuite
    touching=(),
    closed_action=(-1.0, 1.0),
    open_action=(1.0, -1.0),
)

UR5E = ArmModel(
    robot="ur5e",
    model="UR5e",
    body_positions={
        "robot0_shoulder_link": (0.0, 0.0, 0.1625),  # 0.163
        "robot0_wrist_1_link": (0.0, 0.0, 0.3922),  # 0.392
        "robot0_wrist_2_link": (0.0, 0.1263, 0.0),  # 0.127: 0.138 - 0.131 + 0.1263 is the URDF's 0.1333
        "robot0_wrist_3_link": (0.0, 0.0, 0.0997),  # 0.1
        "robot0_right_hand": (0.0, 0.0996, 0.0),  # 0.098
    },
    body_quaternions={},
    tip_yaw=0.0,
    tip_m=0.0,
    grasp_m=0.145,  # robosuite's Robotiq 85, from its flange to its grip site
    pads=("gripper0_right_left_fingerpad_collision", "gripper0_right_right_fingerpad_collision"),
    closed_m=0.028,
    open_m=0.110,
    wrist_camera=(0.09, 0.0, 0.02),  # 0.05, 0, 0, from where the gripper's body hides the cube it reaches for
    touching=(("robot0_fixed_base_link", "robot0_shoulder_link"),),
    closed_action=(1.0, 1.0),
    open_action=(-1.0, -1.0),
)

ARMS = {arm.robot: arm for arm in (PANDA, UR5E)}
"""Arms by the name of their URDF."""


def arm_model(robot: str) -> ArmModel:
    """The arm of that name; ParameterError where the cell has none such."""
    if robot not in ARMS:
        raise ParameterError(f"robot: the simulated cell has {', '.join(ARMS)}, got {robot!r}")
    return ARMS[robot]
