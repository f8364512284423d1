"""`octo_ros bench`: one bundle in every way that is worth comparing, each in a process of its own."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

from octo_ros.benchmark.measure import Measurement, Setup, measure
from octo_ros.engine import ON_CPU
from octo_ros.engine.bundle import read_bundle
from octo_ros.engine.graphs import STEP
from octo_ros.engine.manifest import Manifest
from octo_ros.engine.onnx import import_onnxruntime

LIBRARIES = ("octo_ros", "numpy")


@dataclass(frozen=True)
class Report:
    """What a run of `bench` found.

    Attributes:
        bundle: name of its checkpoint.
        parameters: of the whole checkpoint.
        machine: processor and cores.
        versions: of the libraries that matter.
        measurements: the first is the one that others are compared with: its way straight through.
    """

    bundle: str
    parameters: int
    machine: str
    versions: dict[str, str]
    measurements: tuple[Measurement, ...]

    def to_json(self) -> str:
        """The report for machines; times in seconds, memory in bytes."""
        return json.dumps(asdict(self), indent=2) + "\n"


def bench(
    bundle: str | Path,
    *,
    checkpoint: str | Path | None = None,
    int8: str | Path | None = None,
    backend: str = ON_CPU,
    precision: str = "",
    engine: str | Path | None = None,
    threads: int = 2,
    steps: int = 50,
    rounds: int = 1,
    progress: Callable[[str, int, int], None] | None = None,
) -> Report:
    """Measures a bundle.

    Args:
        bundle: its folder.
        checkpoint: the checkpoint it was exported from; PyTorch, eager, is then the peer.
        int8: folder of the bundle's int8 copy, to be measured too.
        backend, precision, engine: a GPU's, as `make_backend` takes them: it is then measured beside the
            CPU's stages alone.
        threads: CPU threads of the float32 rows.
        steps: measured a setup.
        rounds: times that all setups are measured in turn; of each the best median is kept, for
            other programs' work can only add.
        progress: called as (label, done, total).

    Raises:
        BundleError: a bundle that cannot be read or run.
        OctoRosError: a measuring process that failed.
    """
    manifest = read_bundle(bundle)
    setups = list(default_setups(manifest, Path(bundle), checkpoint, int8, threads))
    if backend != ON_CPU:
        setups = gpu_setups(setups, backend, precision, engine)
    best: dict[str, Measurement] = {}
    for done in range(rounds * len(setups)):
        setup = setups[done % len(setups)]
        if progress is not None:
            progress(setup.label, done, rounds * len(setups))
        got = measure(setup, steps)
        known = best.get(setup.label)
        if known is None or got.critical.p50 < known.critical.p50:
            best[setup.label] = got
    versions = {name: version(name) for name in (*LIBRARIES, *["torch"] * (checkpoint is not None))}
    versions["onnxruntime"] = import_onnxruntime().__version__  # of onnxruntime-gpu, where that is installed
    parameters = int(manifest.checkpoint["parameters"])
    return Report(str(manifest.checkpoint["name"]), parameters, machine(), versions, tuple(best.values()))


def default_setups(
    manifest: Manifest,
    bundle: Path,
    checkpoint: str | Path | None,
    int8: str | Path | None,
    threads: int,
) -> Sequence[Setup]:
    """The peers, then the stages with the settings that change speed or memory, one at a time."""
    path = str(bundle)
    setups = []
    if checkpoint is not None:
        setups.append(Setup("PyTorch eager, whole", "torch", str(checkpoint), threads=threads))
    setups.append(Setup("whole graph", "whole", path, manifest.precision, threads))
    if STEP not in manifest.graphs:
        return setups
    ways = {
        "stages, history prepacked": {"prepacked": ["step", "history"]},
        "stages, nothing prepacked": {"prepacked": []},
        "stages, no memory arena": {"arena": False},
    }
    stages = Setup("stages", "stages", path, manifest.precision, threads)
    setups += [stages, replace(stages, label="stages, threads spin", spinning=True)]
    setups += [replace(stages, label=label, settings=settings) for label, settings in ways.items()]
    setups.append(replace(stages, label="stages, 1 thread", threads=1))
    if int8 is not None:
        quantized = replace(stages, label="stages, int8", path=str(int8), precision="int8")
        setups += [quantized, replace(quantized, label="stages, int8, threads spin", spinning=True)]
    return setups


def gpu_setups(
    setups: Sequence[Setup], backend: str, precision: str, engine: str | Path | None
) -> list[Setup]:
    """PyTorch where it is among the setups, the CPU's stages (or whole graph), and the same on a GPU."""
    peers = [setup for setup in setups if setup.kind == "torch"]
    stages = next((setup for setup in setups if setup.kind == "stages"), setups[-1])
    label = f"{stages.label}, {backend} {precision}".rstrip()
    gpu = replace(
        stages,
        label=label,
        backend=backend,
        precision=precision,
        engine="" if engine is None else str(engine),
    )
    return [*peers, stages, gpu]


def machine() -> str:
    """The processor's name and the cores that this process may use."""
    name = platform.processor() or platform.machine()
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        name = next(
            line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")
        )
    except (OSError, StopIteration):
        pass
    return f"{name}, {len(os.sched_getaffinity(0))} cores"
