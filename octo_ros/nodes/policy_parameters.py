"""The parameters of policy_node, and the policy's options that follow from them."""

from __future__ import annotations

from typing import Any

import octo_ros
from octo_ros.engine import BACKENDS
from octo_ros.errors import ParameterError
from octo_ros.nodes.parameters import Parameter
from octo_ros.policy.options import EXECUTIONS, NORMALIZATIONS, ActOptions
from octo_ros.policy.policy import Policy

IMAGE_TRANSPORTS = ("raw", "compressed")


def _option(name: str, description: str, *bounds: float, choices: tuple[str, ...] = ()) -> Parameter:
    """The parameter of an option of the policy, with the option's own default."""
    return Parameter(name, getattr(ActOptions, name), description, *bounds, choices=choices)


PARAMETERS = (
    Parameter("bundle", "", "folder written by `octo_ros export`; required"),
    Parameter(
        "backend", "onnxruntime", "what runs the bundle's graphs, that one or none: " + ", ".join(BACKENDS)
    ),
    Parameter("precision", "", "of a GPU's engine: fp32, fp16 or int8; empty with backend onnxruntime"),
    Parameter(
        "engine", "", "folder that `octo_ros build` wrote, for a GPU; empty: this GPU's engine in the cache"
    ),
    Parameter("threads", 0, "threads of the engine; 0 lets it choose", 0, 256),
    Parameter("spinning", False, "threads keep their cores busy within an inference: faster on idle cores"),
    Parameter(
        "dataset", "", "data set whose statistics scale actions; empty: the bundle's default or its only one"
    ),
    _option("normalization", "how actions were scaled in training", choices=NORMALIZATIONS),
    Parameter(
        "cameras",
        [""],
        "cameras this robot has, by the bundle's names; [''] for all of them; others are masked",
    ),
    Parameter(
        "image_transport", "raw", "sensor_msgs/Image or sensor_msgs/CompressedImage", choices=IMAGE_TRANSPORTS
    ),
    Parameter("rate_hz", 10.0, "rate of inference and of actions [Hz]", 0.1, 1000.0),
    Parameter(
        "pairing_tolerance_s",
        0.05,
        "furthest apart that the stamps of one set of frames may be [s]",
        0.0,
        10.0,
    ),
    Parameter("max_frame_age_s", 0.2, "age of the oldest frame that is still used [s]", 0.001, 10.0),
    _option("execution", "mean of overlapping chunks, or the first steps of each", choices=EXECUTIONS),
    _option("ensemble_weight", "0: plain mean; positive: older chunks weigh more [1/chunk]", -100.0, 100.0),
    _option("execute", "steps played of each chunk; execution 'receding' only", 1, 1000),
    _option("center_crop", "crop the cameras that the bundle crops to the centre 0.9 of their area"),
    _option("gripper_threshold", "opening above which the gripper is commanded open", 0.001, 0.999),
    _option("gripper_votes", "equal answers in a row that flip the gripper", 1, 1000),
    _option("temperature", "of a head that chooses among discrete values; 0: the likeliest", 0.0, 100.0),
    Parameter("seed", -1, "makes every run's noise the same; -1 draws new noise", -1, 2**31 - 1),
    _option("history_gap_s", "longer time between frames that restarts the history [s]", 0.001, 3600.0),
    _option("mask_language", "run a bundle that has no tokenizer, with the words of an instruction masked"),
    Parameter("instruction", "", "instruction at the start; the topic octo/instruction replaces it"),
    Parameter("base_frame", "base", "frame_id of the actions: the robot's base"),
    Parameter(
        "data_rate_hz",
        5.0,
        "rate at which the data set was recorded: spacing of the chunk's steps [Hz]",
        0.1,
        1000.0,
    ),
    Parameter("publish_physical", False, "publish actions in metres and radians instead of network units"),
)


def act_options(values: dict[str, Any]) -> ActOptions:
    """The options of the policy that the parameters stand for.

    Raises:
        ParameterError: a value outside its range.
    """
    return ActOptions(
        dataset=values["dataset"] or None,
        normalization=values["normalization"],
        execution=values["execution"],
        ensemble_weight=values["ensemble_weight"],
        execute=values["execute"],
        center_crop=values["center_crop"],
        gripper_threshold=values["gripper_threshold"],
        gripper_votes=values["gripper_votes"],
        temperature=values["temperature"],
        seed=None if values["seed"] < 0 else values["seed"],
        history_gap_s=values["history_gap_s"],
        mask_language=values["mask_language"],
    )


def open_policy(values: dict[str, Any]) -> Policy:
    """The policy that the parameters name.

    Raises:
        OctoRosError: a parameter, the bundle or its data set that cannot be used.
    """
    if not values["bundle"]:
        raise ParameterError("bundle: expected the folder of an exported bundle, got an empty text")
    return octo_ros.load_policy(
        values["bundle"],
        values["backend"],
        act_options(values),
        threads=values["threads"] or None,
        spinning=values["spinning"],
        precision=values["precision"],
        engine=values["engine"] or None,
    )
