"""The model to begin with: from scratch, or a checkpoint's, whose weights are taken where they fit."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from octo_ros.errors import CheckpointError, ParameterError
from octo_ros.export.checkpoint import Checkpoint
from octo_ros.export.tokenizer import find_tokenizer
from octo_ros.export.weights import t5_sizes, weight_table
from octo_ros.model.config import OctoConfig, TextProcessor
from octo_ros.model.inputs import Inputs, read_inputs
from octo_ros.model.octo import Octo
from octo_ros.model.official import read_config
from octo_ros.train.initialise import initialise, place_patches
from octo_ros.train.sizes import ModelSize, head_module, image_tokenizer, scratch_config
from octo_ros.train.words import FILE, FOLDER, Encoder, small_t5

CONFIG = "config.json"
EXAMPLE = "example_batch.msgpack"

_IMAGE, _WRIST = 256, 128
"""Sides of the official frames, those of cameras named "wrist..." apart [pixel]."""


@dataclass(frozen=True)
class Start:
    """A model before its first step of training.

    Attributes:
        official: content of config.json.
        config: the same, read.
        model: with its weights.
        words: the tokenizer's file, None where the model reads no words.
        new: official names of weights that were drawn anew.
        left: official names of the checkpoint's weights that the model has no place for.
    """

    official: Mapping[str, Any]
    config: OctoConfig
    model: Octo
    words: Path | None
    new: tuple[str, ...] = ()
    left: tuple[str, ...] = ()

    @property
    def inputs(self) -> Inputs:
        """What the model reads."""
        return self.model.inputs

    def encoder(self) -> Encoder | None:
        """Instructions to tokens, None where the model reads no words."""
        if self.words is None or self.model.text is None:
            return None
        text = self.config.text_processor
        name = text.tokenizer_name if isinstance(text, TextProcessor) else ""
        return Encoder(self.words, self.inputs.language_tokens, self.model.text.vocabulary, name)


@dataclass(frozen=True)
class Wishes:
    """What a fine-tuning changes of its checkpoint's model; None keeps what the checkpoint has.

    Attributes:
        cameras: names of the cameras to read; one that the checkpoint does not know gets a new tokenizer.
        window: steps of history.
        horizon: actions of a chunk.
        head: another head, by a short name of `sizes.HEADS`.
        sizes: camera to (height, width) [pixel], for cameras that the checkpoint does not know; else the
            official sizes are taken.
    """

    cameras: tuple[str, ...] | None = None
    window: int | None = None
    horizon: int | None = None
    head: str | None = None
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def from_scratch(
    size: ModelSize,
    cameras: Sequence[str],
    window: int,
    horizon: int,
    head: str,
    state_size: int | None,
    words: Path | None,
    vocabulary: int,
    seed: int,
) -> Start:
    """A model with random weights.

    Args:
        size, cameras, window, horizon, head: see `scratch_config`.
        state_size: values of proprioception, None to read none.
        words: the tokenizer's file, None to read no words.
        vocabulary: its size.
        seed: of the weights.
    """
    official = scratch_config(size, cameras, window, horizon, head, state_size is not None, words is not None)
    config = read_config(official, CONFIG)
    sides = {f"image_{camera}": (size.side(camera),) * 2 for camera in cameras}
    example = example_arrays(sides, window, state_size, size.length if words is not None else None)
    t5 = None if words is None else small_t5(vocabulary)
    model = Octo(config, read_inputs(config, example, EXAMPLE), t5)
    initialise(model, torch.Generator().manual_seed(seed))
    place_patches(model)
    return Start(official, config, model, words)


def from_checkpoint(
    checkpoint: Checkpoint, wishes: Wishes, state_size: int | None, tokenizer: Path | None, seed: int
) -> Start:
    """A checkpoint's model, changed as wished; every weight that still fits is the checkpoint's.

    Args:
        checkpoint: that was read.
        wishes: what to change.
        state_size: values of proprioception in the data, None where there are none.
        tokenizer: its tokenizer's file or a folder that holds one; None looks in the checkpoint's own
            folder and in the Hugging Face cache.
        seed: of the weights that are new.

    Raises:
        CheckpointError: a model that is not supported, or no tokenizer.
        ParameterError: a wish that the checkpoint cannot meet.
    """
    before = read_config(checkpoint.config, checkpoint.config_path)
    had = read_inputs(before, checkpoint.example, checkpoint.example_path)
    if had.vectors:
        raise ParameterError(
            f"{checkpoint.config_path}: reads arrays of the task, {sorted(had.vectors)}: not supported here"
        )
    known = {key.removeprefix("image_"): size for key, size in had.images.items()}
    cameras = tuple(known) if wishes.cameras is None else wishes.cameras
    official = _changed(checkpoint.config, wishes, [name for name in cameras if name not in known])
    window = had.window if wishes.window is None else wishes.window
    official["window_size"] = window
    config = read_config(official, CONFIG)
    sides = {}
    for camera in cameras:
        side = _WRIST if camera.startswith("wrist") else _IMAGE
        sides[f"image_{camera}"] = known.get(camera) or wishes.sizes.get(camera, (side, side))
    if had.proprio_size is not None and state_size is None:
        raise ParameterError(f"{checkpoint.config_path}: reads proprioception, and the data has none")
    state = None if had.proprio_size is None else state_size
    inputs = read_inputs(config, example_arrays(sides, window, state, had.language_tokens), EXAMPLE)
    where = f"{checkpoint.directory}: step {checkpoint.step}"
    language = next(iter(inputs.language), None)
    t5 = None if language is None else t5_sizes(language, checkpoint.parameters, where)
    model = Octo(config, inputs, t5)
    initialise(model, torch.Generator().manual_seed(seed))
    new, left = take_weights(model, config, checkpoint.parameters)
    words = None if language is None else _tokenizer(checkpoint, config, tokenizer)
    return Start(official, config, model, words, new, left)


def take_weights(
    model: Octo, config: OctoConfig, parameters: Mapping[str, np.ndarray]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Takes every weight whose name and shape fit, as the official fine-tuning merges them.

    Returns:
        Official names of the weights that were not there or did not fit, and of those left over.
    """
    table, new = weight_table(model, config), []
    own = dict(model.named_parameters())
    with torch.no_grad():
        for weight in table:
            array = parameters.get(weight.official)
            if array is None or array.shape != weight.shape:
                new.append(weight.official)
            else:
                own[weight.ours].copy_(torch.from_numpy(np.array(weight.load(array), order="C")))
    left = set(parameters) - {weight.official for weight in table}
    return tuple(sorted(new)), tuple(sorted(left))


