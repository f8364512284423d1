"""The parameters of sim_cell_node, and what follows from them."""

from __future__ import annotations

from typing import Any

from octo_ros.errors import ParameterError
from octo_ros.nodes.commands import MODES
from octo_ros.nodes.followed_commands import check_followed
from octo_ros.nodes.parameters import Parameter
from octo_ros.nodes.sim_pictures import Timing
from octo_ros.sim.arms import ARMS
from octo_ros.sim.cell import CAMERAS, CONTROL_S, Cell
from octo_ros.sim.tasks import chosen_tasks

SEEDS = 2**31
"""Number of seeds; after the last comes 0 again."""

OF_THE_NEXT_EPISODE = ("task", "seed")
"""Parameters that may change while the node runs."""

PARAMETERS = (
    Parameter("robot", "panda", "the arm", choices=tuple(ARMS)),
    Parameter("command_mode", "joint_trajectory", "which command topic is followed", choices=tuple(MODES)),
    Parameter("task", "all", "all, a verb, or an instruction; ~/reset goes through them by the seed"),
    Parameter("seed", 0, "of the next episode; counts up with every ~/reset", 0, SEEDS - 1),
    Parameter("cameras", list(CAMERAS), "cameras whose pictures are rendered"),
    Parameter("image_rate_hz", 10.0, "rate of the pictures [Hz]; 0 renders none", 0.0, 100.0),
    Parameter("image_delay_s", 0.0, "time by which pictures come later than they could [s]", 0.0, 2.0),
    Parameter("primary_size", 256, "side of the primary camera's picture [pixel]", 16, 2048),
    Parameter("wrist_size", 128, "side of the wrist camera's picture [pixel]", 16, 2048),
    Parameter("publish_clock", True, "publish /clock and stamp by it; false: stamp by the system's clock"),
    Parameter("real_time_factor", 1.0, "simulated seconds in a real one", 0.01, 100.0),
    Parameter(
        "lockstep_s",
        0.0,
        "longest real time that a simulated clock waits for late actions and commands [s]; 0: it does not",
        0.0,
        60.0,
    ),
    Parameter("episode_s", 30.0, "simulated time after which an episode has failed [s]", 0.1, 3600.0),
    Parameter("takeover_rad", 0.02, "furthest from the arm that commands may begin [rad]", 0.0001, 3.0),
)

PICTURE_STEPS = 5
"""Steps after which pictures are out, where the clock is simulated: 50 ms, as of a camera."""


def check(values: dict[str, Any]) -> None:
    """ParameterError for values that do not go together, or a task that there is not."""
    check_followed(values["command_mode"])
    chosen_tasks(values["task"])
    if not set(values["cameras"]) <= set(CAMERAS):
        raise ParameterError(f"cameras: expected some of {', '.join(CAMERAS)}, got {values['cameras']}")
    for name, expected in (("real_time_factor", 1.0), ("lockstep_s", 0.0)):
        if not values["publish_clock"] and values[name] != expected:
            raise ParameterError(
                f"{name}: expected {expected} where publish_clock is false, got {values[name]}"
            )


def timing(values: dict[str, Any]) -> Timing | None:
    """When pictures come, None for none; ParameterError for a rate that 100 Hz is no multiple of."""
    rate_hz = values["image_rate_hz"]
    if rate_hz == 0.0:
        return None
    every = 1.0 / CONTROL_S / rate_hz
    if every < 1.0 or abs(every - round(every)) > 1e-6:
        raise ParameterError(f"image_rate_hz: expected a whole part of {1.0 / CONTROL_S:g} Hz, got {rate_hz}")
    wait = min(PICTURE_STEPS, round(every) - 1) if values["publish_clock"] else None
    return Timing(round(every), round(values["image_delay_s"] / CONTROL_S), wait)


def make_cell(values: dict[str, Any]) -> Cell:
    """The cell that the parameters name; ParameterError where it is not installed."""
    try:
        return Cell(values["robot"], primary=values["primary_size"], wrist=values["wrist_size"])
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "octo_ros":
            raise
        raise ParameterError(
            f"the simulated cell needs the Python package {error.name}: install octo_ros with its extra 'sim'"
        ) from None
