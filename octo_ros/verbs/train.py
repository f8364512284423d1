"""`octo_ros train`: a checkpoint in the official layout, from recorded episodes."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octo_ros.errors import OctoRosError, ParameterError
from octo_ros.verbs.progress import progress_bar

if TYPE_CHECKING:
    from octo_ros.train.options import TrainOptions
    from octo_ros.train.train import FineTune, Outcome, Scratch

_HEADS = ("diffusion", "l1", "mse")
_SIZES = ("micro", "tiny", "small")


def add(verbs: Any) -> None:
    """Adds the verb."""
    parser = verbs.add_parser("train", help="train a model, or fine-tune an official checkpoint, on episodes")
    parser.add_argument("data", type=Path, help="RLDS data set's folder (with features.json)")
    parser.add_argument("out", type=Path, help="checkpoint folder to write; must not exist or be empty")
    source = parser.add_argument_group("the model")
    source.add_argument("--from", dest="checkpoint", type=Path, help="fine-tune this checkpoint's folder")
    source.add_argument(
        "--from-step", type=int, metavar="N", help="of --from: its step (default: the latest)"
    )
    source.add_argument("--tokenizer", type=Path, help="of --from: tokenizer.json, spiece.model or a folder")
    source.add_argument("--size", choices=_SIZES, help="from scratch: its size (default tiny)")
    source.add_argument("--cameras", help="names, divided by commas (default: the checkpoint's, or all)")
    source.add_argument("--window", type=int, help="steps of history (default 2, or the checkpoint's)")
    source.add_argument("--horizon", type=int, help="actions of a chunk (default 4, or the checkpoint's)")
    source.add_argument("--head", choices=_HEADS, help="action head (default diffusion, or the checkpoint's)")
    source.add_argument("--proprio", action="store_true", help="from scratch: read the state as well")
    source.add_argument("--freeze", default="none", choices=("none", "head", "head_mlp"), help=(
        "of --from: train all (none), the head alone (head), the head without its attention (head_mlp)"
    ))  # fmt: skip
    source.add_argument("--frozen-key", action="append", default=[], metavar="PATTERN", help=(
        "official names to freeze as well, such as 'octo_transformer.obs_*'; repeatable"
    ))  # fmt: skip
    source.add_argument("--distill", action="store_true", help=(
        "of --from: --head l1 or mse learns what the checkpoint's diffusion head samples, not the data"
    ))  # fmt: skip
    run = parser.add_argument_group("the run")
    run.add_argument("--steps", type=int, default=1000, help="steps of the whole run (default 1000)")
    run.add_argument("--batch", type=int, default=16, help="samples a step (default 16)")
    run.add_argument("--rate", type=float, default=3e-4, help="learning rate after the warmup (default 3e-4)")
    run.add_argument("--warmup", type=int, help="its steps (default: a tenth of the run, 2000 at most)")
    run.add_argument("--schedule", default="cosine", choices=("cosine", "rsqrt", "constant"))
    run.add_argument("--ema", type=float, default=0.0, help="average the weights, such as 0.999 (default 0)")
    run.add_argument("--bf16", action="store_true", help="layers multiply in bfloat16")
    run.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default cpu)")
    run.add_argument("--seed", type=int, default=0, help="of every random choice (default 0)")
    run.add_argument("--workers", type=int, default=2, help="threads that prepare batches (default 2)")
    run.add_argument("--save-every", type=int, metavar="STEPS", help="default: a tenth of the run")
    run.add_argument(
        "--resume", action="store_true", help="go on with the run in OUT from its last saved step"
    )
    data = parser.add_argument_group("the data")
    data.add_argument("--split", default="train", help="of the data set (default train)")
    data.add_argument("--val-split", help="split to look at (default: one episode in 20 is held out)")
    data.add_argument("--val-data", type=Path, help="look at all of this data set instead (the same cameras)")
    data.add_argument("--name", help="data set's name in the statistics (default: its folder's)")
    data.add_argument("--statistics", type=Path, help="scale by this dataset_statistics.json, not the data's")
    data.add_argument("--keep-image", type=float, default=0.5, help=(
        "probability that a sample has goal images instead of words (default 0.5)"
    ))  # fmt: skip
    data.add_argument("--past-goal", default="mask", choices=("mask", "hold"), help=(
        "actions past the goal: left out of the loss as in the official code (default), or hold still"
    ))  # fmt: skip
    data.add_argument("--first", default=":0", metavar="WORD:STEPS", help=(
        "the first steps learn from instructions with this word alone, such as red:300"
    ))  # fmt: skip
    data.add_argument("--no-augment", action="store_true", help="leave pictures as they are")
    parser.set_defaults(verb=run_verb, needs="install octo_ros with its extra 'export'")


def run_verb(options: argparse.Namespace) -> int:
    """Trains, and prints what came of it and how to export it."""
    from octo_ros.train.rlds import read_split
    from octo_ros.train.train import train

    name = options.name or _name(options.data)
    episodes = read_split(options.data, options.split)
    if options.val_split is not None and options.val_data is not None:
        raise ParameterError("--val-split and --val-data: expected one of them")
    validation = None
    if options.val_split is not None or options.val_data is not None:
        validation = read_split(options.val_data or options.data, options.val_split or "all")
    statistics = None if options.statistics is None else _read(options.statistics)
    with progress_bar("train") as tell:
        outcome = train(
            episodes,
            options.out,
            _model(options),
            _options(options),
            name=name,
            validation=validation,
            statistics=statistics,
            resume=options.resume,
            progress=tell,
        )
    show(outcome, options.out, name, cropped=not options.no_augment)
    return 0


def show(outcome: Outcome, out: Path, name: str, cropped: bool = True) -> None:
    """Prints a run's end."""
    from octo_ros.train.run import TRAINING

    print(f"{outcome.parameters / 1e6:.1f} M parameters, {outcome.trainable / 1e6:.1f} M of them trained")
    for what, names in (("new weights", outcome.new), ("weights left out", outcome.left)):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            print(f"{what}: {', '.join(names[:3])}{more}")
    errors = outcome.trained.errors
    seen = "held-out episodes" if outcome.held_out else "training episodes (none were held out)"
    shown = ", ".join(
        f"{axis} {value:.2f}" if axis == "gripper" else f"{axis} {value * 1e3:.1f} m{_unit(axis)}"
        for axis, value in errors.first.items()
    )
    print(f"mean error of the next action, {errors.samples} samples of {seen}: {shown}")
    print(f"{out}: step {outcome.trained.step}; log and curves in {out / TRAINING}")
    words = [] if outcome.words is None else ["--tokenizer", str(outcome.words)]
    command = ["octo_ros", "export", str(out), f"{out}_bundle", *words, "--dataset", name]
    command += [] if cropped else ["--no-crop"]
    print(f"to run it: {shlex.join(command)}")


