"""From a checkpoint directory to an engine bundle."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

from octo_ros.engine.manifest import Graph, Manifest
from octo_ros.engine.onnx import OnnxBackend
from octo_ros.errors import BundleError, CheckpointError, StatisticsError
from octo_ros.export.checkpoint import Checkpoint, read_checkpoint
from octo_ros.export.data_sets import weights_license
from octo_ros.export.ddim import ddim_deviation, use_ddim
from octo_ros.export.describe import describe, language_entry, uncropped
from octo_ros.export.hub import Address, fetch_checkpoint, fetch_tokenizer, read_address
from octo_ros.export.model_card import complete
from octo_ros.export.onnx import example_inputs, graph_names, write_graph
from octo_ros.export.self_check import self_check
from octo_ros.export.weights import load_weights, t5_sizes
from octo_ros.export.weights_file import WeightsFile
from octo_ros.model.config import OctoConfig
from octo_ros.model.inputs import read_inputs
from octo_ros.model.octo import Octo
from octo_ros.model.official import read_config
from octo_ros.model.stages import Stages
from octo_ros.staging import check_target, new_folder

Progress = Callable[[str, int, int], None]

LOCAL_SOURCE = "a local folder"


def build_model(checkpoint: Checkpoint) -> tuple[Octo, OctoConfig]:
    """The checkpoint's model in PyTorch, with its weights, ready to run.

    Raises:
        CheckpointError: a configuration that is not supported, or weights that do not belong to it.
    """
    config = read_config(checkpoint.config, checkpoint.config_path)
    inputs = read_inputs(config, checkpoint.example, checkpoint.example_path)
    where = f"{checkpoint.directory}: step {checkpoint.step}"
    language = next(iter(inputs.language), None)
    t5 = None if language is None else t5_sizes(language, checkpoint.parameters, where)
    try:
        model = Octo(config, inputs, t5)
    except CheckpointError as error:
        raise CheckpointError(f"{checkpoint.config_path}: {str(error).removeprefix('config: ')}") from error
    load_weights(model, config, checkpoint.parameters, where)
    return model.eval(), config


def export_checkpoint(
    checkpoint_dir: str | Path,
    bundle_dir: str | Path,
    *,
    step: int | None = None,
    tokenizer: str | Path | None = None,
    dataset: str | None = None,
    notice: str = "",
    license: str | None = None,
    center_crop: bool = True,
    ddim: int | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Writes an engine bundle; nothing is left behind where that fails.

    Args:
        checkpoint_dir: an official Octo checkpoint directory, or its address on the Hugging Face hub,
            hf://owner/name or hf://owner/name@revision, from where it is fetched.
        bundle_dir: folder to write; must not exist or be empty.
        step: training step to take, or None for the latest.
        tokenizer: tokenizer.json or spiece.model, a folder holding one, or an address as above; None
            looks in the local Hugging Face cache, and goes without one, with a warning, where it is
            not there.
        dataset: data set whose statistics are the bundle's default.
        notice: a sentence shown wherever the bundle is used.
        license: of the weights; None for Octo's own where they are its released ones, else "not stated".
        center_crop: False for a checkpoint that was trained without the official random crops.
        ddim: denoise in this many steps without fresh noise; None for the head's own steps.
        progress: called as (stage, done, total) when a stage begins, and once when all are done.

    Returns:
        The bundle's manifest.

    Raises:
        CheckpointError: the checkpoint or the tokenizer cannot be fetched or used.
        StatisticsError: `dataset` is not one of the checkpoint's data sets.
        BundleError: the target is not empty or cannot be written, or a graph differs from PyTorch
            beyond tolerance.
        ParameterError: `ddim` does not fit the head.
    """
    target = Path(bundle_dir)
    check_target(target, BundleError)
    address, words = read_address(checkpoint_dir), None if tokenizer is None else read_address(tokenizer)
    stages = _Stages(progress, fetching=address is not None or words is not None)
    if address is not None or words is not None:
        stages.begin("fetch")
        checkpoint_dir = checkpoint_dir if address is None else fetch_checkpoint(address, step)
        tokenizer = tokenizer if words is None else fetch_tokenizer(words)
    stages.begin("read checkpoint")
    checkpoint = read_checkpoint(checkpoint_dir, step)
    if dataset is not None and dataset not in checkpoint.statistics:
        raise StatisticsError(
            f"{checkpoint.directory}: no data set {dataset!r}; "
            f"its statistics have: {sorted(checkpoint.statistics)}"
        )
    stages.begin("build model")
    model, config = build_model(checkpoint)
    language, tokenizer_path = language_entry(config, model, tokenizer, checkpoint)
    if ddim is not None:
        use_ddim(model, ddim)
    origin = _origin(checkpoint, address, license)
    with new_folder(target, BundleError) as folder:
        stages.begin("write graphs")
        graphs = write_graphs(model, folder)
        stages.begin("self-check")
        manifest = describe(checkpoint, config, model, language, graphs, dataset, notice, origin)
        if not center_crop:
            manifest = uncropped(manifest)
        with OnnxBackend(folder, manifest) as backend:
            checks = self_check(model, checkpoint.example, backend)
        if ddim is not None:
            checks |= ddim_deviation(model, checkpoint.example)
        stages.begin("write manifest")
        if tokenizer_path is not None and language is not None and language.tokenizer_file is not None:
            shutil.copyfile(tokenizer_path, folder / language.tokenizer_file)
        manifest = complete(folder, dataclasses.replace(manifest, checks=checks))
    stages.finish()
    return manifest


def write_graphs(model: Octo, directory: Path) -> dict[str, Graph]:
    """Writes every graph of a model into an existing folder, and their weights; the manifest's entries."""
    stages = Stages(model).eval()
    inputs = example_inputs(model, stages)
    with WeightsFile(directory) as weights:
        return {
            name: write_graph(stages, name, inputs[name], directory, weights) for name in graph_names(stages)
        }


class _Stages:
    """Tells the caller which stage begins."""

    ALL = ("fetch", "read checkpoint", "build model", "write graphs", "self-check", "write manifest")

    def __init__(self, progress: Progress | None, fetching: bool):
        self._progress = progress
        self._all = self.ALL if fetching else self.ALL[1:]

    def begin(self, stage: str) -> None:
        if self._progress is not None:
            self._progress(stage, self._all.index(stage), len(self._all))

    def finish(self) -> None:
        if self._progress is not None:
            self._progress("done", len(self._all), len(self._all))


def _origin(checkpoint: Checkpoint, address: Address | None, license: str | None) -> dict[str, str]:
    """The manifest's entries on where the checkpoint came from; no path of this machine."""
    owner, name = (None, checkpoint.name) if address is None else (address.owner, address.name)
    source = LOCAL_SOURCE if address is None else address.fetched(checkpoint.directory)
    return {"name": name, "source": source, "license": weights_license(license, owner, name)}
