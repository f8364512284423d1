"""PyTorch against ONNX Runtime on the checkpoint's own example batch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from octo_ros.engine.graphs import LANGUAGE, POLICY
from octo_ros.errors import BundleError
from octo_ros.export.onnx import empty_inputs, graph_modules
from octo_ros.model.inputs import (
    INSTRUCTION,
    LANGUAGE_TOKENS,
    NOISE_INIT,
    NOISE_STEPS,
    PROPRIO,
    TIMESTEP_MASK,
    goal_name,
    pad_mask_name,
)
from octo_ros.model.octo import Octo

TOLERANCES: Mapping[str, float] = {
    LANGUAGE_TOKENS: 1e-4,
    "readout": 1e-4,
    "task_tokens": 1e-4,
    "actions": 2e-3,
}
"""Largest absolute error allowed, by output; of actions only those that do not saturate count."""

NOISE_SEED = 0


def self_check(model: Octo, example: Mapping[str, Any], directory: Path) -> dict[str, float]:
    """Runs the graphs in a folder beside the model, language tokens handed on in each.

    Args:
        model: with its weights.
        example: the checkpoint's example batch, see `Checkpoint`.
        directory: holds `<graph>.onnx` for every graph.

    Returns:
        Largest absolute error by output: "readout", "language_tokens" and "task_tokens" where the
        model has them, "actions" unless every one saturates.

    Raises:
        BundleError: an error beyond its tolerance.
    """
    import onnxruntime

    errors: dict[str, float] = {}
    tokens_torch = tokens_onnx = None
    if model.text is not None:
        inputs = _language_inputs(example)
        tokens_torch = _run_torch(model, LANGUAGE, inputs)[LANGUAGE_TOKENS]
        tokens_onnx = _run_onnx(directory, LANGUAGE, inputs)[LANGUAGE_TOKENS]
        errors[LANGUAGE_TOKENS] = _largest(tokens_torch, tokens_onnx)
    expected = _run_torch(model, POLICY, _policy_inputs(model, example, tokens_torch))
    got = _run_onnx(directory, POLICY, _policy_inputs(model, example, tokens_onnx))
    free = np.abs(expected["actions"]) < model.head.max_action * (1 - 1e-6)
    for name in sorted(set(expected) - {"actions"}):
        errors[name] = _largest(expected[name], got[name])
    if free.any():
        errors["actions"] = _largest(expected["actions"][free], got["actions"][free])
    for name, error in errors.items():
        if not error <= TOLERANCES[name]:
            raise BundleError(
                f"self-check: {name}: ONNX Runtime {onnxruntime.__version__} differs from PyTorch "
                f"{torch.__version__} by {error:.3g}, expected at most {TOLERANCES[name]:.3g}"
            )
    return errors


def _language_inputs(example: Mapping[str, Any]) -> dict[str, np.ndarray]:
    instruction = example["task"][INSTRUCTION]
    return {name: instruction[name].astype(np.int64) for name in ("input_ids", "attention_mask")}


def _policy_inputs(
    model: Octo, example: Mapping[str, Any], language: np.ndarray | None
) -> dict[str, np.ndarray]:
    """The example batch under the names of the policy graph's inputs, with noise from a fixed seed."""
    observation, task = example["observation"], example["task"]
    inputs = {name: tensor.numpy() for name, tensor in empty_inputs(model, POLICY).items()}
    generator = np.random.default_rng(NOISE_SEED)
    given = {LANGUAGE_TOKENS: language, TIMESTEP_MASK: observation[TIMESTEP_MASK]}
    given.update({key: observation.get(key) for key in (*model.inputs.images, PROPRIO)})
    given.update({goal_name(key): task.get(key) for key in model.inputs.goals})
    masks = {**task.get("pad_mask_dict", {}), **observation.get("pad_mask_dict", {})}
    masks[INSTRUCTION] = task.get("pad_mask_dict", {}).get(INSTRUCTION)
    given.update({pad_mask_name(key): mask for key, mask in masks.items()})
    for name, zeros in inputs.items():
        if name in (NOISE_INIT, NOISE_STEPS):
            inputs[name] = generator.standard_normal(zeros.shape, dtype=np.float32)
        elif given.get(name) is not None:
            inputs[name] = given[name].astype(zeros.dtype).reshape(zeros.shape)
        elif zeros.dtype == bool:
            inputs[name] = np.ones_like(zeros)
    return inputs


def _run_torch(model: Octo, graph: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in inputs.items()}
    with torch.no_grad():
        return {name: tensor.numpy() for name, tensor in graph_modules(model)[graph](**tensors).items()}


def _run_onnx(directory: Path, graph: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone
    path = str(directory / f"{graph}.onnx")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def _largest(expected: np.ndarray, got: np.ndarray) -> float:
    """Largest absolute difference; infinite where shapes differ, 0 where there is nothing to compare."""
    if expected.shape != got.shape:
        return float("inf")
    return float(np.abs(expected - got).max(initial=0.0))
