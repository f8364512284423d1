"""Runs episodes of the simulated cell through the two real nodes, as an operator would.

The cell, the policy and the safety filter are three processes that know nothing of each other
but topics. Between episodes the operator presses the e-stop, has the policy forget its history, resets
the filter, and has the cell begin the next episode.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import rclpy

from octo_ros.engine.bundle import read_bundle
from octo_ros.engine.manifest import Manifest
from octo_ros.errors import BundleError, ParameterError
from octo_ros.evaluation.film import CAMERAS, Film
from octo_ros.evaluation.plan import Planned, planned
from octo_ros.evaluation.score import EpisodeScore, Evaluation
from octo_ros.evaluation.settings import Setting
from octo_ros.nodes.demo import isolate_dds
from octo_ros.nodes.eval_operator import Operator
from octo_ros.nodes.processes import NodeProcess, NodeProcessError, running
from octo_ros.resources import robot_urdf, share_path
from octo_ros.types import NANOSECONDS

RESET_S = 60.0
"""How long a refused reset of the filter is asked again [s]; the cell may take its time to start."""

LOCKSTEP_S = 60.0
"""How long the cell's clock waits for a late action or command, before the episode is aborted [s]."""

POLICY_HZ = 20.0
"""Periods of the policy a second, two for each set of pictures: it takes each at once, and the clock, which
waits for the answer, need not go on to a period's beginning [Hz]."""

IN_VAIN = f"no action or no command came within {LOCKSTEP_S:g} s, for which the cell's clock waited"

SLOWEST = 20.0
"""Real seconds in a simulated one from which an episode counts as hung."""

FASTEST = 4.0
"""Simulated seconds in a real one, at most: the filter looks at joint states every 20 ms of real time,
and holds the arm where they are older than 100 ms of simulated time."""


def evaluate(
    bundle: Path,
    robot: str,
    setting: Setting,
    logs: Path,
    *,
    episodes: int,
    seed: int = 0,
    task: str = "all",
    swap: bool = False,
    episode_s: float = 15.0,
    speed: float = 1.0,
    film: Film | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Runs episodes through the real nodes.

    Args:
        bundle: the policy's.
        robot: "panda" or "ur5e".
        setting: parameters that are not the defaults.
        logs: folder for the nodes' output.
        episodes: how many seeds.
        seed: of the first episode; the next ones count on.
        task: "all", a verb, or an instruction.
        swap: whether each seed is run twice, the second time with the words for another cube.
        episode_s: simulated time after which an episode has failed [s].
        speed: simulated seconds in a real one, where the machine can keep it; at most `FASTEST`.
        film: takes pictures of the first episodes.
        progress: is told how many episodes of how many are done.

    Raises:
        ParameterError: a speed out of range, no episode, or a task that there is not.
        BundleError: a bundle that cannot be read, or that takes no sentences.
        NodeProcessError: a node did not start, did not answer or ended, or an episode hangs.
    """
    if not 0.0 < speed <= FASTEST:
        raise ParameterError(f"speed: expected above 0 and at most {FASTEST:g}, got {speed:g}")
    plan = planned(task, seed, episodes, swap)
    manifest = read_bundle(bundle)
    if manifest.language is None or manifest.language.tokenizer_file is None:
        raise BundleError(f"{bundle}: takes no sentences; export it again with --tokenizer")
    logs.mkdir(parents=True, exist_ok=True)
    isolate_dds()
    rclpy.init()
    operator = Operator(film)
    cell = {"robot": robot, "episode_s": episode_s, "real_time_factor": speed, "lockstep_s": LOCKSTEP_S}
    cell["cameras"] = _cameras(manifest, film)
    try:
        with _nodes(operator, bundle, robot, setting, cell, logs) as nodes:
            return _run(operator, nodes, setting, plan, SLOWEST * episode_s, logs, progress)
    finally:
        operator.destroy_node()
        rclpy.try_shutdown()


def _cameras(manifest: Manifest, film: Film | None) -> str:
    """The cell's cameras that are looked at, as a parameter: the bundle's, or all of them for a film."""
    known = manifest.cameras if film is None else CAMERAS
    return f"[{', '.join(name for name in CAMERAS if name in known) or ', '.join(CAMERAS)}]"


def _nodes(
    operator: Operator, bundle: Path, robot: str, setting: Setting, cell: dict[str, object], logs: Path
) -> AbstractContextManager[dict[str, NodeProcess]]:
    """The cell and the two nodes, active; ended on leaving. The filter's rate is that of simulated time."""
    common = {"bundle": bundle, "data_rate_hz": 10.0, "use_sim_time": True}
    rate_hz = 100.0 * max(float(cell["real_time_factor"]), 1.0)
    arm = {"urdf_file": robot_urdf(robot), "command_rate_hz": rate_hz}
    parameters = {
        "sim_cell_node": {**cell, **setting.cell},
        "policy_node": {**common, "rate_hz": POLICY_HZ, "seed": 0, **setting.policy},
        "safety_filter_node": {**common, **arm, **setting.safety},
    }
    file = share_path(f"config/{robot}.yaml")
    active = ("safety_filter_node", "policy_node")
    return running(operator, parameters, logs, files=dict.fromkeys(active, file), active=active)


def _run(
    operator: Operator,
    nodes: dict[str, NodeProcess],
    setting: Setting,
    plan: Sequence[Planned],
    patience_s: float,
    logs: Path,
    progress: Callable[[int, int], None] | None,
) -> Evaluation:
    """All episodes of the plan; the scores so far are in episodes.json of the logs."""
    scores: list[EpisodeScore] = []
    begun_s = begun_ns = 0
    for number, one in enumerate(plan):
        if progress is not None:
            progress(number, len(plan))
        _begin(operator, nodes, one)
        if number == 0:  # the cell has started
            begun_s, begun_ns = time.monotonic(), operator.look_at_clock()
        _wait(operator, nodes, one, patience_s)
        if operator.result == "abort":
            raise NodeProcessError(f"episode of seed {one.seed}: {IN_VAIN}; see {logs}")
        scores.append(operator.score(one))
        (logs / "episodes.json").write_text(json.dumps([vars(score) for score in scores], indent=2))
    simulated_s = (operator.look_at_clock() - begun_ns) / NANOSECONDS
    return Evaluation(setting.name, tuple(scores), time.monotonic() - begun_s, simulated_s)


def _begin(operator: Operator, nodes: dict[str, NodeProcess], planned: Planned) -> None:
    """Begins an episode. The filter is ready before the arm is put elsewhere: it takes over where that is."""
    cell, policy, safety = (nodes[f"{name}_node"] for name in ("sim_cell", "policy", "safety_filter"))
    safety.trigger(operator, "e_stop")
    policy.trigger(operator, "reset_history")
    safety.trigger(operator, "reset", RESET_S)
    cell.set(operator, task=planned.task.instruction, seed=planned.seed)
    operator.begin()
    cell.trigger(operator, "reset")


def _wait(operator: Operator, nodes: dict[str, NodeProcess], planned: Planned, patience_s: float) -> None:
    """Until the episode has ended."""
    deadline = time.monotonic() + patience_s
    while not operator.ended:
        rclpy.spin_once(operator, timeout_sec=0.1)
        if time.monotonic() > deadline:
            raise NodeProcessError(f"episode of seed {planned.seed}: no end after {patience_s:g} s")
        for node in nodes.values():
            node.check()