def example_arrays(
    sides: Mapping[str, tuple[int, int]], window: int, state_size: int | None, length: int | None
) -> dict[str, Any]:
    """An example batch of zeros, for what it says of keys and sizes.

    Args:
        sides: observation key to (height, width) [pixel].
        window: steps.
        state_size: values of proprioception, None for none.
        length: tokens of an instruction, None for none.
    """
    observation: dict[str, Any] = {
        key: np.zeros((1, window, *side, 3), np.uint8) for key, side in sides.items()
    }
    if state_size is not None:
        observation["proprio"] = np.zeros((1, window, state_size), np.float32)
    observation["pad_mask_dict"] = {key: np.ones((1, window), bool) for key in observation}
    observation["timestep_pad_mask"] = np.ones((1, window), bool)
    task: dict[str, Any] = {key: np.zeros((1, *side, 3), np.uint8) for key, side in sides.items()}
    if length is not None:
        ids = np.zeros((1, length), np.int64)
        task["language_instruction"] = {"input_ids": ids, "attention_mask": ids}
    task["pad_mask_dict"] = {key: np.ones(1, bool) for key in task}
    return {"observation": observation, "task": task}


def _changed(config: Mapping[str, Any], wishes: Wishes, new: Sequence[str]) -> dict[str, Any]:
    """config.json with the wishes in it."""
    official = copy.deepcopy(dict(config))
    model = official["model"]
    tokenizers = model["observation_tokenizers"]
    for camera in new:
        if camera in tokenizers:
            raise ParameterError(
                f"cameras: the checkpoint has a tokenizer {camera!r} that reads other images"
            )
        like = next((entry for entry in tokenizers.values() if "encoder" in entry["kwargs"]), None)
        entry = image_tokenizer(camera, (32, 96, 192, 384), 512)
        if like is not None:
            entry["kwargs"]["encoder"] = copy.deepcopy(like["kwargs"]["encoder"])
            if like["kwargs"].get("task_film_keys"):
                raise ParameterError(f"cameras: {camera}: the checkpoint's encoders read the task as well")
        tokenizers[camera] = entry
    action = model["heads"]["action"]
    if "pred_horizon" in action["kwargs"]:
        action["kwargs"]["action_horizon"] = action["kwargs"].pop("pred_horizon")
    if wishes.head is not None:
        horizon = action["kwargs"].get("action_horizon", 1)
        model["heads"]["action"] = head_module(wishes.head, horizon, action["kwargs"]["readout_key"])
    if wishes.horizon is not None:
        model["heads"]["action"]["kwargs"]["action_horizon"] = wishes.horizon
    return official


def _tokenizer(checkpoint: Checkpoint, config: OctoConfig, given: Path | None) -> Path:
    text = config.text_processor
    if not isinstance(text, TextProcessor):
        raise CheckpointError(f"{checkpoint.config_path}: text_processor: expected a tokenizer's name")
    own = checkpoint.directory / FOLDER / FILE
    if given is None and text.tokenizer_name == FOLDER and own.is_file():
        return own
    found = find_tokenizer(given, text.tokenizer_name)
    if found is None:
        raise CheckpointError(
            f"{checkpoint.directory}: no tokenizer {text.tokenizer_name!r} on this machine: give its file "
            "by --tokenizer"
        )
    return found
