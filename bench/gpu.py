"""The official sizes with random weights on this machine's GPU, by TensorRT; adds the results to a file.

What is added: date, GPU, versions and command, then a row for each size and precision. Actions of random
weights are no robot's, so their error is shown and not judged. Engines also prepare the cameras' frames, of
640x480: their time for both cameras is shown beside that of the CPU's `prepare_image`, and is no part of that
from frame to action.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from datetime import date
from pathlib import Path

from octo_ros.benchmark.bench import machine
from octo_ros.benchmark.measure import FRAME, Measurement, Setup, measure
from octo_ros.benchmark.sizes import SIZES, prepare_size
from octo_ros.engine.bundle import read_bundle
from octo_ros.gpu.acceptance import Limits
from octo_ros.gpu.engines import Built, build_engine
from octo_ros.gpu.judge import Recording
from octo_ros.verbs.progress import progress_bar

UNJUDGED = Limits(p99_m=1e3, p99_deg=1e3)
HEADER = (
    "| size, precision | frame to action p50 / p95 / p99 [ms] | all work p50 [ms] | Hz | GPU memory [MB] "
    "| energy a step [mJ] | translation, rotation p99 | frames on the GPU, on the CPU p50 [ms] "
    "| frames apart [levels], differing |\n|---|---|---|---|---|---|---|---|---|\n"
)


def row(name: str, got: Measurement, built: Built) -> str:
    """A row of the table."""
    times = " / ".join(
        f"{1e3 * value:.2f}" for value in (got.critical.p50, got.critical.p95, got.critical.p99)
    )
    memory = "not told" if got.device_bytes is None else f"{got.device_bytes / 1e6:.0f}"
    energy = "not told" if got.joules is None else f"{1e3 * got.joules:.1f}, {got.energy}"
    checks = built.engine.checks
    error = f"{1e3 * checks['translation_p99_m']:.2g} mm, {checks['rotation_p99_deg']:.2g} degrees"
    work = got.work.p50
    speed = f"{1e3 * work:.2f} | {1 / work:.0f}"
    return f"| {name} | {times} | {speed} | {memory} | {energy} | {error} | {frame_cells(got, built)} |\n"


def frame_cells(got: Measurement, built: Built) -> str:
    """How long frames take on the GPU and on the CPU, and how far the one's are from the other's."""
    times = ", ".join(
        "none" if one is None else f"{1e3 * one.p50:.2f}" for one in (got.gpu_frames, got.frames)
    )
    worst = [
        max(built.engine.checks[f"frames_{camera}_{name}"] for camera in built.engine.frames)
        for name in ("levels", "share")
    ]
    return f"{times} | {worst[0]}, {worst[1]:.3%}"


def section(rows: list[str], got: Measurement, built: Built) -> str:
    """What is added to the file."""
    versions = ", ".join(f"{name} {number}" for name, number in built.engine.versions.items())
    command = shlex.join(["python", *sys.argv])
    return (
        f"\n### {date.today().isoformat()}, {got.details['gpu']}\n\n"
        f"{machine()}; {versions}. `{command}`, {got.steps} steps a row, random weights.\n\n"
        f"{HEADER}{''.join(rows)}"
    )


def main() -> int:
    """Measures and writes; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", choices=sorted(SIZES), default=sorted(SIZES, reverse=True))
    parser.add_argument("--precisions", nargs="+", choices=("fp32", "fp16"), default=["fp16", "fp32"])
    parser.add_argument("--steps", type=int, default=300, help="measured in each row (default 300)")
    parser.add_argument("--keep", type=Path, default=Path("out/gpu"), help="where bundles are kept")
    parser.add_argument("--out", type=Path, required=True, help="Markdown file to add to")
    options = parser.parse_args()
    rows = []
    for size in options.sizes:
        with progress_bar(size) as tell:
            bundle = prepare_size(size, options.keep, progress=tell).bundle
            for precision in options.precisions:
                sizes = dict.fromkeys(read_bundle(bundle).cameras, FRAME[:2])
                built = build_engine(
                    bundle, precision, Recording(steps=50), UNJUDGED, progress=tell, sizes=sizes
                )
                setup = Setup(f"{size} {precision}", "stages", str(bundle), precision, backend="tensorrt")
                got = measure(setup, options.steps)
                rows.append(row(f"{size}, {precision}", got, built))
    with options.out.open("a", encoding="utf-8") as file:
        file.write(section(rows, got, built))
    print(section(rows, got, built))
    return 0


if __name__ == "__main__":
    sys.exit(main())
