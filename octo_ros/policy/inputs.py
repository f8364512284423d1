"""The border: what a caller hands in becomes the exact inputs of the "policy" graph, or an error.

Keys and shapes are those of the official code's own dictionaries. Nothing is guessed: a camera that
is not there is zeros and masked; a wrong shape or dtype is named. So is a key that the network does not
know while one that it takes is missing, which may be its misspelling. Where nothing is missing, a further
key is not read: official dictionaries hold more than every network takes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from octo_ros.engine.graphs import image_key, noise_tensors, vector_key
from octo_ros.engine.manifest import Camera, Manifest
from octo_ros.errors import ObservationError
from octo_ros.policy.instruction import Tokens, no_instruction

UNUSED = ("timestep", "task_completed")
"""Keys of official observations and tasks that the network does not look at; accepted, not read."""

PAD_MASKS = "pad_mask_dict"
INSTRUCTION = "language_instruction"

Encode = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]
"""Token ids and attention mask (1, max_tokens) int64 to "language_tokens"."""

_log = logging.getLogger(__name__)


def observation_inputs(
    manifest: Manifest, observations: Mapping[str, Any], timestep_pad_mask: Any
) -> dict[str, np.ndarray]:
    """Graph inputs of a window of observations.

    Args:
        manifest: of the bundle.
        observations: "image_<camera>" (1, window, H, W, 3) uint8, "proprio" (1, window, P) float,
            "pad_mask_dict" with a (1, window) bool for any of them. What is left out of the masks
            is not masked.
        timestep_pad_mask: (1, window) bool, False for a step before the first.

    Raises:
        ObservationError: naming the key, what was expected and what came.
    """
    window = (1, manifest.window)
    given = _mapping(observations, "observations")
    sources: dict[str, np.ndarray | None] = {}
    for name, camera in manifest.cameras.items():
        key = image_key(name)
        sources[key] = _image(given, key, (*window, *_frame(camera)), "observations")
    if manifest.proprio_size is not None:
        sources["proprio"] = _proprio(given, (*window, manifest.proprio_size))
    _check_keys(given, sources, [PAD_MASKS, "timestep_pad_mask", *UNUSED], "observations")
    if "timestep_pad_mask" in given:
        _array(given["timestep_pad_mask"], "observations.timestep_pad_mask", np.bool_, window)
    masks = _mapping(given.get(PAD_MASKS, {}), f"observations.{PAD_MASKS}")
    _check_keys(masks, sources, UNUSED, f"observations.{PAD_MASKS}")
    inputs = {"timestep_pad_mask": _array(timestep_pad_mask, "timestep_pad_mask", np.bool_, window)}
    for key, array in sources.items():
        inputs[f"pad_mask_{key}"] = _pad_mask(masks, key, window, array is not None)
        if array is not None:
            inputs[key] = array
        elif key == "proprio":
            inputs[key] = np.zeros((*window, manifest.proprio_size), dtype=np.float32)
        else:
            camera = manifest.cameras[key.removeprefix("image_")]
            inputs[key] = np.zeros((*window, *_frame(camera)), dtype=np.uint8)
    return inputs


def goal_inputs(manifest: Manifest, task: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Graph inputs of a task's goal images and arrays; zeros where there is none.

    Args:
        manifest: of the bundle.
        task: "image_<camera>" (1, H, W, 3) uint8, "language_instruction", "pad_mask_dict", and the
            manifest's `vectors` (1, ...) float.

    Raises:
        ObservationError: as `observation_inputs`.
    """
    given = _mapping(task, "task")
    inputs = {}
    for name, camera in manifest.cameras.items():
        if camera.takes_goal:
            image = _image(given, image_key(name), (1, *_frame(camera)), "task")
            inputs[f"goal_{image_key(name)}"] = (
                np.zeros((1, *_frame(camera)), dtype=np.uint8) if image is None else image
            )
    for name, shape in manifest.vectors.items():
        inputs[vector_key(name)] = _vector(given, name, (1, *shape))
    taken = [image_key(name) for name, camera in manifest.cameras.items() if camera.takes_goal]
    taken += list(dict.fromkeys([*manifest.vectors, *[INSTRUCTION] * manifest.reads_instruction()]))
    # The official code fills a task with goals of every camera, and with the instruction's pad mask.
    unread = [*map(image_key, manifest.cameras), INSTRUCTION, *UNUSED]
    _check_keys(given, taken, [PAD_MASKS, *unread], "task")
    masks = _mapping(given.get(PAD_MASKS, {}), f"task.{PAD_MASKS}")
    _check_keys(masks, taken, unread, f"task.{PAD_MASKS}")
    for key in taken:
        if key in masks:
            _array(masks[key], f"task.{PAD_MASKS}.{key}", np.bool_, (1,))
    if INSTRUCTION in manifest.vectors:
        inputs[f"pad_mask_{INSTRUCTION}"] = _pad_mask(masks, INSTRUCTION, (1,), INSTRUCTION in given)
    return inputs


