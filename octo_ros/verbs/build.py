"""`octo_ros build`: an engine for this machine's GPU, or the graphs of a precision."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from octo_ros.policy.options import NORMALIZATIONS
from octo_ros.verbs.engine_options import add_recording, recording
from octo_ros.verbs.progress import progress_bar


def add(verbs: Any) -> None:
    """Adds the verb."""
    parser = verbs.add_parser(
        "build", help="build the TensorRT engine of a bundle, and measure the error of its actions"
    )
    parser.add_argument("bundle", type=Path, help="float32 engine bundle")
    parser.add_argument("--precision", required=True, help="fp32, fp16 or int8; int8 needs --calibrate")
    parser.add_argument(
        "--target", default="here",
        help="orin or thor: refuse to build anywhere else (default here: whatever GPU this is)",
    )  # fmt: skip
    parser.add_argument(
        "--frames", action="append", default=[], metavar="CAMERA=WIDTHxHEIGHT",
        help="size of a camera's frames, which the GPU is then to resize and crop; repeatable, one size a "
        "camera (default: none, the CPU does it). Other sizes than an engine has are another engine: it is "
        "built anew and replaces that one",
    )  # fmt: skip
    add_recording(parser, "--calibrate", "calibrate and judge the precision with")
    parser.add_argument(
        "--normalization", choices=NORMALIZATIONS, default="mean_std", help="how actions were scaled"
    )
    parser.add_argument(
        "--limit-mm", type=float, default=1.0,
        help="largest 99th percentile of the translation error of an action [mm] (default 1)",
    )  # fmt: skip
    parser.add_argument(
        "--limit-degrees", type=float, default=0.2,
        help="largest 99th percentile of its rotation error [degree] (default 0.2)",
    )  # fmt: skip
    parser.add_argument(
        "--optimization-level",
        type=int,
        default=3,
        help="TensorRT's, 0 to 5: higher searches longer (default 3)",
    )
    parser.add_argument(
        "--graphs-only", type=Path, metavar="FOLDER",
        help="no GPU needed: write the graphs of the precision, for ONNX Runtime's providers, and measure "
        "them on the CPU",
    )  # fmt: skip
    parser.set_defaults(verb=run, needs="install octo_ros with its extra 'export'")


def run(options: argparse.Namespace) -> int:
    """Builds, and prints the error of the actions, and of the frames that the engine prepares."""
    from octo_ros.engine.frames import parse_sizes
    from octo_ros.gpu.acceptance import Limits
    from octo_ros.gpu.engines import build_engine, write_graphs

    limits = Limits(options.limit_mm / 1e3, options.limit_degrees)
    given, sizes = recording(options), parse_sizes(options.frames)
    with progress_bar("build") as tell:
        if options.graphs_only is not None:
            built = write_graphs(
                options.bundle, options.precision, options.graphs_only, given, limits, tell, sizes
            )
        else:
            built = build_engine(
                options.bundle, options.precision, given, limits, options.target,
                options.optimization_level, tell, sizes,
            )  # fmt: skip
    print(f"{built.folder}: {'built' if built.fresh else 'this very engine was there already'}")
    frames = (f"{camera} of {made}" for camera, made in built.engine.frames.items())
    print(f"prepares frames: {', '.join(frames) or 'none, the CPU does'}")
    print(f"measured with {built.engine.calibration}")
    for name, value in built.engine.checks.items():
        print(f"  {name} {value:.3g}")
    return 0
