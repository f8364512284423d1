"""`octo_ros evaluate`: how often a bundle's policy does its task in the simulated cell."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from octo_ros.verbs.progress import progress_bar

GIF = "episode.gif"
"""The film, in the folder of the results."""


def add(verbs: Any) -> None:
    """Adds the verb."""
    parser = verbs.add_parser("evaluate", help="run seeded episodes of the simulated cell through the nodes")
    parser.add_argument(
        "bundle", type=Path, nargs="?",
        help="engine bundle of a policy trained on the cell's tasks (default: the shipped one)",
    )  # fmt: skip
    parser.add_argument("--robot", default="panda", choices=("panda", "ur5e"))
    parser.add_argument("--episodes", type=int, default=20, help="how many seeds (default 20)")
    parser.add_argument("--seed", type=int, default=100_000, help="of the first (default 100000)")
    parser.add_argument("--task", default="all", help="all (default), a verb, or an instruction")
    parser.add_argument("--episode-s", type=float, default=15.0, help="longest episode [s] (default 15)")
    parser.add_argument(
        "--speed", type=float, default=2.0, help="simulated seconds in a real one, at most (default 2)"
    )
    parser.add_argument("--out", type=Path, default=Path("out/evaluate"), help="for the results and the logs")
    parser.add_argument(
        "--set", dest="changes", action="append", default=[], metavar="NODE.PARAMETER=VALUE",
        help="a parameter of policy, safety or cell, such as policy.execution=receding; repeatable",
    )  # fmt: skip
    parser.add_argument("--ablations", action="store_true", help="one run for each row of the ablation table")
    parser.add_argument(
        "--swap", action="store_true", help="each seed twice, the second time with the words for another cube"
    )
    parser.add_argument(
        "--gif", type=int, nargs="?", const=3, default=0, metavar="N",
        help=f"film the first N episodes (3) of the first run: {GIF}",
    )  # fmt: skip
    parser.set_defaults(verb=run, needs="run it in the environment that `make sim` makes")


def run(options: argparse.Namespace) -> int:
    """Evaluates, prints the results and writes them to the folder `out`."""
    from octo_ros.engine.bundle import read_bundle
    from octo_ros.evaluation.film import Film
    from octo_ros.evaluation.report import Report, Row
    from octo_ros.evaluation.settings import ABLATIONS, AS_TRAINED, changed, chosen
    from octo_ros.nodes.evaluator import evaluate
    from octo_ros.resources import share_path

    bundle = share_path("demo/policy") if options.bundle is None else options.bundle
    manifest = read_bundle(bundle)
    settings = ABLATIONS if options.ablations else (AS_TRAINED,)
    kept, left_out = chosen(settings, manifest)
    kept = [changed(setting, options.changes) for setting in kept]
    film = Film(options.gif) if options.gif else None
    rows = []
    with progress_bar("evaluate") as tell:
        for number, setting in enumerate(kept):
            result = evaluate(
                bundle,
                options.robot,
                setting,
                options.out / f"logs_{number}",
                episodes=options.episodes,
                seed=options.seed,
                task=options.task,
                swap=options.swap,
                episode_s=options.episode_s,
                speed=options.speed,
                film=film if number == 0 else None,
                progress=lambda done, total, name=setting.name: tell(name, done, total),
            )
            rows.append(Row(setting, result))
    facts = {name: getattr(options, name) for name in ("robot", "task", "episodes", "seed", "swap")}
    facts = {
        "bundle": "demo/policy" if options.bundle is None else str(bundle),
        "notice": manifest.notice,
        **facts,
        "longest_s": options.episode_s,
    }
    report = Report(facts, tuple(rows), left_out)
    report.write(options.out)
    for row in rows:
        print(row.result)
    for name, reason in left_out.items():
        print(f"left out: {name}: {reason}")
    if film is not None:
        film.write(options.out / GIF)
    print(
        f"written to {options.out}: "
        + ", ".join(sorted(p.name for p in options.out.iterdir() if p.is_file()))
    )
    return 0
