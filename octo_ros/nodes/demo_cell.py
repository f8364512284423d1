"""The demo's simulated cell: the shipped policy does what sentences say, through the two real nodes."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from octo_ros.engine.bundle import read_bundle
from octo_ros.errors import ParameterError
from octo_ros.evaluation.film import Film
from octo_ros.evaluation.report import PICTURE, TABLE, Report, Row
from octo_ros.evaluation.score import Evaluation
from octo_ros.evaluation.settings import AS_TRAINED
from octo_ros.nodes.evaluator import evaluate
from octo_ros.resources import share_path
from octo_ros.sim.arms import arm_model
from octo_ros.verbs.progress import progress_bar

ROBOT = "panda"
"""Arm of the cell, unless another is asked for."""

EPISODES = 6
"""One for each sentence."""

SEED = 100_002
"""Of the first scene; none from 100000 on was trained on."""

GIF = "episode.gif"


def missing() -> str:
    """What the cell lacks on this machine, "" where it runs."""
    if importlib.util.find_spec("robosuite") is None:
        return "robosuite is not installed (make sim)"
    from octo_ros.sim.rendering import choose_backend

    if choose_backend() == "disable":
        return "nothing renders here: install libegl1 or libosmesa6"
    return ""


def run_cell_demo(*, robot: str, out: Path, episodes: int | None) -> int:
    """Runs episodes, prints what became of each, and writes a film and the tables of an evaluation.

    Args:
        robot: "panda" or "ur5e".
        out: directory for them, empty.
        episodes: how many, 1 or more; None for one of each sentence.

    Returns:
        0, or 1 where no episode succeeded.

    Raises:
        ParameterError: a robot that the cell does not have.
        NodeProcessError: a node did not start.
    """
    arm_model(robot)
    bundle, episodes = share_path("demo/policy"), EPISODES if episodes is None else episodes
    console, manifest = Console(), read_bundle(bundle)
    console.print(
        f"[bold]octo_ros demo[/bold]: sim_cell_node -> policy_node -> safety_filter_node ({robot}), "
        f"{manifest.checkpoint['name']}",
        soft_wrap=True,
    )
    film = Film(episodes)
    with progress_bar("demo") as tell:
        result = evaluate(
            bundle,
            robot,
            AS_TRAINED,
            out / "logs",
            episodes=episodes,
            seed=SEED,
            film=film,
            progress=lambda done, total: tell("episodes", done, total),
        )
    film.write(out / GIF)
    facts = {"bundle": bundle.name, "robot": robot, "episodes": episodes, "seed": SEED}
    Report(facts, (Row(AS_TRAINED, result),), {}).write(out)
    console.print(_table(result))
    console.print(
        f"  done      {result.success}\n"
        f"  limited   {result.limited.value:.1%} of {result.limited.trials} actions by the safety filter\n"
        f"  watch     {out / GIF}\n"
        f"  tables    {out / TABLE}, {out / PICTURE}\n"
        f"  logs      {out / 'logs'}",
        soft_wrap=True,
        highlight=False,
    )
    return 0 if result.success.hits else 1


def chosen_scene(scene: str | None) -> tuple[str, str]:
    """ "cell" or "bag", and why it is not the cell where nobody chose.

    Raises:
        ParameterError: the cell is asked for, and is not there.
    """
    why = missing() if scene != "bag" else ""
    if scene == "cell" and why:
        raise ParameterError(f"--scene cell: {why}")
    return (scene or ("bag" if why else "cell")), why


def _table(result: Evaluation) -> Table:
    table = Table(box=SIMPLE)
    for column in ("words", "went to", "done", "s", "actions", "limited"):
        table.add_column(column, justify="left" if column in ("words", "went to") else "right")
    for episode in result.episodes:
        table.add_row(
            episode.instruction,
            episode.approached,
            "yes" if episode.success else "no",
            f"{episode.seconds:.1f}",
            str(episode.actions),
            str(episode.limited),
        )
    return table
