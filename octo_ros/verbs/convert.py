"""`octo_ros convert`: recorded bags to an RLDS data set, or such a data set to a bag or a LeRobotDataset."""

from __future__ import annotations

import argparse
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octo_ros.errors import ParameterError
from octo_ros.verbs.progress import Tell, progress_bar

if TYPE_CHECKING:
    from octo_ros.rlds.episode import Episode
    from octo_ros.rlds.from_bag import BagEpisodes
    from octo_ros.rlds.options import Kept, Rejected
    from octo_ros.rlds.writer import Written

    Writer = Callable[..., tuple[list[Kept], list[Rejected]]]


def add(verbs: Any) -> None:
    """Adds the verb."""
    parser = verbs.add_parser(
        "convert",
        help="write an RLDS data set of recorded rosbag2s, or a rosbag2 or LeRobotDataset of such a data set",
    )
    parser.add_argument(
        "source", type=Path, nargs="+", help="rosbag2 directories or files, or one RLDS data set"
    )
    parser.add_argument(
        "out", type=Path, help="data directory to write to (OUT/NAME/1.0.0), or bag or folder to write"
    )
    parser.add_argument(
        "--to", choices=("bag", "lerobot"), help="what becomes of an RLDS data set (default bag)"
    )
    parser.add_argument("--name", help="of the data set: lower-case letters, digits and _")
    robots = parser.add_mutually_exclusive_group()
    robots.add_argument(
        "--robot", help="fr3, panda or ur5e: whose tool's pose gives the actions; to LeRobot: the robot_type"
    )
    robots.add_argument("--urdf", help="the same, by the path of a URDF file")
    parser.add_argument(
        "--rate", type=float, metavar="HZ",
        help="steps in a second (default 10; recorded actions have their own)",
    )  # fmt: skip
    parser.add_argument(
        "--max-alignment", type=float, default=100.0, metavar="MS",
        help="furthest that a message may be from its step in ms (default 100)",
    )  # fmt: skip
    parser.add_argument(
        "--actions", choices=("auto", "recorded", "commanded", "poses"), default="auto",
        help="from /recorded/action, from /octo/action, from joint states, or (default) recorded ones where "
        "the bag has them and else from joint states",
    )  # fmt: skip
    parser.add_argument(
        "--topic", action="append", default=[], metavar="NAME=/topic",
        help="map a camera, episode, instruction, joint_states, action, gripper_command, gripper_state, "
        "recorded_action or recorded_state to a topic; repeatable",
    )  # fmt: skip
    parser.add_argument("--keep-failures", action="store_true", help="keep episodes that ended in failure")
    parser.add_argument(
        "--gripper-start", type=float, metavar="OPENING", help="opening before the first gripper command"
    )
    parser.add_argument(
        "--encoding", choices=("png", "jpeg", "video"), default="png",
        help="of frames (default png); jpeg only to RLDS, video only to LeRobot",
    )  # fmt: skip
    parser.add_argument("--quality", type=int, default=95, help="of JPEG, 1 to 100 (default 95)")
    parser.add_argument(
        "--validation", type=float, default=0.125, help="share of episodes for validation (default 0.125)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the choice for validation (default 0)")
    parser.add_argument("--split", default="all", help="of an RLDS data set: which split (default all)")
    parser.add_argument(
        "--key", action="append", default=[], metavar="NAME=FEATURE",
        help="of an RLDS data set: the feature of a camera, action, state or instruction, such as "
        "primary=image_0; repeatable",
    )  # fmt: skip
    parser.set_defaults(verb=run, needs="install octo_ros with its extra 'replay'")


def run(options: argparse.Namespace) -> int:
    """Converts, in the direction that the source says, and prints what became of each episode."""
    from octo_ros.bags.reader import STORAGES

    bags = [(path / "metadata.yaml").is_file() or path.suffix in STORAGES for path in options.source]
    if all(bags):
        if options.to:
            raise ParameterError(
                f"--to {options.to}: expected an RLDS data set, got bags; convert them to one first"
            )
        return _to_dataset(options)
    if len(bags) > 1:
        odd = options.source[bags.index(False)]
        raise ParameterError(f"convert: expected bags, or one RLDS data set; {odd} is no bag")
    return _from_dataset(options)


