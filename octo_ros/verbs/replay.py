"""`octo_ros replay`: a recorded bag through the policy and the safety filter."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from octo_ros.errors import ParameterError
from octo_ros.verbs.engine_options import add_backend, engine
from octo_ros.verbs.progress import progress_bar


def add(verbs: Any) -> None:
    """Adds the verb."""
    parser = verbs.add_parser(
        "replay", help="run a rosbag2 through the policy and the safety filter, by recorded stamps"
    )
    parser.add_argument("bag", type=Path, help="rosbag2 directory (MCAP or sqlite3)")
    parser.add_argument("--bundle", type=Path, required=True, help="engine bundle")
    parser.add_argument("--robot", required=True, help="fr3, panda, ur5e, or the path of a URDF file")
    parser.add_argument("--out", type=Path, required=True, help="directory to write")
    parser.add_argument("--dataset", help="data set whose statistics un-normalise the actions")
    parser.add_argument("--instruction", help="instruction to use instead of the bag's")
    parser.add_argument("--rate", type=float, default=10.0, help="policy rate in Hz (default 10)")
    parser.add_argument(
        "--data-rate", type=float, default=5.0, help="rate the data set was recorded at in Hz (default 5)"
    )
    parser.add_argument(
        "--joints",
        choices=("auto", "bag", "follower"),
        default="auto",
        help="where joint states come from: the bag, an ideal arm, or the bag where it has them (default)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the diffusion noise (default 0)")
    parser.add_argument(
        "--topic", action="append", default=[], metavar="NAME=/topic",
        help="map a camera, instruction, goal_image, joint_states or recorded_action to a topic; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--no-check-collisions",
        dest="check_collisions",
        action="store_false",
        help="for a URDF whose meshes are missing: without the distances between bodies",
    )
    add_backend(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier replay in --out")
    parser.set_defaults(verb=run, needs="install octo_ros with its extra 'replay'")


def run(options: argparse.Namespace) -> int:
    """Replays and prints the summary."""
    from octo_ros.bags.replay import replay
    from octo_ros.safety.options import FilterOptions

    with progress_bar("replay") as tell:
        summary = replay(
            options.bag,
            options.bundle,
            options.robot,
            options.out,
            topics=dict(_topic(entry) for entry in options.topic),
            rate_hz=options.rate,
            dataset=options.dataset,
            instruction=options.instruction,
            seed=options.seed,
            joints=options.joints,
            filter_options=FilterOptions(data_rate_hz=options.data_rate),
            check_collisions=options.check_collisions,
            overwrite=options.overwrite,
            backend=options.backend,
            **engine(options),
            progress=lambda done, total: tell("messages", done, total),
        )
    print(summary)
    return 0


def _topic(entry: str) -> tuple[str, str]:
    name, separator, topic = entry.partition("=")
    if not separator or not name or not topic.startswith("/"):
        raise ParameterError(
            f"--topic: expected NAME=/topic such as primary=/cam/color/image_raw, got {entry!r}"
        )
    return name, topic
