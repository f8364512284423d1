"""Reference cases: what the official code was given and what it answered, one npz file each.

Keys: `obs/<key>` (1, window, ...) and `task/<key>` (1, ...) with the pad masks `obs_pad/<key>` and
`task_pad/<key>`, an instruction's `task/language_instruction/input_ids` and `.../attention_mask` or,
encoded elsewhere, `task/language_instruction`; the noise that was drawn, `noise_init`, `noise_steps`,
`noise_gumbel`; the answers `action_normalized`, `readout`, `task_tokens`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from octo_ros.engine.graphs import TIMESTEP_MASK, noise_tensors
from octo_ros.engine.manifest import Manifest
from octo_ros.errors import CaseError, ObservationError

ANSWERS = ("action_normalized", "readout", "task_tokens")


@dataclass(frozen=True)
class Case:
    """One case.

    Attributes:
        name: of the file, for people.
        observations: as `Policy.sample` takes them.
        task: likewise.
        timestep_pad_mask: (1, window) bool.
        noise: likewise, or None where the head takes none.
        answers: the official ones under the graphs' names: "actions" (1, horizon, action_dim), "readout"
            (1, window, n, width), "task_tokens" (1, n, width), those the file has.
    """

    name: str
    observations: Mapping[str, Any]
    task: Mapping[str, Any]
    timestep_pad_mask: np.ndarray
    noise: Mapping[str, np.ndarray] | None
    answers: Mapping[str, np.ndarray]


def read_case(path: Path, manifest: Manifest) -> Case:
    """Reads a case of this bundle's checkpoint.

    Raises:
        CaseError: naming the file and the key, what was expected and what came.
    """
    arrays = _arrays(path)
    observations, task = _group(arrays, "obs"), _group(arrays, "task")
    mask = observations.pop(TIMESTEP_MASK, None)
    if mask is None:
        raise CaseError(f"{path}: obs/{TIMESTEP_MASK}: missing; a reference case has it")
    ids = {
        key.rpartition("/")[2]: task.pop(key) for key in list(task) if key.startswith("language_instruction/")
    }
    if ids:
        task["language_instruction"] = ids
    answers = {key.replace("action_normalized", "actions"): arrays[key] for key in ANSWERS if key in arrays}
    if "actions" not in answers:
        raise CaseError(f"{path}: action_normalized: missing; a reference case has it")
    answers["actions"] = _newest(answers["actions"], manifest, path)
    wanted = noise_tensors(manifest, manifest.window)
    if manifest.head.bins and "noise_gumbel" not in arrays:  # the likeliest was taken
        arrays["noise_gumbel"] = np.zeros(wanted["noise_gumbel"].shape, np.float32)
    noise = {}
    for name in wanted:
        if name not in arrays:
            raise CaseError(f"{path}: {name}: missing; this bundle's head takes it")
        noise[name.removeprefix("noise_")] = arrays[name]
    return Case(path.stem, observations, task, mask, noise or None, answers)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise CaseError(f"{path}: missing; expected an npz file with a reference case")
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except (ValueError, OSError, EOFError, BadZipFile, AttributeError) as error:
        raise CaseError(f"{path}: not a complete npz file: {error}") from error


def _group(arrays: Mapping[str, np.ndarray], name: str) -> dict[str, Any]:
    """The arrays under `<name>/`, with those under `<name>_pad/` as their masks."""
    group: dict[str, Any] = {
        key.removeprefix(f"{name}/"): array for key, array in arrays.items() if key.startswith(f"{name}/")
    }
    masks = f"{name}_pad/"
    group["pad_mask_dict"] = {
        key.removeprefix(masks): array for key, array in arrays.items() if key.startswith(masks)
    }
    return group


def _newest(actions: np.ndarray, manifest: Manifest, path: Path) -> np.ndarray:
    """The newest timestep's actions: the official UNet head answers for all of the window."""
    chunk = (manifest.horizon, manifest.action_dim)
    if actions.ndim == 4 and actions.shape == (1, manifest.window, *chunk):
        actions = actions[:, -1]
    if actions.shape != (1, *chunk):
        raise CaseError(f"{path}: action_normalized: expected shape {(1, *chunk)}, got {actions.shape}")
    return actions


def at_case(path: str, error: ObservationError) -> CaseError:
    """The error of a case that does not fit the bundle."""
    return CaseError(f"{path}: does not fit the bundle: {error}")
