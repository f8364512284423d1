"""What the network reads: keys and sizes, from the configuration and the example batch.

The official code decides which keys a tokenizer takes by matching regular expressions against
the keys of the batch it is given; a checkpoint carries one such batch, so the answer is fixed
and found here once. Names of the network's inputs are made here too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from octo_ros.errors import CheckpointError
from octo_ros.model.config import ImageTokenizer, LanguageTokenizer, LowdimTokenizer, OctoConfig

PROPRIO = "proprio"
INSTRUCTION = "language_instruction"
LANGUAGE_TOKENS = "language_tokens"
TIMESTEP_MASK = "timestep_pad_mask"
NOISE_INIT = "noise_init"
NOISE_STEPS = "noise_steps"


def pad_mask_name(key: str) -> str:
    """Name of the input that says which frames (or instructions) under `key` are real."""
    return f"pad_mask_{key}"


def goal_name(key: str) -> str:
    """Name of the goal image's input for an observation key such as "image_primary"."""
    return f"goal_{key}"


@dataclass(frozen=True)
class ImageStack:
    """The images one tokenizer stacks on channels.

    Attributes:
        frames: observation keys, in the order of their channels.
        goals: keys of the goal images that follow them.
        height: rows [pixel], the same for all.
        width: columns [pixel], the same for all.
    """

    frames: tuple[str, ...]
    goals: tuple[str, ...]
    height: int
    width: int


@dataclass(frozen=True)
class Inputs:
    """Everything the network reads.

    Attributes:
        window: timesteps.
        stacks: image tokenizer name to its images; a tokenizer without any is left out, as the
            official code leaves it out.
        proprio: lowdim tokenizer name to the number of values it takes.
        language: language tokenizer name to the number of tokens of an instruction.
    """

    window: int
    stacks: Mapping[str, ImageStack]
    proprio: Mapping[str, int]
    language: Mapping[str, int]

    @property
    def images(self) -> dict[str, tuple[int, int]]:
        """Observation key of every image to its (height, width) [pixel], sorted by key."""
        sizes = {key: (stack.height, stack.width) for stack in self.stacks.values() for key in stack.frames}
        return dict(sorted(sizes.items()))

    @property
    def goals(self) -> tuple[str, ...]:
        """Keys of the images that take a goal, sorted."""
        return tuple(sorted({key for stack in self.stacks.values() for key in stack.goals}))

    @property
    def proprio_size(self) -> int | None:
        """Values of proprioception, or None where no tokenizer takes any."""
        return next(iter(self.proprio.values()), None)

    @property
    def language_tokens(self) -> int | None:
        """Tokens of an instruction, or None where no tokenizer takes one."""
        return next(iter(self.language.values()), None)


def read_inputs(config: OctoConfig, example: Mapping[str, Any], where: str) -> Inputs:
    """Finds what each tokenizer takes out of the example batch.

    Args:
        config: the model.
        example: nested arrays with the keys "observation" (batch, window, ...) and "task" (batch, ...).
        where: the file's path, for messages.

    Raises:
        CheckpointError: a key or shape that the tokenizers cannot take.
    """
    observation, task = (_mapping(example, key, where) for key in ("observation", "task"))
    mask = _array(observation, TIMESTEP_MASK, 2, f"{where}: observation")
    window = mask.shape[1]
    if not 1 <= window <= config.max_horizon:
        raise CheckpointError(
            f"{where}: observation/{TIMESTEP_MASK}: expected 1 to {config.max_horizon} timesteps "
            f"(max_horizon), got shape {mask.shape}"
        )
    stacks, proprio, language = {}, {}, {}
    for name, tokenizer in config.observation_tokenizers.items():
        if isinstance(tokenizer, ImageTokenizer):
            stack = _stack(name, tokenizer, observation, task, window, where)
            if stack is not None:
                stacks[name] = stack
        else:
            size = _proprio(name, tokenizer, observation, window, where)
            if size is not None:
                proprio[name] = size
    for name, tokenizer in config.task_tokenizers.items():
        tokens = _language(name, tokenizer, task, where)
        if tokens is not None:
            language[name] = tokens
    if not stacks and not proprio:
        raise CheckpointError(
            f"{where}: observation: no tokenizer finds a key it takes, got {sorted(observation)}"
        )
    if len(language) > 1:
        raise CheckpointError(
            f"{where}: more than one language tokenizer is not supported, got {sorted(language)}"
        )
    inputs = Inputs(window, stacks, proprio, language)
    strangers = set(inputs.goals) - set(inputs.images)
    if strangers:
        raise CheckpointError(f"{where}: goal images of cameras that give no frames: {sorted(strangers)}")
    return inputs


def _matching(patterns: Sequence[str], keys: Sequence[str], where: str) -> list[str]:
    """The keys that begin with a match of any pattern, sorted, as the official code selects them."""
    try:
        return sorted(key for key in keys if any(re.match(pattern, key) for pattern in patterns))
    except re.error as error:
        raise CheckpointError(f"{where}: not a regular expression among {list(patterns)}: {error}") from error


