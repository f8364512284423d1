"""The `octo_ros` command: each verb parses its arguments and calls one library function."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from octo_ros.errors import OctoRosError, ParameterError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb; returns the exit status: 0, or 1 with one line on stderr for a user's mistake."""
    options = _parser().parse_args(arguments)
    try:
        return options.verb(options)
    except OctoRosError as error:
        print(f"octo_ros: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "octo_ros":
            raise
        print(f"octo_ros: this verb needs the Python package {error.name}: {options.needs}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("octo_ros: interrupted", file=sys.stderr)
        return 130


def _export(options: argparse.Namespace) -> int:
    from octo_ros.export import export_checkpoint

    with _progress("export") as progress:
        manifest = export_checkpoint(
            options.checkpoint,
            options.bundle,
            step=options.step,
            tokenizer=options.tokenizer,
            dataset=options.dataset,
            notice=options.notice,
            progress=lambda stage, done, total: progress(stage, done, total),
        )
    check = ", ".join(f"{name} {error:.1e}" for name, error in manifest.checkpoint["self_check"].items())
    print(
        f"{options.bundle}: cameras {', '.join(manifest.cameras)}; "
        f"window {manifest.window}; horizon {manifest.horizon}"
    )
    print(f"PyTorch against ONNX Runtime, greatest error: {check}")
    return 0


def _replay(options: argparse.Namespace) -> int:
    from octo_ros.bags.replay import replay
    from octo_ros.safety.options import FilterOptions

    with _progress("replay") as progress:
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
            overwrite=options.overwrite,
            progress=lambda done, total: progress("messages", done, total),
        )
    print(summary)
    return 0


def _demo(options: argparse.Namespace) -> int:
    from octo_ros.nodes.demo import run_demo

    return run_demo(robot=options.robot, out=options.out, episodes=options.episodes)


def _topic(entry: str) -> tuple[str, str]:
    name, separator, topic = entry.partition("=")
    if not separator or not name or not topic.startswith("/"):
        raise ParameterError(
            f"--topic: expected NAME=/topic such as primary=/cam/color/image_raw, got {entry!r}"
        )
    return name, topic


@contextmanager
def _progress(title: str) -> Iterator:
    """A progress bar on stderr; yields a function of (stage, done, total)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)

        def update(stage: str, done: int, total: int) -> None:
            bar.update(task, description=f"{title}: {stage}", completed=done, total=total)

        yield update


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="octo_ros", description="The Octo robot policy under ROS 2.")
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    export = verbs.add_parser(
        "export", help="write an engine bundle from an official Octo checkpoint directory"
    )
    export.add_argument(
        "checkpoint", type=Path, help="directory with config.json and <step>/default/checkpoint"
    )
    export.add_argument("bundle", type=Path, help="directory to write; must not exist or be empty")
    export.add_argument("--step", type=int, help="step to export (default: the latest)")
    export.add_argument(
        "--tokenizer", type=Path, help="tokenizer.json or spiece.model of the checkpoint's tokenizer"
    )
    export.add_argument("--dataset", help="data set whose statistics are the bundle's default")
    export.add_argument("--notice", default="", help="a sentence shown wherever the bundle is used")
    export.set_defaults(verb=_export, needs="install octo_ros with its extra 'export'")

    replay = verbs.add_parser(
        "replay", help="run a rosbag2 through the policy and the safety filter, by recorded stamps"
    )
    replay.add_argument("bag", type=Path, help="rosbag2 directory (MCAP or sqlite3)")
    replay.add_argument("--bundle", type=Path, required=True, help="engine bundle")
    replay.add_argument("--robot", required=True, help="fr3, panda, ur5e, or the path of a URDF file")
    replay.add_argument("--out", type=Path, required=True, help="directory to write")
    replay.add_argument("--dataset", help="data set whose statistics un-normalise the actions")
    replay.add_argument("--instruction", help="instruction to use instead of the bag's")
    replay.add_argument("--rate", type=float, default=10.0, help="policy rate in Hz (default 10)")
    replay.add_argument(
        "--data-rate", type=float, default=5.0, help="rate the data set was recorded at in Hz (default 5)"
    )
    replay.add_argument(
        "--joints",
        choices=("auto", "bag", "follower"),
        default="auto",
        help="where joint states come from: the bag, an ideal arm, or the bag where it has them (default)",
    )
    replay.add_argument("--seed", type=int, default=0, help="seed of the diffusion noise (default 0)")
    replay.add_argument(
        "--topic", action="append", default=[], metavar="NAME=/topic",
        help="map a camera, instruction, goal_image, joint_states or recorded_action to a topic; repeatable",
    )  # fmt: skip
    replay.add_argument("--overwrite", action="store_true", help="replace an earlier replay in --out")
    replay.set_defaults(verb=_replay, needs="install octo_ros with its extra 'replay'")

    demo = verbs.add_parser("demo", help="play the shipped bag to the two real nodes over DDS")
    demo.add_argument("--robot", default="fr3", choices=("fr3", "panda", "ur5e"))
    demo.add_argument(
        "--out", type=Path, default=Path("out/demo"), help="directory for the report and the logs"
    )
    demo.add_argument("--episodes", type=int, help="play only the first N episodes")
    demo.set_defaults(verb=_demo, needs="run it in the environment that `make demo` makes")
    return parser


if __name__ == "__main__":
    sys.exit(main())