def _to_dataset(options: argparse.Namespace) -> int:
    from octo_ros.resources import robot_urdf
    from octo_ros.rlds.frames import Encoding
    from octo_ros.rlds.from_bag import BagEpisodes
    from octo_ros.rlds.options import BagOptions
    from octo_ros.rlds.writer import write_dataset
    from octo_ros.safety.robot import Robot

    if options.name is None:
        raise ParameterError("convert: name the data set (--name), in lower-case letters, digits and _")
    named = options.urdf or options.robot
    robot = Robot.from_file(robot_urdf(named), collision=False) if named else None
    encoding = Encoding(options.encoding, options.quality)
    bag_options = BagOptions(
        rate_hz=options.rate,
        max_alignment_s=options.max_alignment / 1e3,
        actions=options.actions,
        topics=dict(_pair(entry, "--topic", "primary=/cam/color/image_raw") for entry in options.topic),
        keep_failures=options.keep_failures,
        gripper_start=options.gripper_start,
        encoding=encoding,
    )
    read: list[BagEpisodes] = []

    def episodes(tell: Tell) -> Iterator[Episode]:
        for number, path in enumerate(options.source, start=1):
            tell(f"reading bag {number} of {len(options.source)}", 0, 0)
            bag = BagEpisodes(path, robot, bag_options)
            read.append(bag)
            for done, episode in enumerate(bag, start=1):
                yield episode
                tell(f"bag {number} of {len(options.source)}", done, bag.planned)

    written = None
    try:
        with progress_bar("convert") as tell:
            written = write_dataset(
                options.out,
                options.name,
                episodes(tell),
                encoding=encoding,
                validation=options.validation,
                seed=options.seed,
            )
    finally:
        _show([kept for bag in read for kept in bag.kept], [one for bag in read for one in bag.rejected])
    _show_dataset(written, read)
    return 0


def _from_dataset(options: argparse.Namespace) -> int:
    from octo_ros.rlds.dataset import count_episodes, known_keys, read_episodes

    (source,) = options.source
    keys = known_keys(source).with_names(
        dict(_pair(entry, "--key", "primary=image_0") for entry in options.key)
    )
    total = count_episodes(source, options.split)
    write, what = _lerobot_writer(options) if options.to == "lerobot" else _bag_writer()
    with progress_bar("convert") as tell:
        kept, rejected = write(
            options.out,
            read_episodes(source, options.split, keys),
            rate_hz=options.rate,
            progress=lambda done: tell("episodes", done, total),
        )
    _show(kept, rejected)
    print(f"{options.out}: {what.format(len(kept))}")
    return 0


def _bag_writer() -> tuple[Writer, str]:
    from octo_ros.rlds.to_bag import write_bag

    return write_bag, "a rosbag2 of {} episodes, for `octo_ros replay`"


def _lerobot_writer(options: argparse.Namespace) -> tuple[Writer, str]:
    from octo_ros.rlds.to_lerobot import write_lerobot

    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")  # one for each episode
    os.environ.setdefault("SVT_LOG", "1")  # errors only; else the encoder prints its settings

    write = functools.partial(
        write_lerobot,
        encoding=options.encoding,
        robot_type=options.robot,
        keep_failures=options.keep_failures,
    )
    return write, "a LeRobotDataset of {} episodes"


def _show(kept: Sequence[Kept], rejected: Sequence[Rejected]) -> None:
    """Prints a row an episode, in the order of their sources."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    if not kept and not rejected:
        return
    table = Table(box=SIMPLE)
    for column in ("source", "episode", "instruction", "steps", "worst alignment", "result"):
        table.add_column(column, justify="right" if column in ("episode", "steps") else "left")
    sources = dict.fromkeys(one.source for one in (*rejected, *kept))
    for source in sources:
        rows = [(one.index, one.instruction, str(one.steps), _worst(one), "kept") for one in kept
                if one.source == source]  # fmt: skip
        rows += [(one.index, one.instruction, "", "", f"rejected: {one.reason}") for one in rejected
                 if one.source == source]  # fmt: skip
        for index, *cells in sorted(rows):
            table.add_row(escape(source), str(index), *map(escape, cells))
    Console(width=max(140, Console().width)).print(table)


def _worst(kept: Kept) -> str:
    if not kept.alignment_s:
        return ""
    stream = max(kept.alignment_s, key=kept.alignment_s.__getitem__)
    return f"{kept.alignment_s[stream] * 1e3:.0f} ms, {stream}"


def _show_dataset(written: Written, bags: Iterable[BagEpisodes]) -> None:
    for bag in bags:
        for warning in bag.warnings:
            print(f"warning: {bag.path}: {warning}")
        for drift in bag.drifts:
            print(f"clock: {bag.path}: {drift.stream}: {round(drift.ppm):+d} ppm over {drift.span_s:.0f} s")
    rejected = sum(len(bag.rejected) for bag in bags)
    splits = ", ".join(f"{count} {name}" for name, count in written.splits.items())
    steps = written.statistics["num_transitions"]
    print(f"{written.folder}: {splits} episodes, {steps} steps; {rejected} episodes rejected")


def _pair(entry: str, option: str, example: str) -> tuple[str, str]:
    name, separator, value = entry.partition("=")
    if not separator or not name or not value:
        raise ParameterError(f"{option}: expected NAME=VALUE such as {example}, got {entry!r}")
    return name, value