def _stack(
    name: str,
    tokenizer: ImageTokenizer,
    observation: Mapping[str, Any],
    task: Mapping[str, Any],
    window: int,
    where: str,
) -> ImageStack | None:
    where_name = f"{where}: images of observation tokenizer {name!r}"
    frames = _matching(tokenizer.obs_stack_keys, list(observation), where_name)
    if not frames:
        if not tokenizer.proper_pad_mask:
            raise CheckpointError(f"{where_name}: no key matches {tokenizer.obs_stack_keys}")
        return None
    goals: list[str] = []
    if tokenizer.task_stack_keys:
        goals = _matching(tokenizer.task_stack_keys, list({*observation, *task}), where_name)
        if not goals:
            raise CheckpointError(f"{where_name}: no goal key matches {tokenizer.task_stack_keys}")
    shapes = {key: _image(observation, key, (window,), where_name) for key in frames}
    shapes.update({f"goal {key}": _image(task, key, (), where_name) for key in goals if key in task})
    if len(set(shapes.values())) > 1:
        raise CheckpointError(f"{where_name}: stacked images differ in size: {shapes}")
    return ImageStack(tuple(frames), tuple(goals), *shapes[frames[0]])


def _image(group: Mapping[str, Any], key: str, lead: tuple[int, ...], where: str) -> tuple[int, int]:
    array = group[key]
    if not key.startswith("image_") or not isinstance(array, np.ndarray):
        raise CheckpointError(f"{where}: {key}: only arrays under keys image_... are supported")
    ndim = 4 + len(lead)
    if array.ndim != ndim or array.dtype != np.uint8 or array.shape[-1] != 3 or array.shape[1:-3] != lead:
        expected = ("batch", *lead, "height", "width", 3)
        raise CheckpointError(f"{where}: {key}: expected {expected} uint8, got {array.shape} {array.dtype}")
    return array.shape[-3], array.shape[-2]


def _proprio(
    name: str, tokenizer: LowdimTokenizer, observation: Mapping[str, Any], window: int, where: str
) -> int | None:
    where_name = f"{where}: values of observation tokenizer {name!r}"
    keys = [
        key for pattern in tokenizer.obs_keys for key in _matching([pattern], list(observation), where_name)
    ]
    if not keys:
        if not tokenizer.proper_pad_mask or not tokenizer.obs_keys:
            raise CheckpointError(f"{where_name}: no key matches {tokenizer.obs_keys}")
        return None
    if keys != [PROPRIO]:
        raise CheckpointError(f"{where_name}: only the key {PROPRIO!r} is supported, got {keys}")
    array = _array(observation, PROPRIO, 3, where_name)
    if array.shape[1] != window or array.dtype != np.float32:
        raise CheckpointError(
            f"{where_name}: {PROPRIO}: expected (batch, {window}, values) float32, "
            f"got {array.shape} {array.dtype}"
        )
    return array.shape[2]


def _language(name: str, tokenizer: LanguageTokenizer, task: Mapping[str, Any], where: str) -> int | None:
    where_name = f"{where}: task tokenizer {name!r}"
    if INSTRUCTION not in task:
        if not tokenizer.proper_pad_mask:
            raise CheckpointError(f"{where_name}: no {INSTRUCTION} in task")
        return None
    instruction = task[INSTRUCTION]
    if not isinstance(instruction, dict) or set(instruction) != {"input_ids", "attention_mask"}:
        got = sorted(instruction) if isinstance(instruction, dict) else type(instruction).__name__
        raise CheckpointError(
            f"{where_name}: {INSTRUCTION}: expected input_ids and attention_mask, got {got}"
        )
    ids, mask = (_array(instruction, key, 2, where_name) for key in ("input_ids", "attention_mask"))
    if ids.shape != mask.shape or ids.dtype.kind not in "iu" or mask.dtype.kind not in "iub":
        raise CheckpointError(
            f"{where_name}: {INSTRUCTION}: expected integers (batch, tokens) twice, got "
            f"{ids.shape} {ids.dtype} and {mask.shape} {mask.dtype}"
        )
    return ids.shape[1]


def _mapping(body: Any, key: str, where: str) -> Mapping[str, Any]:
    if not isinstance(body, dict) or not isinstance(body.get(key), dict):
        raise CheckpointError(f"{where}: expected a dictionary {key!r}")
    return body[key]


def _array(group: Mapping[str, Any], key: str, ndim: int, where: str) -> np.ndarray:
    array = group.get(key)
    if not isinstance(array, np.ndarray) or array.ndim != ndim or array.size == 0:
        got = f"{array.shape} {array.dtype}" if isinstance(array, np.ndarray) else repr(array)
        raise CheckpointError(f"{where}: {key}: expected an array of {ndim} dimensions, got {got}")
    return array
