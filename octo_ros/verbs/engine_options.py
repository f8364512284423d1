"""Options of the verbs that run a bundle: on what backend, in what precision, with what recording."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octo_ros.engine import BACKENDS, ON_CPU
from octo_ros.errors import ParameterError

if TYPE_CHECKING:
    from octo_ros.gpu.judge import Recording


def add_backend(parser: argparse.ArgumentParser) -> None:
    """Adds --backend, --precision and --engine."""
    parser.add_argument(
        "--backend", default=ON_CPU, help=f"what runs the graphs: {', '.join(BACKENDS)} (default {ON_CPU})"
    )
    parser.add_argument("--precision", default="", help="of a GPU's engine: fp32, fp16 or int8")
    parser.add_argument(
        "--engine", type=Path, metavar="FOLDER",
        help="of a GPU: what `octo_ros build` wrote (default: this GPU's engine in the cache)",
    )  # fmt: skip


def engine(options: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `make_backend` and `load_policy` that say precision and engine."""
    return {"precision": options.precision, "engine": options.engine}


def add_recording(parser: argparse.ArgumentParser, name: str, purpose: str) -> None:
    """Adds an option for a recording, called `name`, and what says how to read it."""
    parser.add_argument(
        name, dest="recording", type=Path, metavar="BAG_OR_RLDS",
        help=f"recording of the robot to {purpose} (default: noise, which judges no precision)",
    )  # fmt: skip
    parser.add_argument("--steps", type=int, default=200, help="steps taken of the recording (default 200)")
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of their choice and of the noise (default 0)"
    )
    parser.add_argument(
        "--topic", action="append", default=[], metavar="NAME=/topic",
        help="map a camera or instruction of a bag to a topic, of a data set to a feature; repeatable",
    )  # fmt: skip
    parser.add_argument("--instruction", help="instruction to use instead of the recording's")
    parser.add_argument("--dataset", help="data set whose statistics un-normalise the actions")


def recording(options: argparse.Namespace) -> Recording:
    """What `add_recording` added."""
    from octo_ros.gpu.judge import Recording

    names = {}
    for entry in options.topic:
        name, separator, place = entry.partition("=")
        if not (name and separator and place):
            raise ParameterError(f"--topic: expected NAME=/topic, got {entry!r}")
        names[name] = place
    normalization = getattr(options, "normalization", "mean_std")
    return Recording(
        options.recording, options.steps, options.seed, names, options.instruction, options.dataset,
        normalization,
    )  # fmt: skip
