"""`octo_ros bench`: speed and memory of a bundle, or of the official sizes with random weights."""

from __future__ import annotations

import argparse
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from octo_ros.benchmark.bench import Report
from octo_ros.benchmark.measure import Measurement
from octo_ros.engine import ON_CPU
from octo_ros.errors import ParameterError
from octo_ros.verbs.engine_options import add_backend, engine
from octo_ros.verbs.progress import progress_bar


def add(verbs: Any) -> None:
    """Adds the verb."""
    parser = verbs.add_parser(
        "bench", help="measure a bundle's speed and memory against the straight ways of running it"
    )
    parser.add_argument("bundle", type=Path, nargs="?", help="engine bundle")
    parser.add_argument(
        "--size", choices=("small", "base"), help="an official size with random weights instead"
    )
    parser.add_argument(
        "--checkpoint", type=Path, help="the bundle's checkpoint: PyTorch is then measured too"
    )
    parser.add_argument("--int8", type=Path, help="the bundle's int8 copy (of --size one is made)")
    add_backend(parser)
    parser.add_argument("--ddim", type=int, metavar="STEPS", help="of --size: denoise in fewer steps")
    parser.add_argument("--keep", type=Path, help="of --size: keep checkpoint and bundles in this folder")
    cores = len(os.sched_getaffinity(0))
    parser.add_argument(
        "--threads", type=int, default=min(cores, 4), help="CPU threads (default: cores, 4 at most)"
    )
    parser.add_argument("--steps", type=int, default=50, help="steps measured of each way (default 50)")
    parser.add_argument(
        "--rounds", type=int, default=1, help="times all ways are measured in turn (default 1)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report as JSON too")
    parser.set_defaults(verb=run, needs="install octo_ros with its extra 'export'")


def run(options: argparse.Namespace) -> int:
    """Measures and prints."""
    from octo_ros.benchmark.bench import bench

    if (options.bundle is None) == (options.size is None):
        raise ParameterError("bench: expected a bundle or --size, and not both")
    for name in ("threads", "steps", "rounds"):
        if getattr(options, name) < 1:
            raise ParameterError(f"--{name}: expected at least 1, got {getattr(options, name)}")
    with ExitStack() as stack:
        bundle, checkpoint, int8 = options.bundle, options.checkpoint, options.int8
        if options.size is not None:
            from octo_ros.benchmark.sizes import prepare_size

            folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
            with progress_bar(f"octo-{options.size} with random weights") as tell:
                prepared = prepare_size(options.size, folder, options.ddim, tell)
            bundle, checkpoint, int8 = prepared.bundle, prepared.checkpoint, prepared.int8
            for compared, errors in prepared.checks.items():
                print(f"{compared}: " + ", ".join(f"{name} {error:.2g}" for name, error in errors.items()))
        with progress_bar("bench") as tell:
            report = bench(
                bundle, checkpoint=checkpoint, int8=int8, threads=options.threads, steps=options.steps,
                rounds=options.rounds, progress=tell, backend=options.backend, **engine(options),
            )  # fmt: skip
    show(report)
    if options.json is not None:
        options.json.write_text(report.to_json(), encoding="utf-8")
    return 0


def show(report: Report) -> None:
    """Prints a report: a row a way of running, ratios against the first."""
    from rich.console import Console
    from rich.table import Table

    versions = ", ".join(f"{name} {number}" for name, number in report.versions.items())
    print(f"{report.bundle}, {report.parameters / 1e6:.1f} M parameters; {report.machine}; {versions}")
    table = Table(
        caption="Milliseconds, from frames in hand to an action; work: all of a step; ratios to the first row"
    )
    table.add_column("", no_wrap=True)
    for column in ("to action p50", "p95", "p99", "work p50", "ratio", "work ratio", "peak MB", "of weights"):
        table.add_column(column, justify="right")
    peer = report.measurements[0]
    for row in report.measurements:
        critical, work = row.critical, row.work
        times = [critical.p50, critical.p95, critical.p99, work.p50]
        ratios = [critical.p50 / peer.critical.p50, work.p50 / peer.work.p50]
        table.add_row(
            row.setup.label,
            *(f"{value * 1e3:.1f}" for value in times),
            *(f"{value:.2f}" for value in ratios),
            f"{row.peak_bytes / 1e6:.0f}",
            f"{row.peak_bytes / row.weights_bytes:.2f}",
        )
    Console(width=max(120, Console().width)).print(table)
    for row in report.measurements:
        if row.setup.backend != ON_CPU:
            show_gpu(row)
    staged = next((row for row in report.measurements if row.frames is not None), None)
    if staged is not None:
        print(
            f"besides: the network's frames of 640x480 ones {staged.frames.p50 * 1e3:.1f} ms, "
            f"a new instruction {staged.task:.2f} s, opening {staged.open:.2f} s"
        )


def show_gpu(row: Measurement) -> None:
    """Prints what a GPU's row has besides its times."""
    memory = "not told" if row.device_bytes is None else f"{row.device_bytes / 1e6:.0f} MB"
    energy = "not told" if row.joules is None else f"{row.joules * 1e3:.1f} mJ a step of {row.energy}"
    if row.gpu_frames is not None:
        made, peer = (f"{one.p50 * 1e3:.2f} ms" for one in (row.gpu_frames, row.frames))
        energy += f"; all cameras' frames of 640x480 prepared in {made}, on the CPU {peer}"
    print(f"{row.setup.label}: at most {1 / row.work.p50:.0f} Hz; GPU memory {memory}; energy {energy}")
    print("  " + "; ".join(f"{name}: {value}" for name, value in row.details.items()))
