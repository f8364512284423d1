"""The Octo robot policy under ROS 2, from an exported engine bundle.

import octo_ros

policy = octo_ros.load_policy("bundle")
actions = policy.sample(observations, task, timestep_pad_mask=mask, seed=0)
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from octo_ros.policy.options import ActOptions
from octo_ros.types import Action, Observation, Task

if TYPE_CHECKING:
    from octo_ros.policy.policy import Policy

__all__ = ["ActOptions", "Action", "Observation", "Task", "load_policy"]


def load_policy(
    bundle_dir: str | Path,
    backend: str = "onnxruntime",
    options: ActOptions | None = None,
    *,
    threads: int | None = None,
    spinning: bool = False,
    precision: str = "",
    engine: str | Path | None = None,
) -> Policy:
    """Loads an engine bundle into a backend, all of it checked.

    Args:
        bundle_dir: folder that `octo_ros export` wrote.
        backend: what runs the network; that one or an error, never another.
        options: how `Policy.act` acts; None for the defaults.
        threads: CPU threads of the network, None for the machine's cores, 4 at most.
        spinning: whether these threads keep their cores busy while they wait within an inference:
            faster where no other program needs the cores, much slower where one does.
        precision: of a GPU's engine, "fp32", "fp16" or "int8"; may be left empty where `engine` says it.
        engine: folder that `octo_ros build` wrote, for a GPU; None for the one in the cache.

    Raises:
        BundleError: a bundle that is missing, incomplete, altered, or whose graphs do not fit it; an
            engine that is missing, stale or of another machine.
        ParameterError: an unknown backend or one that cannot run here, or options that do not fit the bundle.
        StatisticsError: the options name a data set that the bundle does not have.
    """
    from octo_ros.engine import make_backend
    from octo_ros.engine.bundle import read_bundle
    from octo_ros.engine.graphs import check_graphs
    from octo_ros.policy.policy import Policy

    manifest = read_bundle(bundle_dir)
    check_graphs(manifest, str(bundle_dir))
    opened = make_backend(
        backend, bundle_dir, manifest, threads, spinning, precision=precision, engine=engine
    )
    try:
        return Policy(opened, options or ActOptions())
    except BaseException:
        opened.close()
        raise
