"""Reference cases: inputs and the official code's answers, under the names of the bundle's graphs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from seeded_weights import seeded_weights

OURS = Path(__file__).parent / "data" / "official"
"""References that travel with the project; larger ones are found by the fixture `shared`."""

_FOLDERS = sorted(folder for folder in OURS.iterdir() if folder.is_dir())
OWN = tuple(folder.name for folder in _FOLDERS if (folder / "checkpoint" / "7").is_dir())
SEEDED = tuple(folder.name for folder in _FOLDERS if folder.name not in OWN)
"""References without their weights, which are large; `whole_checkpoint` makes them."""

SHARED = ("l1_proprio", "v10_language", "v15_language_goal")

READOUT_TOLERANCE = 1e-4
ACTION_TOLERANCE = 2e-3
SCORE_TOLERANCE = 1e-4


def cases(reference: Path) -> list[Path]:
    """The npz files of a reference."""
    found = sorted(reference.glob("*.npz"))
    assert found, f"no cases in {reference}"
    return found


def whole_checkpoint(reference: Path, directory: Path) -> Path:
    """A seeded reference's checkpoint with its weights, written into `directory`."""
    from official_checkpoint import write_checkpoint

    from octo_ros.export.weights import weight_table
    from octo_ros.model.inputs import read_inputs
    from octo_ros.model.octo import Octo
    from octo_ros.model.official import read_config

    config, statistics = (
        json.loads((reference / "checkpoint" / file).read_text())
        for file in ("config.json", "dataset_statistics.json")
    )
    read = read_config(config, "config.json")
    with np.load(cases(reference)[0]) as case:
        example = {
            "observation": below(case, "obs/") | {"pad_mask_dict": below(case, "obs_pad/")},
            "task": below(case, "task/") | {"pad_mask_dict": below(case, "task_pad/")},
        }
    model = Octo(read, read_inputs(read, example, "example_batch.msgpack"), None)
    weights = seeded_weights({weight.official: weight.shape for weight in weight_table(model, read)})
    return write_checkpoint(directory, config=config, statistics=statistics, example=example, weights=weights)


def below(case: np.lib.npyio.NpzFile, prefix: str) -> dict[str, np.ndarray]:
    """The arrays whose keys begin with a prefix, without it."""
    return {key.removeprefix(prefix): case[key] for key in case.files if key.startswith(prefix)}


def language_inputs(case: np.lib.npyio.NpzFile) -> dict[str, np.ndarray]:
    """Inputs of the graph "language"."""
    return {name: case[f"task/language_instruction/{name}"] for name in ("input_ids", "attention_mask")}


def policy_inputs(
    case: np.lib.npyio.NpzFile, names: list[str], language_tokens: np.ndarray | None
) -> dict[str, np.ndarray]:
    """Inputs of the graph "policy", those of the given names."""
    inputs = {}
    for name in names:
        if name == "language_tokens":
            inputs[name] = language_tokens
        elif name == "pad_mask_language_instruction":
            inputs[name] = case["task_pad/language_instruction"]
        elif name.startswith("pad_mask_"):
            inputs[name] = case[f"obs_pad/{name.removeprefix('pad_mask_')}"]
        elif name.startswith("goal_"):
            inputs[name] = case[f"task/{name.removeprefix('goal_')}"]
        elif name.startswith("task_"):
            inputs[name] = case[f"task/{name.removeprefix('task_')}"]
        elif name.startswith("noise_"):
            inputs[name] = case[name]
        else:
            inputs[name] = case[f"obs/{name}"]
    return inputs


def all_inputs(case: np.lib.npyio.NpzFile, language_tokens: np.ndarray | None) -> dict[str, np.ndarray]:
    """Every input that any network might take of a case."""
    names = [*below(case, "obs/"), *(f"pad_mask_{key}" for key in below(case, "obs_pad/"))]
    for key in below(case, "task/"):
        if "/" not in key:
            names.append(f"goal_{key}" if key.startswith("image_") else f"task_{key}")
    if "task_pad/language_instruction" in case:
        names.append("pad_mask_language_instruction")
    names += [key for key in case.files if key.startswith("noise_")]
    return policy_inputs(case, names + ["language_tokens"] * (language_tokens is not None), language_tokens)


def assert_matches(outputs: dict[str, np.ndarray], case: np.lib.npyio.NpzFile, max_action: float) -> None:
    """Compares one answer with the official one; actions where that one does not saturate."""
    for name in ("readout", "task_tokens"):
        assert (name in outputs) == (name in case)
        if name in case:
            assert outputs[name].shape == case[name].shape
            np.testing.assert_allclose(outputs[name], case[name], rtol=0, atol=READOUT_TOLERANCE)
    expected = case["action_normalized"]
    assert outputs["actions"].shape == expected.shape
    free = np.abs(expected) < max_action * (1 - 1e-5)
    np.testing.assert_allclose(outputs["actions"][free], expected[free], rtol=0, atol=ACTION_TOLERANCE)
    assert np.abs(outputs["actions"]).max() <= max_action
