"""One measurement, in a process of its own so that its memory is its own: `python -m ...measure < JSON`."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from octo_ros.benchmark.energy import Counter, energy_counter
from octo_ros.engine import ON_CPU
from octo_ros.engine.backend import Backend
from octo_ros.engine.manifest import Manifest
from octo_ros.engine.network import Network, StagedNetwork, WholeNetwork
from octo_ros.errors import OctoRosError, ParameterError
from octo_ros.verify.checks import random_noise, random_task, random_timestep

WARM = 3
"""Steps that are run before measuring."""

FRAME = (480, 640, 3)
"""A camera's frame, of which the network's is made."""

SEED = 0

ENERGY_SECONDS = 5.0
"""Time that energy is counted for: the counters move some ten times a second."""


@dataclass(frozen=True)
class Setup:
    """What is measured.

    Attributes:
        label: for people.
        kind: "stages", "whole" (graphs of a bundle), or "torch" (a checkpoint in PyTorch, eager).
        path: of the bundle, or of the checkpoint.
        precision: of the matrices.
        threads: CPU threads.
        spinning: see `Backend`.
        settings: of `OnnxSettings`, those that differ from the defaults.
        backend: what runs the graphs; all but onnxruntime run an engine of this precision on a GPU.
        engine: its folder, empty for the one in the cache.
    """

    label: str
    kind: str
    path: str
    precision: str = "float32"
    threads: int = 2
    spinning: bool = False
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    backend: str = ON_CPU
    engine: str = ""


@dataclass(frozen=True)
class Timing:
    """Percentiles of a duration [s]."""

    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, durations: Sequence[float]) -> Timing:
        """Of these durations [s]."""
        return cls(*(float(value) for value in np.percentile(durations, (50, 95, 99))))


@dataclass(frozen=True)
class Measurement:
    """What came out.

    Attributes:
        setup: what was measured.
        steps: how many.
        critical: from frames of the network's size in hand to their action.
        work: all computing of a step, what is done ahead for the next one included.
        frames: making the network's frames of 640x480 ones on the CPU, which `critical` leaves out; None for
            torch.
        task: taking a new instruction, the text encoder included.
        open: loading, until the first action could be asked for.
        peak_bytes: largest resident memory of the whole process, Python included.
        weights_bytes: of all weights, the text encoder's included.
        device_bytes: of the GPU's memory, beyond what CUDA itself takes; None without a GPU or where
            cuda-bindings is not there to tell.
        joules: a step, of what `energy` says; None where nothing tells.
        energy: what was counted.
        details: of the backend.
        gpu_frames: the same frames made by the backend; None where its engine does not prepare them all.
    """

    setup: Setup
    steps: int
    critical: Timing
    work: Timing
    frames: Timing | None
    task: float
    open: float
    peak_bytes: int
    weights_bytes: int
    device_bytes: int | None = None
    joules: float | None = None
    energy: str = ""
    details: Mapping[str, str] = dataclasses.field(default_factory=dict)
    gpu_frames: Timing | None = None


def measure(setup: Setup, steps: int) -> Measurement:
    """Measures in a new process.

    Raises:
        OctoRosError: what that process raised, or that it failed.
    """
    order = json.dumps({"setup": dataclasses.asdict(setup), "steps": steps})
    command = [sys.executable, "-m", "octo_ros.benchmark.measure"]
    done = subprocess.run(command, input=order, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no message"
        raise OctoRosError(f"bench: {setup.label}: the measuring process failed: {reason}")
    body = json.loads(done.stdout.splitlines()[-1])
    timings = {
        name: None if body[name] is None else Timing(**body[name])
        for name in ("critical", "work", "frames", "gpu_frames")
    }
    return Measurement(**{**body, **timings, "setup": Setup(**body["setup"])})


def measure_here(setup: Setup, steps: int) -> Measurement:
    """Measures in this process, which should be a new one."""
    if setup.kind == "torch":
        return _torch(setup, steps)
    with ExitStack() as stack:
        return _graphs(setup, steps, stack)


def _graphs(setup: Setup, steps: int, stack: ExitStack) -> Measurement:
    from octo_ros.engine.bundle import read_bundle
    from octo_ros.policy.images import prepare_image

    directory = Path(setup.path)
    manifest = read_bundle(directory)
    held = device_memory() if setup.backend != ON_CPU else None
    started = time.perf_counter()
    backend = _backend(setup, directory, manifest)
    network = (StagedNetwork if setup.kind == "stages" else WholeNetwork)(backend)
    opened = time.perf_counter() - started
    rng = np.random.default_rng(SEED)
    started = time.perf_counter()
    network.set_task(random_task(backend, rng))
    network.prepare([])
    task = time.perf_counter() - started
    timesteps: list[dict[str, np.ndarray]] = []
    critical, work, frames = [], [], []
    raw = {name: rng.integers(0, 256, FRAME, dtype=np.uint8) for name in manifest.cameras}
    for index in range(WARM + steps):
        started = time.perf_counter()
        for name, camera in manifest.cameras.items():
            prepare_image(raw[name], camera.height, camera.width, camera.center_crop, name)
        made = time.perf_counter() - started
        timesteps = [*timesteps, random_timestep(manifest, rng, None)][-manifest.window :]
        noise = random_noise(manifest, rng)
        started = time.perf_counter()
        network.infer(timesteps, noise)
        acted = time.perf_counter()
        network.prepare(timesteps)
        ended = time.perf_counter()
        if index >= WARM:
            frames.append(made)
            critical.append(acted - started)
            work.append(ended - started)
    taken = None if held is None else device_memory() - held
    meter = energy_counter(stack) if setup.backend != ON_CPU else None
    joules, energy = (None, "") if meter is None else (_joules(network, meter[0], rng), meter[1])
    weights = sum(
        entry["bytes"] for name, entry in manifest.files.items() if name.endswith((".bin", ".onnx"))
    )
    return Measurement(
        setup, steps, Timing.of(critical), Timing.of(work), Timing.of(frames), task, opened,
        peak_memory(), weights, taken, joules, energy, backend.details(),
        _gpu_frames(backend, raw, steps),
    )  # fmt: skip


def _gpu_frames(backend: Backend, raw: Mapping[str, np.ndarray], steps: int) -> Timing | None:
    """How long the backend takes to prepare all cameras' frames, where it does."""

    def prepare() -> bool:
        crops = {name: backend.manifest.cameras[name].center_crop for name in raw}
        return all(backend.prepare_frame(name, raw[name], crops[name]) is not None for name in raw)

    return Timing.of(_timed(prepare, steps)) if prepare() else None


