"""The simulated cell: an arm on a table with cubes, driven by joint positions, seen by two cameras.

Needs the Python packages robosuite 1.5 and mujoco 3; no ROS. Everything it says is in the base frame
of the arm's URDF (`octo_safety`'s workspace frame), whose origin lies on the table's top.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np

from octo_ros.errors import ParameterError
from octo_ros.resources import robot_urdf
from octo_ros.safety.robot import Robot
from octo_ros.sim.arms import arm_model
from octo_ros.sim.layout import scattered
from octo_ros.sim.state import CellState, Cube
from octo_ros.sim.tasks import COLORS
from octo_ros.types import NANOSECONDS

Snapshot = Any
"""A copy of MuJoCo's data, which `Cameras.images` renders."""

CAMERAS = ("primary", "wrist")
"""Names of the cameras."""

CONTROL_S = 0.01
"""Time that one command covers [s]."""

GRIPPER_SPEED = 2.5
"""Share of its way that the gripper's command moves in a second [1/s]."""

START_NOISE = 0.06
"""Furthest that each joint starts from home [rad]."""


class Cell:
    """One arm, one gripper, a cube of each colour, and a clock that `advance` moves.

    Args:
        robot: "panda" or "ur5e"; joint names, limits, home and tip are those of its URDF in urdf/.
        primary: side of the primary camera's picture [pixel].
        wrist: side of the wrist camera's picture [pixel].
        start_noise: furthest that each joint starts from home [rad].

    Attributes:
        robot: the URDF's, with its workspace.
        arm: what robosuite has for it.

    Raises:
        ParameterError: an unknown robot, or a size or noise out of range.
        ModuleNotFoundError: robosuite is not installed.
    """

    def __init__(
        self, robot: str = "panda", *, primary: int = 256, wrist: int = 128, start_noise: float = START_NOISE
    ) -> None:
        self.arm = arm_model(robot)
        for name, size in (("primary", primary), ("wrist", wrist)):
            if not 16 <= size <= 2048:
                raise ParameterError(f"cell: {name}: expected a picture of 16 to 2048 pixels, got {size}")
        if not 0.0 <= start_noise <= 0.3:
            raise ParameterError(f"cell: start_noise: expected 0 to 0.3 rad, got {start_noise}")
        from octo_ros.sim.scene import Scene

        self.robot = Robot.from_file(robot_urdf(robot))
        self._start_noise, self._sizes = start_noise, {"primary": primary, "wrist": wrist}
        self._scene = Scene(self.arm, self.robot.starting_joints(), COLORS)
        self._model, self._data = self._scene.sim.model._model, self._scene.sim.data._data
        self._cameras = None
        self._find()
        self.reset(0)

    def reset(self, seed: int) -> CellState:
        """Begins an episode: cubes scattered, joints near home, gripper open, all by `seed`; time 0."""
        random = np.random.default_rng(seed)
        self._scene.reset()
        noise = random.uniform(-self._start_noise, self._start_noise, len(self.robot.joint_names))
        self._data.qpos[self._joints] = self.robot.starting_joints() + noise
        for color, cube in scattered(COLORS, random).items():
            self.place(color, cube)
        self._data.qvel[:] = 0.0
        self._commanded = self._data.qpos[self._joints].copy()
        self._steps, self._opening, self._grip = 0, 1.0, 1.0
        for _ in range(round(0.5 / CONTROL_S)):  # the gripper opens and the cubes come to rest
            self._step()
        return self.state()

    def place(self, color: str, cube: Cube) -> None:
        """Puts a cube somewhere, at rest."""
        address = self._cube_joints[color]
        turn = [math.cos(cube.yaw / 2.0), 0.0, 0.0, math.sin(cube.yaw / 2.0)]
        self._data.joint(address).qpos[:] = [*(self._base_position + self._base @ cube.position), *turn]
        self._data.joint(address).qvel[:] = 0.0
        self._forward()

    def put_joints(self, joints: np.ndarray) -> CellState:
        """Puts the arm at `joints` (n,) at once [rad]; for tests, no robot does that."""
        self._data.qpos[self._joints] = self._commanded = np.array(joints, dtype=np.float64)
        self._data.qvel[:] = 0.0
        self._forward()
        return self.state()

    def advance(self, joints: np.ndarray | None, opening: float | None) -> None:
        """Goes on by `CONTROL_S`.

        Args:
            joints: (n,) commanded positions [rad], None to keep the last.
            opening: commanded opening of the gripper in [0, 1], None to keep the last.

        Raises:
            ParameterError: another number of joints, or a value that is not finite.
        """
        if joints is not None:
            joints = np.asarray(joints, dtype=np.float64)
            if joints.shape != self._commanded.shape or not np.isfinite(joints).all():
                raise ParameterError(
                    f"cell: joints: expected {len(self._commanded)} finite positions, got {joints}"
                )
            self._commanded = joints.copy()
        if opening is not None:
            if not math.isfinite(opening):
                raise ParameterError(f"cell: opening: expected a value in [0, 1], got {opening}")
            self._opening = min(max(float(opening), 0.0), 1.0)
        self._step()
        self._steps += 1

    @property
    def time_ns(self) -> int:
        """Simulated time since the last reset [ns]."""
        return round(self._steps * CONTROL_S * NANOSECONDS)

    def state(self) -> CellState:
        """What is true now."""
        position, rotation = self._tool_pose()
        one, other = (self._data.geom(pad).xpos for pad in self.arm.pads)
        opening = (math.dist(one, other) - self.arm.closed_m) / (self.arm.open_m - self.arm.closed_m)
        fingers = rotation[:, 1]
        return CellState(
            time_ns=self.time_ns,
            joints=self._data.qpos[self._joints].copy(),
            joint_velocities=self._data.qvel[self._velocities].copy(),
            tool_position=position,
            tool_rotation=rotation,
            grasp_position=position + self.arm.grasp_m * rotation[:, 2],
            finger_yaw=math.atan2(fingers[1], fingers[0]),
            opening=float(min(max(opening, 0.0), 1.0)),
            cubes={color: self._cube(color) for color in COLORS},
        )

    def images(self) -> dict[str, np.ndarray]:
        """Upright RGB pictures of "primary" and "wrist", (size, size, 3) uint8.

        Raises:
            ParameterError: there is no way to render here.
        """
        return self.cameras.images(self._data)

    def snapshot(self) -> Snapshot:
        """A copy of the present, for `cameras` in another thread to render while this one goes on."""
        return copy.copy(self._data)

    @property
    def cameras(self):
        """The `Cameras`, made when first asked for and used by that thread alone.

        ParameterError where they cannot render.
        """
        if self._cameras is None:
            from octo_ros.sim.cameras import Cameras, CameraView
            from octo_ros.sim.scene import PRIMARY, WRIST

            names = dict(zip(CAMERAS, (PRIMARY, WRIST), strict=True))
            self._cameras = Cameras(
                self._model, {name: CameraView(names[name], size) for name, size in self._sizes.items()}
            )
        return self._cameras

    def close(self) -> None:
        """Frees what renders."""
        if self._cameras is not None:
            self._cameras.close()
            self._cameras = None

    def _find(self) -> None:
        """Where in the model's arrays the arm's joints, the cubes and the base are."""
        self._servo = self._scene.servo()
        self._joints, self._velocities = self._servo.positions, self._servo.velocities
        self._cube_joints = {color: cube.joints[0] for color, cube in self._scene.cubes.items()}
        base = self._data.body("robot0_base")
        self._base_position, self._base = base.xpos.copy(), base.xmat.reshape(3, 3).copy()
        cos, sin = math.cos(self.arm.tip_yaw), math.sin(self.arm.tip_yaw)
        self._tip = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])

    def _step(self) -> None:
        """One command; the gripper's moves at a gripper's speed."""
        most = GRIPPER_SPEED * CONTROL_S
        self._grip += min(max(self._opening - self._grip, -most), most)
        closed, opened = np.array(self.arm.closed_action), np.array(self.arm.open_action)
        self._scene.follow(self._servo, self._commanded, closed + self._grip * (opened - closed))

    def _forward(self) -> None:
        self._scene.sim.forward()

    def _tool_pose(self) -> tuple[np.ndarray, np.ndarray]:
        """Position (3,) [m] and rotation (3, 3) of the URDF's tip in the base frame."""
        hand = self._data.body("robot0_right_hand")
        rotation = self._base.T @ hand.xmat.reshape(3, 3) @ self._tip
        position = self._base.T @ (hand.xpos - self._base_position) + self.arm.tip_m * rotation[:, 2]
        return position, rotation

    def _cube(self, color: str) -> Cube:
        values = self._data.joint(self._cube_joints[color]).qpos
        w, x, y, z = values[3:7]
        yaw = math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
        return Cube(self._base.T @ (values[:3] - self._base_position), yaw)
