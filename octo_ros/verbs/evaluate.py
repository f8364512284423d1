"""`octo_ros evaluate`: how often a bundle's policy does its task in the simulated cell."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from octo_ros.errors import ParameterError
from octo_ros.verbs.progress import progress_bar


def add(verbs: Any) -> None:
    """Adds the verb."""
    parser = verbs.add_parser("evaluate", help="run seeded episodes of the simulated cell through the nodes")
    parser.add_argument("bundle", type=Path, help="engine bundle of a policy trained on the cell's tasks")
    parser.add_argument("--robot", default="panda", choices=("panda", "ur5e"))
    parser.add_argument("--episodes", type=int, default=20, help="how many (default 20)")
    parser.add_argument("--seed", type=int, default=100_000, help="of the first (default 100000)")
    parser.add_argument("--task", default="all", help="all (default), a verb, or an instruction")
    parser.add_argument("--episode-s", type=float, default=15.0, help="longest episode [s] (default 15)")
    parser.add_argument("--speed", type=float, default=1.0, help="of simulated time, at most (default 1)")
    parser.add_argument("--out", type=Path, default=Path("out/evaluate"), help="for the result and the logs")
    parser.add_argument(
        "--set", dest="changes", action="append", default=[], metavar="NODE.PARAMETER=VALUE",
        help="a parameter of policy or safety, such as policy.execution=receding; repeatable",
    )  # fmt: skip
    parser.add_argument("--ablations", action="store_true", help="one run for each row of the ablation table")
    parser.set_defaults(verb=run, needs="run it in the environment that `make sim` makes")


def run(options: argparse.Namespace) -> int:
    """Evaluates, prints the result and writes it to `out`/evaluation.json."""
    from octo_ros.evaluation.settings import ABLATIONS, AS_TRAINED, changed
    from octo_ros.nodes.evaluator import evaluate

    if options.episodes < 1:
        raise ParameterError(f"--episodes: expected at least 1, got {options.episodes}")
    settings = ABLATIONS if options.ablations else (AS_TRAINED,)
    results = []
    with progress_bar("evaluate") as tell:
        for number, setting in enumerate(settings):
            setting = changed(setting, options.changes)
            results.append(
                evaluate(
                    options.bundle,
                    options.robot,
                    setting,
                    options.out / f"logs_{number}",
                    episodes=options.episodes,
                    seed=options.seed,
                    task=options.task,
                    episode_s=options.episode_s,
                    speed=options.speed,
                    progress=lambda done, total, name=setting.name: tell(name, done, total),
                )
            )
    for result in results:
        print(result)
    report = {"bundle": str(options.bundle), "robot": options.robot, "task": options.task}
    report["settings"] = [result.as_json() for result in results]
    path = options.out / "evaluation.json"
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(f"written to {path}")
    return 0
