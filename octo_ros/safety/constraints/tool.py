"""The speed of the tool."""

from __future__ import annotations

import numpy as np

from octo_ros.safety.constraints.base import SLACK, Constraint, fraction_within
from octo_ros.safety.decision import Refusal
from octo_ros.safety.motion import Motion, Sampling
from octo_ros.safety.options import FilterOptions


class ToolSpeed(Constraint):
    """Speed and rotation speed of the tip at every instant of the motion, and while it brakes after it.

    Speeds are means over pieces. Within a piece the speed departs from its mean by half of what
    it changes to the next piece, and by what that change itself changes, which the joints'
    speeds bound: the third derivative of a chain's tip has one more turning speed as a factor than
    the second (see `Motion.bend`).
    """

    def __init__(self, options: FilterOptions) -> None:
        self.speed = options.max_tool_speed
        self.rotation_speed = options.max_tool_rotation_speed

    def allow(self, motion: Motion) -> tuple[float, Refusal | None]:
        path = motion.tool_path(Sampling.COARSE)
        speeds, rotation_speeds = path.speeds()
        bend, turn = motion.bend
        squared = 0.5 * motion.turning * path.times * path.times
        answers = []
        for name, speed, change, bound, unit in (
            ("tool speed", speeds, bend, self.speed, "m/s"),
            ("tool rotation speed", rotation_speeds, turn, self.rotation_speed, "rad/s"),
        ):
            slope = np.zeros(len(speed))
            slope[1:] = np.abs(speed[1:] - speed[:-1]) / (path.times[1:] + path.times[:-1])
            slope[:-1] = np.maximum(slope[:-1], slope[1:])
            worst = float(((speed + slope * path.times + change * squared) * path.shares).max())
            answers.append((fraction_within(bound * (1.0 - SLACK), worst), Refusal(name, worst, bound, unit)))
        fraction, refusal = min(answers, key=lambda answer: answer[0])
        return (1.0, None) if fraction == 1.0 else (fraction, refusal)
