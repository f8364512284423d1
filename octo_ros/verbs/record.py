"""`octo_ros record`: demonstrations of the scripted expert in the simulated cell."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from octo_ros.verbs.progress import progress_bar


def add(verbs: Any) -> None:
    """Adds the verb."""
    parser = verbs.add_parser("record", help="record a scripted expert in the simulated cell as a rosbag2")
    parser.add_argument("out", type=Path, help="rosbag2 directory to write (MCAP)")
    parser.add_argument("--robot", default="panda", choices=("panda", "ur5e"))
    parser.add_argument("--episodes", type=int, default=10, help="how many (default 10)")
    parser.add_argument("--seed", type=int, default=0, help="of the first; the next count on (default 0)")
    parser.add_argument(
        "--task", default="all", help='all (default), reach, lift, or a sentence such as "lift the red cube"'
    )
    parser.add_argument(
        "--images", choices=("raw", "jpeg"), default="raw", help="kind of the pictures (default raw)"
    )
    parser.add_argument("--other-words", type=int, default=0, metavar="N", help=(
        "copies of each episode's approach, whose words name N other cubes and whose recorded actions go to "
        "those: for training (default 0)"
    ))  # fmt: skip
    parser.add_argument("--student", type=Path, metavar="BUNDLE", help=(
        "let this policy act, and record what the expert would have done (DAgger)"
    ))  # fmt: skip
    parser.add_argument("--max-steps", type=int, default=150, help="longest episode [steps] (default 150)")
    parser.set_defaults(verb=run, needs="install octo_ros with its extras 'sim' and 'replay'")


def run(options: argparse.Namespace) -> int:
    """Records and prints the summary."""
    from octo_ros.sim.recording import record

    with progress_bar("record") as tell:
        summary = record(
            options.out,
            options.robot,
            episodes=options.episodes,
            seed=options.seed,
            task=options.task,
            images=options.images,
            other_words=options.other_words,
            student=options.student,
            max_steps=options.max_steps,
            progress=lambda done, total: tell("episodes", done, total),
        )
    print(summary)
    return 0
