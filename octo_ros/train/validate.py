"""How far the model's actions are from the recorded ones, in metres, radians and the gripper's share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from octo_ros.model.heads import Actions
from octo_ros.model.inputs import NOISE_GUMBEL, NOISE_STEPS
from octo_ros.policy.normalization import Statistics, unnormalize
from octo_ros.train.batches import Batches
from octo_ros.train.device import moved
from octo_ros.train.objective import Objective
from octo_ros.types import ACTION_AXES

NOISE_SEED = 0


@dataclass(frozen=True)
class ActionErrors:
    """Mean absolute errors, by axis.

    Attributes:
        first: of the action to be executed next.
        chunk: of all actions of the chunk.
        samples: how many were looked at.
    """

    first: dict[str, float]
    chunk: dict[str, float]
    samples: int


def action_errors(
    objective: Objective, batches: Batches, statistics: Statistics, samples: int, device: torch.device
) -> ActionErrors:
    """Lets the model act on samples spread evenly over the episodes, each with noise of its own.

    Args:
        objective: with the weights to look at.
        batches: of the episodes to look at.
        statistics: of the actions.
        samples: how many, at most.
        device: of the weights.
    """
    places = np.unique(np.linspace(0, len(batches) - 1, min(samples, len(batches))).astype(int))
    said, true = [], []
    for start in range(0, len(places), batches.size):
        some = places[start : start + batches.size].tolist()
        said.append(sample_actions(objective, batches, some, NOISE_SEED + start, device))
        true.append(batches.true_actions(some))
    errors = np.abs(unnormalize(np.concatenate(said), statistics) - np.concatenate(true))
    return ActionErrors(_by_axis(errors[:, :1]), _by_axis(errors), len(places))


@torch.no_grad()
def sample_actions(
    objective: Objective, batches: Batches, places: Sequence[int], seed: int, device: torch.device
) -> np.ndarray:
    """Normalized chunks for some samples, (B, horizon, 7) float32."""
    inputs = moved(batches.plain(places).inputs, device)
    head, window = objective.model.head, objective.model.inputs.window
    noise = head_noise(head, window, len(places), np.random.default_rng(seed))
    with device:
        return head(objective.readout(inputs), **moved(noise, device)).float().cpu().numpy()


def head_noise(head: Actions, window: int, batch: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Noise for a batch by the names of a head's arguments; zeros for bins, which gives the likeliest."""
    noise = {}
    for name, shape in head.noise_shapes(window).items():
        axis = 1 if name == NOISE_STEPS else 0
        shape = (*shape[:axis], batch, *shape[axis + 1 :])
        drawn = rng.standard_normal(shape, dtype=np.float32)
        noise[name] = np.zeros_like(drawn) if name == NOISE_GUMBEL else drawn
    return noise


def _by_axis(errors: np.ndarray) -> dict[str, float]:
    return dict(zip(ACTION_AXES, errors.mean(axis=(0, 1)).tolist(), strict=True))
