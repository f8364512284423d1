"""`octo_ros demo`: the shipped bag through the two real nodes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(verbs: Any) -> None:
    """Adds the verb."""
    parser = verbs.add_parser("demo", help="play the shipped bag to the two real nodes over DDS")
    parser.add_argument("--robot", default="fr3", choices=("fr3", "panda", "ur5e"))
    parser.add_argument(
        "--out", type=Path, default=Path("out/demo"), help="directory for the report and the logs"
    )
    parser.add_argument("--episodes", type=int, help="play only the first N episodes")
    parser.set_defaults(verb=run, needs="run it in the environment that `make demo` makes")


def run(options: argparse.Namespace) -> int:
    """Runs the demo; its exit status."""
    from octo_ros.nodes.demo import run_demo

    return run_demo(robot=options.robot, out=options.out, episodes=options.episodes)
