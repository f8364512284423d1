"""What an export measures before its bundle appears: PyTorch against ONNX Runtime, stages against whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from octo_ros.engine.backend import Backend
from octo_ros.engine.graphs import LANGUAGE, POLICY, STEP
from octo_ros.errors import BundleError
from octo_ros.export.onnx import policy_zeros
from octo_ros.model.inputs import (
    INSTRUCTION,
    LANGUAGE_TOKENS,
    NOISES,
    PROPRIO,
    TIMESTEP_MASK,
    goal_name,
    pad_mask_name,
    vector_name,
)
from octo_ros.model.octo import Octo
from octo_ros.verify.checks import TOLERANCES, Check, check_episode, compare

NOISE_SEED = 0
EXAMPLE = "example batch"
AGAINST_TORCH = "ONNX Runtime against PyTorch"


def self_check(model: Octo, example: Mapping[str, Any], backend: Backend) -> dict[str, dict[str, float]]:
    """Runs the graphs on the checkpoint's own example batch, and over an episode.

    Args:
        model: with its weights, not folded: the other way through the same mathematics.
        example: the checkpoint's example batch, see `Checkpoint`.
        backend: of the bundle that is being written.

    Returns:
        Largest absolute error by what was compared and by output, "actions" unless every one
        saturates.

    Raises:
        BundleError: an error beyond its tolerance.
    """
    checks: list[Check] = []
    tokens_torch = tokens_onnx = None
    if model.text is not None:
        ids = _language_inputs(example)
        with torch.no_grad():
            tokens_torch = model.encode_language(**_tensors(ids)).numpy()
        tokens_onnx = backend.run_once(LANGUAGE, ids)[LANGUAGE_TOKENS]
        pair = ({LANGUAGE_TOKENS: tokens_torch}, {LANGUAGE_TOKENS: tokens_onnx})
        checks += compare(EXAMPLE, AGAINST_TORCH, *pair, backend, TOLERANCES)
    with torch.no_grad():
        answer = model(**_tensors(policy_example(model, example, tokens_torch)))
    expected = {name: tensor.numpy() for name, tensor in answer.items()}
    got = backend.run(POLICY, policy_example(model, example, tokens_onnx))
    checks += compare(EXAMPLE, AGAINST_TORCH, expected, got, backend, TOLERANCES)
    if STEP in backend.manifest.graphs:
        checks += check_episode(backend)
    errors: dict[str, dict[str, float]] = {}
    for check in checks:
        if not check.passed:
            raise BundleError(
                f"self-check: {check.case}: {check.compared}: {check.output} differs by {check.error:.3g}, "
                f"expected at most {check.tolerance:.3g}"
            )
        errors.setdefault(check.compared, {})[check.output] = check.error
    return errors


def example_tensors(model: Octo, example: Mapping[str, Any]) -> dict[str, Tensor]:
    """The example batch as the model takes it, its instruction encoded by the model itself."""
    tokens = None
    if model.text is not None:
        with torch.no_grad():
            tokens = model.encode_language(**_tensors(_language_inputs(example))).numpy()
    return _tensors(policy_example(model, example, tokens))


def policy_example(
    model: Octo, example: Mapping[str, Any], language: np.ndarray | None
) -> dict[str, np.ndarray]:
    """The example batch under the names of the policy graph's inputs, with noise from a fixed seed."""
    observation, task = example["observation"], example["task"]
    generator = np.random.default_rng(NOISE_SEED)
    given = {LANGUAGE_TOKENS: language, TIMESTEP_MASK: observation[TIMESTEP_MASK]}
    given.update({key: observation.get(key) for key in (*model.inputs.images, PROPRIO)})
    given.update({goal_name(key): task.get(key) for key in model.inputs.goals})
    given.update({vector_name(key): task.get(key) for key in model.inputs.vectors})
    masks = {**task.get("pad_mask_dict", {}), **observation.get("pad_mask_dict", {})}
    masks[INSTRUCTION] = task.get("pad_mask_dict", {}).get(INSTRUCTION)
    given.update({pad_mask_name(key): mask for key, mask in masks.items()})
    inputs = {}
    for name, tensor in policy_zeros(model).items():
        zeros = tensor.numpy()
        if name in NOISES:
            inputs[name] = generator.standard_normal(zeros.shape, dtype=np.float32)
        elif given.get(name) is not None:
            inputs[name] = given[name].astype(zeros.dtype).reshape(zeros.shape)
        else:
            inputs[name] = np.ones_like(zeros) if zeros.dtype == bool else zeros
    return inputs


def _language_inputs(example: Mapping[str, Any]) -> dict[str, np.ndarray]:
    instruction = example["task"][INSTRUCTION]
    return {name: instruction[name].astype(np.int64) for name in ("input_ids", "attention_mask")}


def _tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
