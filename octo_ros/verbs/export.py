"""`octo_ros export`: an engine bundle from an official checkpoint."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from octo_ros.verbs.progress import progress_bar


def add(verbs: Any) -> None:
    """Adds the verb."""
    parser = verbs.add_parser("export", help="write an engine bundle from an official Octo checkpoint")
    parser.add_argument(
        "checkpoint",
        help="directory with config.json and <step>/default/checkpoint, or hf://owner/name[@revision]",
    )
    parser.add_argument("bundle", type=Path, help="directory to write; must not exist or be empty")
    parser.add_argument("--step", type=int, help="step to export (default: the latest)")
    parser.add_argument(
        "--tokenizer",
        help="tokenizer.json or spiece.model of the checkpoint's tokenizer, or hf://google-t5/t5-base",
    )
    parser.add_argument("--dataset", help="data set whose statistics are the bundle's default")
    parser.add_argument("--notice", default="", help="a sentence shown wherever the bundle is used")
    parser.add_argument(
        "--license",
        help="licence of the weights (default: MIT for hf://rail-berkeley/octo-*, else not stated)",
    )
    parser.add_argument(
        "--no-crop", action="store_true", help="the checkpoint was trained without the official random crops"
    )
    parser.add_argument(
        "--ddim",
        type=int,
        metavar="STEPS",
        help="denoise in this many steps without fresh noise instead of as trained; prints the deviation",
    )
    parser.set_defaults(verb=run, needs="install octo_ros with its extra 'export'")


def run(options: argparse.Namespace) -> int:
    """Writes the bundle and prints what was measured."""
    from octo_ros.export import export_checkpoint

    with progress_bar("export") as tell:
        manifest = export_checkpoint(
            options.checkpoint,
            options.bundle,
            step=options.step,
            tokenizer=options.tokenizer,
            dataset=options.dataset,
            notice=options.notice,
            license=options.license,
            center_crop=not options.no_crop,
            ddim=options.ddim,
            progress=tell,
        )
    print(
        f"{options.bundle}: cameras {', '.join(manifest.cameras)}; "
        f"window {manifest.window}; horizon {manifest.horizon}"
    )
    for compared, errors in manifest.checks.items():
        shown = ", ".join(f"{output} {error:.1e}" for output, error in errors.items())
        print(f"{compared}: {shown}")
    return 0