def instruction_tokens(manifest: Manifest, task: Mapping[str, Any]) -> tuple[Tokens, np.ndarray]:
    """Tokens of a task's instruction and its pad mask (1,) bool; masked where there is none.

    Args:
        manifest: of a bundle with language.
        task: as in `goal_inputs`, checked by it; "language_instruction" is a dict of "input_ids" and
            "attention_mask", (1, max_tokens) integers each.

    Raises:
        ObservationError: as `observation_inputs`; also a token beyond the embedding table.
    """
    language = manifest.language
    masks = task.get(PAD_MASKS, {})
    if INSTRUCTION not in task:
        return no_instruction(language.max_tokens), _pad_mask(masks, INSTRUCTION, (1,), False)
    given = _mapping(task[INSTRUCTION], f"task.{INSTRUCTION}")
    _only_keys(given, ["input_ids", "attention_mask"], f"task.{INSTRUCTION}")
    arrays = {}
    for key in ("input_ids", "attention_mask"):
        where = f"task.{INSTRUCTION}.{key}"
        if key not in given:
            raise ObservationError(f"{where}: missing")
        arrays[key] = _array(given[key], where, np.integer, (1, language.max_tokens)).astype(np.int64)
    ids = arrays["input_ids"]
    if ids.min() < 0 or ids.max() >= language.vocab_size:
        expected = f"tokens from 0 to {language.vocab_size - 1}"
        raise ObservationError(
            f"task.{INSTRUCTION}.input_ids: expected {expected}, got {ids.min()} to {ids.max()}"
        )
    return Tokens(ids, arrays["attention_mask"]), _pad_mask(masks, INSTRUCTION, (1,), True)


def language_inputs(tokens: Tokens, pad_mask: np.ndarray, encode: Encode) -> dict[str, np.ndarray]:
    """Graph inputs of an instruction: its tokens encoded, and its pad mask (1,) bool."""
    ids = {"input_ids": tokens.input_ids, "attention_mask": tokens.attention_mask}
    return {**encode(ids), f"pad_mask_{INSTRUCTION}": pad_mask}


def network_inputs(
    manifest: Manifest,
    observations: Mapping[str, Any],
    task: Mapping[str, Any],
    timestep_pad_mask: Any,
    encode: Encode,
) -> dict[str, np.ndarray]:
    """Graph inputs of a window of observations and a task, all but the noise.

    Args:
        manifest: of the bundle.
        observations: as `observation_inputs` takes them.
        task: as `goal_inputs` and `instruction_tokens` take it.
        timestep_pad_mask: (1, window) bool.
        encode: runs the text encoder.

    Raises:
        ObservationError: as `observation_inputs`.
    """
    inputs = observation_inputs(manifest, observations, timestep_pad_mask)
    inputs |= goal_inputs(manifest, task)
    if manifest.language is not None:
        inputs |= language_inputs(*instruction_tokens(manifest, task), encode)
    return inputs