def _unit(axis: str) -> str:
    return "rad" if axis in ("droll", "dpitch", "dyaw") else "m"


def _model(options: argparse.Namespace) -> Scratch | FineTune:
    from octo_ros.train.sizes import SIZES
    from octo_ros.train.start import Wishes
    from octo_ros.train.train import FineTune, Scratch

    cameras = None
    if options.cameras is not None:
        cameras = tuple(name.strip() for name in options.cameras.split(",") if name.strip())
    scratch = options.checkpoint is None
    given = {
        "--freeze": scratch and options.freeze != "none",
        "--from-step": scratch and options.from_step is not None,
        "--tokenizer": scratch and options.tokenizer is not None,
        "--distill": scratch and options.distill,
        "--size": not scratch and options.size is not None,
        "--proprio": not scratch and options.proprio,
    }
    for name, wrong in given.items():
        if wrong:
            other = "from scratch; give --from" if scratch else "of --from, which the checkpoint decides"
            raise ParameterError(f"{name}: is not for a model {other}")
    if scratch:
        return Scratch(
            SIZES[options.size or "tiny"], cameras, options.window or 2, options.horizon or 4,
            options.head or "diffusion", options.proprio,
        )  # fmt: skip
    wishes = Wishes(cameras, options.window, options.horizon, options.head)
    return FineTune(options.checkpoint, options.from_step, wishes, options.tokenizer, options.distill)


def _options(options: argparse.Namespace) -> TrainOptions:
    from octo_ros.train.batches import SampleOptions
    from octo_ros.train.options import TrainOptions

    augmentations = {} if options.no_augment else None
    word, _, first_steps = options.first.partition(":")
    if not first_steps.isdecimal():
        raise ParameterError(f"--first: expected WORD:STEPS such as red:300, got {options.first!r}")
    return TrainOptions(
        steps=options.steps, batch=options.batch, peak=options.rate, warmup=options.warmup,
        schedule=options.schedule, ema=options.ema, freeze=options.freeze, bfloat16=options.bf16,
        frozen_keys=tuple(options.frozen_key), seed=options.seed, device=options.device,
        workers=options.workers, save_every=options.save_every,
        samples=SampleOptions(options.keep_image, options.past_goal, augmentations, word, int(first_steps)),
    )  # fmt: skip


def _name(data: Path) -> str:
    """A data set's name: its folder's, or its parent's where the folder is a version such as 1.0.0."""
    folder = data.resolve()
    return folder.parent.name if folder.name.replace(".", "").isdigit() else folder.name


def _read(path: Path) -> dict[str, Any]:
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OctoRosError(f"{path}: not a dataset_statistics.json: {error}") from error
    if not isinstance(body, dict):
        raise OctoRosError(f"{path}: expected a JSON object, got {type(body).__name__}")
    return body
