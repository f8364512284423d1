"""`octo_ros demo`: the two real nodes at work, in the simulated cell or on a recorded bag."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from octo_ros.errors import ParameterError


def add(verbs: Any) -> None:
    """Adds the verb."""
    parser = verbs.add_parser("demo", help="see the two real nodes work: in the simulated cell, or on a bag")
    parser.add_argument("--scene", choices=("cell", "bag"), help=(
        "cell: a trained policy does what sentences say, in simulation; bag: frames of a real robot are "
        "played to random weights (default: the cell, where robosuite is installed)"
    ))  # fmt: skip
    parser.add_argument("--robot", choices=("fr3", "panda", "ur5e"), help="default panda, of the bag fr3")
    parser.add_argument(
        "--out", type=Path, default=Path("out/demo"), help="directory for film, report and logs"
    )
    parser.add_argument("--episodes", type=int, help="only so many of the first")
    parser.set_defaults(verb=run, needs="run it in the environment that `make demo` makes")


def run(options: argparse.Namespace) -> int:
    """Runs the demo; its exit status."""
    if options.episodes is not None and options.episodes < 1:
        raise ParameterError(f"--episodes: expected at least 1, got {options.episodes}")
    from octo_ros.nodes import demo, demo_cell

    scene, why = demo_cell.chosen_scene(options.scene)
    out = demo.emptied(options.out)
    if scene == "cell":
        return demo_cell.run_cell_demo(
            robot=options.robot or demo_cell.ROBOT, out=out, episodes=options.episodes
        )
    status = demo.run_demo(robot=options.robot or "fr3", out=out, episodes=options.episodes)
    if why:
        print(f"  the arm doing what the words say: octo_ros demo --scene cell; here {why}")
    return status
