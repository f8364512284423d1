"""From a checkpoint directory to an engine bundle."""

from __future__ import annotations

import dataclasses
import math
import os
import platform
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import onnx
import onnxruntime
import torch

from octo_ros.engine.bundle import MANIFEST, describe_file
from octo_ros.engine.manifest import Camera, Graph, Head, Language, Manifest
from octo_ros.engine.onnx import OnnxBackend
from octo_ros.errors import BundleError, CheckpointError, StatisticsError
from octo_ros.export.checkpoint import Checkpoint, read_checkpoint
from octo_ros.export.onnx import example_inputs, graph_names, write_graph
from octo_ros.export.self_check import self_check
from octo_ros.export.tokenizer import find_tokenizer, vocabulary_size
from octo_ros.export.weights import load_weights, t5_sizes
from octo_ros.export.weights_file import WeightsFile
from octo_ros.model.config import OctoConfig
from octo_ros.model.heads import Actions
from octo_ros.model.inputs import Inputs, read_inputs
from octo_ros.model.octo import Octo
from octo_ros.model.official import read_config
from octo_ros.model.stages import Stages
from octo_ros.staging import temporary_sibling

Progress = Callable[[str, int, int], None]

_CROPPED_CAMERA = "primary"


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
    model = Octo(config, inputs, t5)
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
    progress: Progress | None = None,
) -> Manifest:
    """Writes an engine bundle; nothing is left behind where that fails.

    Args:
        checkpoint_dir: an official Octo checkpoint directory.
        bundle_dir: folder to write; must not exist or be empty.
        step: training step to take, or None for the latest.
        tokenizer: tokenizer.json or spiece.model, or a folder holding one; None looks in the local
            Hugging Face cache, and goes without one, with a warning, where it is not there.
        dataset: data set whose statistics are the bundle's default.
        notice: a sentence shown wherever the bundle is used.
        progress: called as (stage, done, total) when a stage begins, and once when all are done.

    Returns:
        The bundle's manifest.

    Raises:
        CheckpointError: the checkpoint or the tokenizer cannot be used.
        StatisticsError: `dataset` is not one of the checkpoint's data sets.
        BundleError: the target is not empty, or a graph differs from PyTorch beyond tolerance.
    """
    target = Path(bundle_dir)
    _check_target(target)
    stages = _Stages(progress)
    stages.begin("read checkpoint")
    checkpoint = read_checkpoint(checkpoint_dir, step)
    if dataset is not None and dataset not in checkpoint.statistics:
        raise StatisticsError(
            f"{checkpoint.directory}: no data set {dataset!r}; "
            f"its statistics have: {sorted(checkpoint.statistics)}"
        )
    stages.begin("build model")
    model, config = build_model(checkpoint)
    language, tokenizer_path = _language(config, model, tokenizer, checkpoint)
    with temporary_sibling(target, BundleError) as folder:
        stages.begin("write graphs")
        graphs = write_graphs(model, folder)
        stages.begin("self-check")
        manifest = _manifest(checkpoint, config, model, language, graphs, dataset, notice)
        with OnnxBackend(folder, manifest) as backend:
            checks = self_check(model, checkpoint.example, backend)
        stages.begin("write manifest")
        if tokenizer_path is not None and language is not None and language.tokenizer_file is not None:
            shutil.copyfile(tokenizer_path, folder / language.tokenizer_file)
        files = {path.name: describe_file(path) for path in sorted(folder.iterdir())}
        manifest = dataclasses.replace(manifest, checks=checks, files=files)
        (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
        _check_target(target)
        try:
            os.replace(folder, target)
        except OSError as error:
            raise BundleError(f"{target}: cannot be written: {error}") from error
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

    ALL = ("read checkpoint", "build model", "write graphs", "self-check", "write manifest")

    def __init__(self, progress: Progress | None):
        self._progress = progress

    def begin(self, stage: str) -> None:
        if self._progress is not None:
            self._progress(stage, self.ALL.index(stage), len(self.ALL))

    def finish(self) -> None:
        if self._progress is not None:
            self._progress("done", len(self.ALL), len(self.ALL))


def _check_target(target: Path) -> None:
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise BundleError(
            f"{target}: expected a folder that does not exist yet or is empty, got a file or link"
        )
    if target.is_dir() and any(target.iterdir()):
        raise BundleError(
            f"{target}: expected a folder that does not exist yet or is empty; this one is not empty"
        )


def _language(
    config: OctoConfig, model: Octo, tokenizer: str | Path | None, checkpoint: Checkpoint
) -> tuple[Language | None, Path | None]:
    """The manifest's entry on language, and the tokenizer file to copy."""
    if model.text is None:
        if tokenizer is not None:
            raise CheckpointError(
                f"{checkpoint.directory}: reads no instruction, so it takes no tokenizer {tokenizer}"
            )
        return None, None
    length, text = model.inputs.language_tokens, config.text_processor
    if text is None:
        raise CheckpointError(
            f"{checkpoint.config_path}: text_processor: expected a tokenizer's name, got none"
        )
    if text.encode_with_model:
        raise CheckpointError(
            f"{checkpoint.config_path}: text_processor: encode_with_model true is not supported"
        )
    max_length = text.tokenizer_kwargs.get("max_length", length)
    if max_length != length:
        raise CheckpointError(
            f"{checkpoint.config_path}: text_processor: max_length: expected {length}, the length "
            f"of the example batch's instructions, got {max_length!r}"
        )
    path = find_tokenizer(tokenizer, text.tokenizer_name)
    if path is not None and (size := vocabulary_size(path)) > model.text.vocabulary:
        raise CheckpointError(
            f"{path}: expected ids below {model.text.vocabulary}, the rows of the checkpoint's embedding, "
            f"got ids up to {size - 1}; it was trained with the tokenizer {text.tokenizer_name!r}"
        )
    file = None if path is None else "tokenizer.json" if path.suffix == ".json" else "spiece.model"
    return Language(length, model.text.vocabulary, text.tokenizer_name, file), path


def _manifest(
    checkpoint: Checkpoint,
    config: OctoConfig,
    model: Octo,
    language: Language | None,
    graphs: dict[str, Graph],
    dataset: str | None,
    notice: str,
) -> Manifest:
    """What the bundle says of itself, before its files are hashed and its graphs checked."""
    inputs: Inputs = model.inputs
    cameras = {}
    for key, (height, width) in inputs.images.items():
        name = key.removeprefix("image_")
        cameras[name] = Camera(height, width, key in inputs.goals, name == _CROPPED_CAMERA)
    return Manifest(
        notice=notice,
        checkpoint={
            "name": checkpoint.name,
            "step": checkpoint.step,
            "parameters": sum(array.size for array in checkpoint.parameters.values()),
        },
        precision="float32",
        checks={},
        window=inputs.window,
        horizon=config.head.action_horizon,
        action_dim=config.head.action_dim,
        proprio_size=inputs.proprio_size,
        cameras=cameras,
        language=language,
        vectors=inputs.vectors,
        head=_head(config.head.name, model.head),
        statistics=checkpoint.statistics,
        default_dataset=dataset,
        graphs=graphs,
        files={},
        versions={
            "octo_ros": version("octo_ros"),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "onnx": onnx.__version__,
            "onnxruntime": onnxruntime.__version__,
        },
    )


def _head(kind: str, head: Actions) -> Head:
    sampler = "ddpm" if head.diffusion_steps else "none"
    bound = head.max_action if math.isfinite(head.max_action) else None
    return Head(kind, head.diffusion_steps, bound, sampler, head.bins)
