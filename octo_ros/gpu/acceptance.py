"""How far a precision's actions are from float32's, in metres and degrees, and how far they may be.

An error of tensors says little of a robot's motion: both sides' actions are un-normalized first, as a
robot is given them, each action of a chunk a step of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from transforms3d.euler import euler2mat

from octo_ros.engine.backend import Backend
from octo_ros.engine.network import make_network
from octo_ros.errors import BundleError, ParameterError
from octo_ros.gpu.calibration import Calibration, run_steps
from octo_ros.policy.normalization import ActionStatistics, unnormalize
from octo_ros.policy.options import ActOptions


@dataclass(frozen=True)
class Limits:
    """Largest error accepted.

    Attributes:
        p99_m: 99th percentile of the translation error [m].
        p99_deg: 99th percentile of the rotation error [degree].
    """

    p99_m: float = 0.001
    p99_deg: float = 0.2

    def __post_init__(self) -> None:
        """Raises ParameterError for a limit that is no positive number."""
        for name, unit in (("p99_m", "m"), ("p99_deg", "degrees")):
            value = getattr(self, name)
            if not 0.0 < value < math.inf:
                raise ParameterError(f"{name}: expected a positive number of {unit}, got {value}")


@dataclass(frozen=True)
class Spread:
    """Median, 99th percentile and largest of an error; NaN where an answer was not finite."""

    p50: float
    p99: float
    max: float


@dataclass(frozen=True)
class ActionError:
    """How far a candidate's actions are from the reference's.

    Attributes:
        actions: that were compared, a horizon of them each step.
        translation_m: length of the difference of the translations [m].
        rotation_rad: angle between the rotations [rad].
        gripper_agreement: share of actions with the gripper on the same side of 0.5.
    """

    actions: int
    translation_m: Spread
    rotation_rad: Spread
    gripper_agreement: float

    def check(self, limits: Limits) -> None:
        """Raises BundleError where a percentile is beyond its limit or is no number."""
        measured = (
            ("translation", self.translation_m.p99 * 1e3, limits.p99_m * 1e3, "mm"),
            ("rotation", math.degrees(self.rotation_rad.p99), limits.p99_deg, "degrees"),
        )
        failed = [
            f"{name} {value:.3g} {unit}, allowed {allowed:.3g}"
            for name, value, allowed, unit in measured
            if not value <= allowed
        ]
        if failed:
            raise BundleError(
                f"action error against float32, p99 of {self.actions} actions: {'; '.join(failed)}"
            )

    def to_dict(self) -> dict[str, float]:
        """For a manifest or engine.json: plain numbers in metres and degrees."""
        found: dict[str, float] = {"actions": self.actions, "gripper_agreement": self.gripper_agreement}
        for name in ("p50", "p99", "max"):
            found[f"translation_{name}_m"] = getattr(self.translation_m, name)
            found[f"rotation_{name}_deg"] = math.degrees(getattr(self.rotation_rad, name))
        return found

    def __str__(self) -> str:
        move, turn = self.translation_m, self.rotation_rad
        return (
            f"translation p50 {move.p50 * 1e3:.3g}, p99 {move.p99 * 1e3:.3g}, max {move.max * 1e3:.3g} mm; "
            f"rotation p50 {math.degrees(turn.p50):.3g}, p99 {math.degrees(turn.p99):.3g}, "
            f"max {math.degrees(turn.max):.3g} degrees; gripper alike in {self.gripper_agreement:.2%}"
        )


def action_error(
    reference: Backend,
    candidate: Backend,
    steps: Calibration,
    statistics: ActionStatistics,
    normalization: str = "mean_std",
) -> ActionError:
    """Runs both over the same steps with the same noise, and compares un-normalized actions.

    Args:
        reference: of the float32 bundle.
        candidate: of the same bundle in another precision; each keeps its own history and task.
        steps: what they are given.
        statistics: that scale the actions, (7,) each.
        normalization: as the checkpoint was trained, "mean_std" or "bounds".

    Raises:
        BundleError: a graph that cannot be run, or actions that are not seven values.
    """
    expected, got = (
        unnormalize(_actions(backend, steps), statistics, normalization) for backend in (reference, candidate)
    )
    return compare_actions(expected, got)


def compare_actions(expected: np.ndarray, got: np.ndarray) -> ActionError:
    """Compares actions in metres and radians, (n, 7) float64 each, axes as `ACTION_AXES`."""
    moved = np.linalg.norm(expected[:, :3] - got[:, :3], axis=-1)
    turned = rotation_angles(expected[:, 3:6], got[:, 3:6])
    threshold = ActOptions.gripper_threshold
    alike = (expected[:, 6] > threshold) == (got[:, 6] > threshold)
    return ActionError(len(expected), _spread(moved), _spread(turned), float(alike.mean()))


def rotation_angles(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n,) angle between two rotations of roll, pitch, yaw about fixed axes, (n, 3) [rad] each.

    From the length of the matrices' difference, |R - S| = 2 sqrt(2) sin(angle / 2), which unlike the
    cosine in their product's trace does not lose small angles.
    """
    matrices = [np.array([euler2mat(*angles, axes="sxyz") for angles in side]) for side in (first, second)]
    length = np.linalg.norm(matrices[0] - matrices[1], axis=(-2, -1))
    return 2.0 * np.arcsin(np.minimum(length / (2.0 * math.sqrt(2.0)), 1.0))


def _actions(backend: Backend, steps: Calibration) -> np.ndarray:
    """(steps * horizon, 7) normalized actions."""
    network = make_network(backend)
    actions = np.concatenate([answer["actions"][0] for answer in run_steps(network, steps)])
    if actions.shape[-1] != 7:
        raise BundleError(f"{backend.directory}: expected actions of 7 values, got {actions.shape[-1]}")
    return actions


def _spread(errors: np.ndarray) -> Spread:
    return Spread(*(float(np.percentile(errors, share)) for share in (50, 99, 100)))
