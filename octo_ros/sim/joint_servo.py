"""The arm's joint servo in the simulated cell, at every step of the physics.

The law is that of robosuite's joint position controller: computed torque about the commanded joints.
robosuite's own also prepares, at each of 500 steps a second, what other controllers need, which took two
thirds of an episode's time; test/test_sim_cell.py compares the two.
"""

from __future__ import annotations

import mujoco
import numpy as np

STIFFNESS = 2500.0
"""Of each joint about its command [1/s^2]; critically damped, so it lags by 2 / sqrt of it: 40 ms."""

DAMPING = 2.0 * STIFFNESS**0.5
"""[1/s]"""


class JointServo:
    """Moves an arm and its gripper as commanded.

    Args:
        model, data: MuJoCo's.
        joints: names of the arm's joints, in their order.
        motors: names of their actuators, which take torques.
        gripper: names of the gripper's actuators, which take positions.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        data: mujoco.MjData,
        joints: list[str],
        motors: list[str],
        gripper: list[str],
    ) -> None:
        self._model, self._data = model, data
        self.positions = np.array([model.joint(name).qposadr[0] for name in joints])
        self.velocities = np.array([model.joint(name).dofadr[0] for name in joints])
        self._motors = np.array([model.actuator(name).id for name in motors])
        self._gripper = np.array([model.actuator(name).id for name in gripper])
        self._inertia = np.empty((model.nv, model.nv))
        self._arm = np.ix_(self.velocities, self.velocities)
        self._least, self._most = model.actuator_ctrlrange[self._motors].T
        low, high = model.actuator_ctrlrange[self._gripper].T
        self._middle, self._half = (high + low) / 2.0, (high - low) / 2.0

    def run(self, joints: np.ndarray, gripper: np.ndarray, steps: int) -> None:
        """Goes on by that many steps of the physics.

        Args:
            joints: (n,) commanded positions [rad].
            gripper: (g,) commands of the gripper's actuators, -1 to 1 over their ranges.
        """
        model, data = self._model, self._data
        data.ctrl[self._gripper] = self._middle + self._half * gripper
        for _ in range(steps):
            mujoco.mj_step1(model, data)
            error = joints - data.qpos[self.positions]
            acceleration = STIFFNESS * error - DAMPING * data.qvel[self.velocities]
            mujoco.mj_fullM(model, self._inertia, data.qM)
            torques = self._inertia[self._arm] @ acceleration + data.qfrc_bias[self.velocities]
            data.ctrl[self._motors] = np.clip(torques, self._least, self._most)
            mujoco.mj_step2(model, data)