def noise_inputs(manifest: Manifest, noise: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Graph inputs of given noise: "init" (1, window, horizon * action_dim), "steps" (steps, 1, window, ...),
    "gumbel" (1, window, horizon, action_dim, bins), whichever the head takes. Action axes may be apart.

    Raises:
        ObservationError: as `observation_inputs`; also for a head that takes no noise.
    """
    tensors = noise_tensors(manifest, manifest.window)
    if not tensors:
        raise ObservationError(f"noise: this bundle's {manifest.head.kind} takes none")
    given = _mapping(noise, "noise")
    _only_keys(given, [name.removeprefix("noise_") for name in tensors], "noise")
    inputs = {}
    for name, tensor in tensors.items():
        key = name.removeprefix("noise_")
        if key not in given:
            raise ObservationError(f"noise.{key}: missing")
        value = np.asarray(given[key])
        apart = (*tensor.shape[:-1], manifest.horizon, manifest.action_dim)
        inputs[name] = _finite(
            value.reshape(tensor.shape) if value.shape == apart else value, f"noise.{key}", tensor.shape
        )
    return inputs


def _frame(camera: Camera) -> tuple[int, int, int]:
    return (camera.height, camera.width, 3)


def _image(given: Mapping[str, Any], key: str, shape: tuple[int, ...], where: str) -> np.ndarray | None:
    return _array(given[key], f"{where}.{key}", np.uint8, shape) if key in given else None


def _proprio(given: Mapping[str, Any], shape: tuple[int, ...]) -> np.ndarray | None:
    return _finite(given["proprio"], "observations.proprio", shape) if "proprio" in given else None


def _vector(given: Mapping[str, Any], key: str, shape: tuple[int, ...]) -> np.ndarray:
    return _finite(given[key], f"task.{key}", shape) if key in given else np.zeros(shape, np.float32)


def _pad_mask(masks: Mapping[str, Any], key: str, shape: tuple[int, ...], present: bool) -> np.ndarray:
    if key not in masks:
        return np.full(shape, present)
    mask = _array(masks[key], f"{PAD_MASKS}.{key}", np.bool_, shape)
    if not present and mask.any():
        raise ObservationError(f"{PAD_MASKS}.{key}: expected False, for there is no {key}; got True")
    return mask


def _finite(value: Any, where: str, shape: tuple[int, ...]) -> np.ndarray:
    array = _array(value, where, np.floating, shape).astype(np.float32)
    if not np.isfinite(array).all():
        raise ObservationError(f"{where}: expected finite numbers, got {array[~np.isfinite(array)][0]}")
    return array


def _array(value: Any, where: str, kind: type[np.generic], shape: tuple[int, ...]) -> np.ndarray:
    array = np.asarray(value)
    if array.shape != shape or not np.issubdtype(array.dtype, kind):
        expected = f"{kind.__name__.rstrip('_')} {shape}"
        raise ObservationError(f"{where}: expected {expected}, got {array.dtype} {array.shape}")
    return array


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ObservationError(f"{where}: expected a dictionary, got {type(value).__name__}")
    return value


def _check_keys(given: Mapping[str, Any], taken: Iterable[str], others: Iterable[str], where: str) -> None:
    """Refuses unknown keys where a taken one is missing; else logs that they are not read."""
    unknown = sorted(set(map(str, given)) - {*taken, *others})
    missing = sorted(set(taken) - set(given))
    if unknown and missing:
        missed = f"unknown, while {missing[0]} is missing"
        raise ObservationError(f"{where}.{unknown[0]}: {missed}; this bundle takes {', '.join(taken)}")
    if unknown:
        _log.warning("%s: not read, for this bundle does not take it: %s", where, ", ".join(unknown))


def _only_keys(given: Mapping[str, Any], keys: list[str], where: str) -> None:
    unknown = sorted(set(map(str, given)) - set(keys))
    if unknown:
        raise ObservationError(f"{where}.{unknown[0]}: unknown; expected {', '.join(keys)}")
