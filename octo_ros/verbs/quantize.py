"""`octo_ros quantize`: an int8 copy of a bundle."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from octo_ros.verbs.progress import progress_bar


def add(verbs: Any) -> None:
    """Adds the verb."""
    parser = verbs.add_parser(
        "quantize", help="write a copy of a bundle whose transformer runs in int8 on a CPU"
    )
    parser.add_argument("bundle", type=Path, help="float32 engine bundle")
    parser.add_argument("target", type=Path, help="directory to write; must not exist or be empty")
    parser.set_defaults(verb=run, needs="install octo_ros with its extra 'export'")


def run(options: argparse.Namespace) -> int:
    """Writes the copy and prints how far it is from the original."""
    from octo_ros.export.int8 import quantize_bundle
    from octo_ros.verify.checks import AGAINST_FLOAT

    with progress_bar("quantize") as tell:
        manifest = quantize_bundle(options.bundle, options.target, tell)
    found = manifest.checks[AGAINST_FLOAT]
    print(
        f"{options.target}: normalized actions differ from float32 by {found['actions_mean']:.2g} "
        f"in the mean, p99 {found['actions_p99']:.2g}, at most {found['actions']:.2g}; "
        f"readout at most {found['readout']:.2g}"
    )
    return 0
