"""Where the cubes lie when an episode begins: apart, within the arm's reach, before the camera."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from octo_ros.sim.state import RESTING_M, Cube

REGION = ((0.40, -0.17), (0.58, 0.17))
"""Nearest and furthest corner of the place for the cubes' centres, x and y in the base frame [m]."""

APART_M = 0.11
"""Least distance of two cubes' centres: an open gripper fits between them [m]."""

TURN = 0.6
"""Furthest that a cube is turned either way [rad], short of the eighth turn at which its sides change."""


def scattered(colors: Sequence[str], random: np.random.Generator) -> dict[str, Cube]:
    """Places and turns for cubes of these colours, drawn until none is closer than `APART_M`."""
    low, high = REGION
    while True:
        places = random.uniform(low, high, size=(len(colors), 2))
        gaps = np.linalg.norm(places[:, None] - places[None], axis=2)
        if (gaps[np.triu_indices(len(colors), k=1)] >= APART_M).all():
            break
    turns = random.uniform(-TURN, TURN, size=len(colors))
    return {
        color: Cube(np.array([*place, RESTING_M]), float(turn))
        for color, place, turn in zip(colors, places, turns, strict=True)
    }
