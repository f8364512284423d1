"""Which episodes an evaluation consists of."""

from __future__ import annotations

from dataclasses import dataclass

from octo_ros.errors import ParameterError
from octo_ros.sim.tasks import COLORS, CellTask, chosen_tasks, task_for_seed


@dataclass(frozen=True)
class Planned:
    """One episode: what is asked for, and the seed of the scene."""

    seed: int
    task: CellTask


def planned(task: str, seed: int, episodes: int, swap: bool = False) -> tuple[Planned, ...]:
    """Episodes of consecutive seeds, which go through the tasks in turn.

    Args:
        task: "all", a verb, or an instruction.
        seed: of the first.
        episodes: how many seeds.
        swap: whether each seed comes twice, the second time with another cube in the same words. Over
            consecutive seeds every pair of colours comes.

    Raises:
        ParameterError: no episode, a seed below 0, or a task that there is not.
    """
    if episodes < 1:
        raise ParameterError(f"episodes: expected at least 1, got {episodes}")
    if seed < 0:
        raise ParameterError(f"seed: expected at least 0, got {seed}")
    tasks, plan = chosen_tasks(task), []
    for number in range(seed, seed + episodes):
        asked = task_for_seed(tasks, number)
        plan.append(Planned(number, asked))
        if swap:
            plan.append(Planned(number, swapped(asked)))
    return tuple(plan)


def swapped(task: CellTask) -> CellTask:
    """The same of the next colour."""
    return CellTask(task.verb, COLORS[(COLORS.index(task.color) + 1) % len(COLORS)])
