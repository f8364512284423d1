"""Attacks the safety filter with random episodes on all cores and checks every command it gives.

An episode is determined by the seed and its number: arms from the repository and made-up ones,
starts inside and outside the limits, actions that push into every wall, faults of every input.
Ends at the first violation, with the command that repeats it; the exit status is then 1.

    .venv/bin/python bench/fuzz_safety.py --minutes 10
    .venv/bin/python bench/fuzz_safety.py --seed 7 --episode 1234
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one episode a core
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "test"))

from safety_episodes import Outcome, run_episode  # noqa: E402

try:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
except ImportError:
    Progress = None

SHOWN = 5  # violations that are told of, of those that were found
REPORT_S = 5.0  # between two lines, where there is no progress bar


class Totals:
    """What all episodes together showed.

    Attributes:
        episodes, steps: how many.
        statuses, states: how often each was said.
        worst: the smallest margin to each invariant, and the number of its episode.
        violations: (episode, what, where) of each.
    """

    def __init__(self) -> None:
        self.episodes = self.steps = 0
        self.statuses: Counter[str] = Counter()
        self.states: Counter[str] = Counter()
        self.worst: dict[str, tuple[float, int]] = {}
        self.violations: list[tuple[int, str, str]] = []

    def add(self, outcome: Outcome) -> None:
        """Counts one episode."""
        self.episodes += 1
        self.steps += outcome.steps
        self.statuses += outcome.statuses
        self.states += outcome.states
        for invariant, margin in outcome.worst.items():
            self.worst[invariant] = min(
                self.worst.get(invariant, (margin, outcome.index)), (margin, outcome.index)
            )
        if outcome.violation:
            self.violations.append((outcome.index, f"{outcome.about}: {outcome.violation}", outcome.trace))


def reports(totals: Totals, outcomes: Iterator[Outcome], seconds: float, steps: int) -> Iterator[Outcome]:
    """The outcomes until the time is over and the steps are done, with a bar or a line now and then."""
    begun = told = time.monotonic()
    if Progress is None or not sys.stdout.isatty():
        for outcome in outcomes:
            yield outcome
            now = time.monotonic()
            if now - told > REPORT_S:
                told = now
                print(f"{now - begun:6.0f} s  {totals.episodes} episodes  {totals.steps:,} steps", flush=True)
            if now - begun > seconds and totals.steps >= steps:
                return
    columns = (BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns) as progress:
        task = progress.add_task("", total=seconds)
        for outcome in outcomes:
            yield outcome
            now = time.monotonic()
            said = f"{totals.episodes} episodes, {totals.steps:,} steps"
            progress.update(task, completed=now - begun, description=said)
            if now - begun > seconds and totals.steps >= steps:
                return


def played(pool, seed: int, ahead: int) -> Iterator[Outcome]:
    """Outcomes of the episodes 0, 1, .. in order, so many under way ahead of the one that is waited for."""
    waiting = deque()
    for index in itertools.count():
        waiting.append(pool.apply_async(run_episode, (seed, index)))
        if len(waiting) > ahead:
            yield waiting.popleft().get()


def fuzz(seed: int, minutes: float, steps: int, processes: int, keep_going: bool) -> Totals:
    """Runs episodes until time is over and steps are done, or until one violates something."""
    totals = Totals()
    with multiprocessing.Pool(processes) as pool:
        for outcome in reports(totals, played(pool, seed, 2 * processes), minutes * 60.0, steps):
            totals.add(outcome)
            if outcome.violation and not keep_going:
                break
    return totals


def show(seed: int, totals: Totals, seconds: float) -> None:
    """Prints what was found."""
    rate = totals.steps / seconds
    found = len(totals.violations)
    steps = f"{totals.steps:,} steps, {rate:,.0f} a second"
    print(f"seed {seed}: {totals.episodes} episodes, {found} violations, {steps}")
    for title, counts in (("status", totals.statuses), ("state", totals.states)):
        print(f"{title}: " + ", ".join(f"{name} {count:,}" for name, count in counts.most_common()))
    for invariant, (margin, index) in sorted(totals.worst.items()):
        print(f"  least margin to {invariant:32} {margin: .3e}   episode {index}")
    for index, what, where in totals.violations[:SHOWN]:
        print(f"\nVIOLATION in episode {index}, {what}\n{where}")
        print(f"repeat it: python bench/fuzz_safety.py --seed {seed} --episode {index}")


def main() -> int:
    """Runs the fuzzer; returns 1 where a violation was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--steps", type=int, default=0, help="go on until so many are done")
    parser.add_argument("--seed", type=int, help="another one each time by default")
    parser.add_argument("--episode", type=int, help="run this one alone")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--keep-going", action="store_true", help="after a violation")
    parser.add_argument("--json", type=Path, help="write the result to this file as well")
    options = parser.parse_args()
    seed = int.from_bytes(os.urandom(4), "big") if options.seed is None else options.seed
    begun = time.monotonic()
    print(f"seed {seed}", flush=True)
    if options.episode is not None:
        totals = Totals()
        totals.add(run_episode(seed, options.episode))
    else:
        totals = fuzz(seed, options.minutes, options.steps, options.processes, options.keep_going)
    seconds = time.monotonic() - begun
    show(seed, totals, seconds)
    if options.json is not None:
        result = {"seed": seed, "seconds": seconds, "processes": options.processes, **vars(totals)}
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return int(bool(totals.violations))


if __name__ == "__main__":
    sys.exit(main())
