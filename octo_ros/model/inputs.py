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
from octo_ros.model.support import check_text, check_window

PROPRIO = "proprio"
INSTRUCTION = "language_instruction"
LANGUAGE_TOKENS = "language_tokens"
TIMESTEP_MASK = "timestep_pad_mask"
NOISE_INIT = "noise_init"
NOISE_STEPS = "noise_steps"
NOISE_GUMBEL = "noise_gumbel"
NOISES = (NOISE_INIT, NOISE_STEPS, NOISE_GUMBEL)
"""Names of all noise that any head may take; `noise_shapes` of a head says which and how much."""


def pad_mask_name(key: str) -> str:
    """Name of the input that says which frames (or instructions) under `key` are real."""
    return f"pad_mask_{key}"


def goal_name(key: str) -> str:
    """Name of the goal image's input for an observation key such as "image_primary"."""
    return f"goal_{key}"


def vector_name(key: str) -> str:
    """Name of the input for an array of the task, such as "language_instruction" already encoded."""
    return f"task_{key}"


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
        language: language tokenizer name to the number of tokens of an instruction, where it comes
            as token ids.
        vectors: task key to its shape without the batch axis, float32: arrays of the task that
            condition image encoders, and the instruction where it comes as one.
    """

    window: int
    stacks: Mapping[str, ImageStack]
    proprio: Mapping[str, int]
    language: Mapping[str, int]
    vectors: Mapping[str, tuple[int, ...]]

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
        """Token ids of an instruction, or None where no tokenizer takes any."""
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
    check_window(config, window, where)
    stacks, proprio, language, vectors = {}, {}, {}, {}
    for name, tokenizer in config.observation_tokenizers.items():
        if isinstance(tokenizer, ImageTokenizer):
            stack = _stack(name, tokenizer, observation, task, window, where)
            if stack is not None:
                stacks[name] = stack
                vectors |= _film(name, tokenizer, task, where)
        else:
            size = _proprio(name, tokenizer, observation, window, where)
            if size is not None:
                proprio[name] = size
    for name, tokenizer in config.task_tokenizers.items():
        if INSTRUCTION not in task:
            if not tokenizer.proper_pad_mask:
                raise CheckpointError(f"{where}: task tokenizer {name!r}: no {INSTRUCTION} in task")
        elif isinstance(task[INSTRUCTION], np.ndarray):
            vectors[INSTRUCTION] = _vectors(task, f"{where}: task tokenizer {name!r}")
        else:
            language[name] = _token_ids(name, tokenizer, task, where)
    if not stacks and not proprio:
        raise CheckpointError(
            f"{where}: observation: no tokenizer finds a key it takes, got {sorted(observation)}"
        )
    check_text(config, bool(language), where)
    if len(language) > 1:
        raise CheckpointError(
            f"{where}: more than one language tokenizer is not supported, got {sorted(language)}"
        )
    inputs = Inputs(window, stacks, proprio, language, vectors)
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


def _film(
    name: str, tokenizer: ImageTokenizer, task: Mapping[str, Any], where: str
) -> dict[str, tuple[int, ...]]:
    """The arrays that condition this tokenizer's encoder, key to shape; the keys are no patterns."""
    where_name = f"{where}: task_film_keys of observation tokenizer {name!r}"
    vectors = {}
    for key in tokenizer.task_film_keys:
        array = task.get(key)
        if not isinstance(array, np.ndarray) or array.ndim < 2 or array.dtype != np.float32 or not array.size:
            expected = "an array (batch, ..., values) float32 in task"
            raise CheckpointError(f"{where_name}: {key}: expected {expected}, got {_described(array)}")
        if not re.fullmatch(r"\w+", key):
            raise CheckpointError(f"{where_name}: expected plain names, got {key!r}")
        vectors[key] = array.shape[1:]
    if len({shape[:-1] for shape in vectors.values()}) > 1:
        raise CheckpointError(
            f"{where_name}: expected arrays that differ in the last axis alone, got {vectors}"
        )
    return vectors


def _vectors(task: Mapping[str, Any], where: str) -> tuple[int, ...]:
    """Shape of an instruction that comes as one vector or as one vector a token."""
    array = task[INSTRUCTION]
    if array.ndim not in (2, 3) or array.dtype != np.float32 or not array.size:
        expected = "token ids, or vectors (batch, values) or (batch, tokens, values) float32"
        raise CheckpointError(f"{where}: {INSTRUCTION}: expected {expected}, got {_described(array)}")
    return array.shape[1:]


def _token_ids(name: str, tokenizer: LanguageTokenizer, task: Mapping[str, Any], where: str) -> int:
    """Number of token ids of an instruction."""
    where_name = f"{where}: task tokenizer {name!r}"
    instruction = task[INSTRUCTION]
    if not isinstance(instruction, dict) or set(instruction) != {"input_ids", "attention_mask"}:
        got = sorted(instruction) if isinstance(instruction, dict) else type(instruction).__name__
        raise CheckpointError(
            f"{where_name}: {INSTRUCTION}: expected input_ids and attention_mask, or an array, got {got}"
        )
    ids, mask = (_array(instruction, key, 2, where_name) for key in ("input_ids", "attention_mask"))
    if ids.shape != mask.shape or ids.dtype.kind not in "iu" or mask.dtype.kind not in "iub":
        raise CheckpointError(
            f"{where_name}: {INSTRUCTION}: expected integers (batch, tokens) twice, got "
            f"{_described(ids)} and {_described(mask)}"
        )
    if tokenizer.encoder is None or "t5" not in tokenizer.encoder:
        raise CheckpointError(
            f"{where_name}: {INSTRUCTION} holds token ids, and of language encoders only T5 is supported: "
            f"expected encoder 't5-...', got {tokenizer.encoder!r}"
        )
    return ids.shape[1]


def _mapping(body: Any, key: str, where: str) -> Mapping[str, Any]:
    if not isinstance(body, dict) or not isinstance(body.get(key), dict):
        raise CheckpointError(f"{where}: expected a dictionary {key!r}")
    return body[key]


def _array(group: Mapping[str, Any], key: str, ndim: int, where: str) -> np.ndarray:
    array = group.get(key)
    if not isinstance(array, np.ndarray) or array.ndim != ndim or array.size == 0:
        raise CheckpointError(
            f"{where}: {key}: expected an array of {ndim} dimensions, got {_described(array)}"
        )
    return array


def _described(value: Any) -> str:
    """An array's shape and dtype, or what is there instead."""
    return f"{value.shape} {value.dtype}" if isinstance(value, np.ndarray) else f"{value!r:.80}"
