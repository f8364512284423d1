"""What the manifest of an exported checkpoint says."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import torch

from octo_ros.engine.manifest import Camera, Graph, Head, Language, Manifest
from octo_ros.errors import CheckpointError
from octo_ros.export.checkpoint import Checkpoint
from octo_ros.export.data_sets import data_sets
from octo_ros.export.official_names import T5_PREFIX
from octo_ros.export.tokenizer import find_tokenizer, vocabulary_size
from octo_ros.model.config import OctoConfig, TextProcessor
from octo_ros.model.heads import Actions
from octo_ros.model.heads.diffusion import DiffusionActions
from octo_ros.model.inputs import INSTRUCTION
from octo_ros.model.octo import Octo

_CROPPED_CAMERA = "primary"


def uncropped(manifest: Manifest) -> Manifest:
    """The manifest of a bundle that crops no camera."""
    cameras = {name: replace(camera, center_crop=False) for name, camera in manifest.cameras.items()}
    return replace(manifest, cameras=cameras)


def language_entry(
    config: OctoConfig, model: Octo, tokenizer: str | Path | None, checkpoint: Checkpoint
) -> tuple[Language | None, Path | None]:
    """The manifest's entry on language, and the tokenizer file to copy.

    Raises:
        CheckpointError: a text processor, a tokenizer or an example that does not fit the language encoder.
    """
    if model.text is None:
        if tokenizer is not None:
            raise CheckpointError(
                f"{checkpoint.directory}: reads no instruction, so it takes no tokenizer {tokenizer}"
            )
        return None, None
    length, text = model.inputs.language_tokens, config.text_processor
    if not isinstance(text, TextProcessor):
        got = "none" if text is None else text.name
        raise CheckpointError(
            f"{checkpoint.config_path}: text_processor: expected a tokenizer's name, got {got}"
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
    ids = checkpoint.example["task"][INSTRUCTION]["input_ids"]
    if ids.min() < 0 or ids.max() >= model.text.vocabulary:
        raise CheckpointError(
            f"{checkpoint.example_path}: task: {INSTRUCTION}: input_ids: expected ids below "
            f"{model.text.vocabulary}, the rows of the checkpoint's embedding, got {ids.min()} to {ids.max()}"
        )
    path = find_tokenizer(tokenizer, text.tokenizer_name)
    if path is not None and (size := vocabulary_size(path)) > model.text.vocabulary:
        raise CheckpointError(
            f"{path}: expected ids below {model.text.vocabulary}, the rows of the checkpoint's embedding, "
            f"got ids up to {size - 1}; it was trained with the tokenizer {text.tokenizer_name!r}"
        )
    file = None if path is None else "tokenizer.json" if path.suffix == ".json" else "spiece.model"
    return Language(length, model.text.vocabulary, text.tokenizer_name, file), path


def describe(
    checkpoint: Checkpoint,
    config: OctoConfig,
    model: Octo,
    language: Language | None,
    graphs: Mapping[str, Graph],
    dataset: str | None,
    notice: str,
    origin: Mapping[str, str],
) -> Manifest:
    """The manifest of a bundle before its graphs are checked and its files hashed.

    Args:
        checkpoint: that was read.
        config: its model.
        model: built from it.
        language: see `language_entry`.
        graphs: as they were written.
        dataset: data set whose statistics are the bundle's default, or None.
        notice: a sentence shown wherever the bundle is used.
        origin: "name" of the checkpoint, "source" it came from, "license" of its weights.
    """
    inputs = model.inputs
    cameras = {}
    for key, (height, width) in inputs.images.items():
        name = key.removeprefix("image_")
        cameras[name] = Camera(height, width, key in inputs.goals, name == _CROPPED_CAMERA)
    return Manifest(
        notice=notice,
        checkpoint={**origin, **_checkpoint_entry(checkpoint, config, model)},
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


def _checkpoint_entry(checkpoint: Checkpoint, config: OctoConfig, model: Octo) -> dict[str, Any]:
    """Sizes and data of the checkpoint."""
    encoders = tuple(f"{T5_PREFIX.format(language=name)}/" for name in model.inputs.language)
    sizes = {name: int(array.size) for name, array in checkpoint.parameters.items()}
    trunk = config.transformer
    return {
        "step": checkpoint.step,
        "parameters": sum(sizes.values()),
        "language_parameters": sum(size for name, size in sizes.items() if name.startswith(encoders)),
        "transformer": {
            "width": config.token_embedding_size,
            "layers": trunk.num_layers,
            "heads": trunk.num_attention_heads,
            "mlp": trunk.mlp_dim,
        },
        "datasets": data_sets(checkpoint.statistics),
    }


def _head(kind: str, head: Actions) -> Head:
    sampler = "ddpm" if head.diffusion_steps else "none"
    if isinstance(head, DiffusionActions):
        sampler = head.sampler.name
    bound = head.max_action if math.isfinite(head.max_action) else None
    return Head(kind, head.diffusion_steps, bound, sampler, head.bins)