def _joules(network: Network, counter: Counter, rng: np.random.Generator) -> float:
    """Energy of a step, all its work, one step right after the other [J]."""
    manifest = network.manifest
    made = [random_timestep(manifest, rng, None) for _ in range(8)]
    noise, timesteps, steps = random_noise(manifest, rng), [], 0
    started, before = time.perf_counter(), counter()
    while time.perf_counter() - started < ENERGY_SECONDS:
        timesteps = [*timesteps, dict(made[steps % len(made)])][-manifest.window :]
        network.infer(timesteps, noise)
        network.prepare(timesteps)
        used, steps = counter() - before, steps + 1
    return used / steps


def _backend(setup: Setup, directory: Path, manifest: Manifest) -> Backend:
    from octo_ros.engine import make_backend
    from octo_ros.engine.onnx import OnnxBackend, OnnxSettings

    if setup.backend != ON_CPU:
        return make_backend(
            setup.backend, directory, manifest, setup.threads, setup.spinning,
            precision=setup.precision, engine=setup.engine or None,
        )  # fmt: skip
    settings = {**setup.settings}
    if "prepacked" in settings:
        settings["prepacked"] = tuple(settings["prepacked"])
    return OnnxBackend(directory, manifest, setup.threads, setup.spinning, OnnxSettings(**settings))


def device_memory() -> int | None:
    """Memory of the GPU that is in use, by any process [byte]; None where nothing tells."""
    from octo_ros.gpu.cuda import Cuda

    try:
        return Cuda().memory_in_use()
    except ParameterError:
        return None


def _torch(setup: Setup, steps: int) -> Measurement:
    """The straight way: the whole model at every step, the instruction encoded each time."""
    import torch

    from octo_ros.export.bundle import build_model
    from octo_ros.export.checkpoint import read_checkpoint
    from octo_ros.export.self_check import example_tensors

    torch.set_num_threads(setup.threads)
    started = time.perf_counter()
    checkpoint = read_checkpoint(setup.path)
    model, _ = build_model(checkpoint)
    opened = time.perf_counter() - started

    def step() -> None:
        model(**example_tensors(model, checkpoint.example))

    with torch.no_grad():
        durations = _timed(step, steps)
    timing = Timing.of(durations)
    weights = sum(array.nbytes for array in checkpoint.parameters.values())
    return Measurement(setup, steps, timing, timing, None, 0.0, opened, peak_memory(), weights)


def _timed(step: Callable[[], object], steps: int) -> list[float]:
    durations = []
    for index in range(WARM + steps):
        started = time.perf_counter()
        step()
        if index >= WARM:
            durations.append(time.perf_counter() - started)
    return durations


def peak_memory() -> int:
    """Largest resident memory of this process so far [byte]; of mapped files what was touched."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def main() -> int:
    """Reads an order, prints the measurement; returns the exit status."""
    order = json.load(sys.stdin)
    try:
        result = measure_here(Setup(**order["setup"]), order["steps"])
    except OctoRosError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(dataclasses.asdict(result)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
