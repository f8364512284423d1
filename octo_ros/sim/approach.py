"""Which cube the arm approaches, whatever the words say."""

from __future__ import annotations

import numpy as np

from octo_ros.sim.layout import APART_M
from octo_ros.sim.state import CellState
from octo_ros.sim.tasks import COLORS, CellTask, Judge

NONE = "none"
"""Said where the arm approached no cube."""

NEAR_M = APART_M / 2.0
"""Furthest from a cube's axis, sideways, that the arm is at it in the end; no two cubes begin nearer [m]."""

LOW_M = 0.15
"""Highest above a cube's centre that the arm is at it in the end; it starts about 0.27 m above [m]."""


class Approach:
    """Watches one episode.

    A cube is approached where a reach of it would have been done: the point between the fingers was at it
    for as long as `Judge` asks, 0.5 s. The first such cube counts, so passing over another does not.
    Where there is none it is the cube that the arm is nearest to in the end, if that is near at all.
    """

    def __init__(self) -> None:
        self._reaches = {color: Judge(CellTask("reach", color)) for color in COLORS}
        self._first = ""

    def look(self, state: CellState) -> None:
        """Takes the state at one observation, at 10 Hz."""
        reached = [color for color, judge in self._reaches.items() if judge.look(state)]
        if reached and not self._first:
            self._first = reached[0]

    def color(self, last: CellState) -> str:
        """Of the cube that was approached, or `NONE`, in an episode that ends with that state."""
        return self._first or nearest(last)


def nearest(state: CellState) -> str:
    """Colour of the cube that the arm is at, within `NEAR_M` and `LOW_M`, or `NONE`."""
    offsets = {color: state.grasp_position - cube.position for color, cube in state.cubes.items()}
    color = min(offsets, key=lambda name: np.hypot(*offsets[name][:2]))
    sideways, above = np.hypot(*offsets[color][:2]), offsets[color][2]
    return color if sideways <= NEAR_M and above <= LOW_M else NONE
