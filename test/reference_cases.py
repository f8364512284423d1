"""Reference cases: inputs and the official code's answers, under the names of the bundle's graphs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

OURS = Path(__file__).parent / "data" / "official"
"""References that travel with the project; larger ones are found by the fixture `shared`."""

OWN = tuple(sorted(folder.name for folder in OURS.iterdir() if folder.is_dir()))
SHARED = ("l1_proprio", "v10_language", "v15_language_goal")

READOUT_TOLERANCE = 1e-4
ACTION_TOLERANCE = 2e-3
SCORE_TOLERANCE = 1e-4


def cases(reference: Path) -> list[Path]:
    """The npz files of a reference."""
    found = sorted(reference.glob("*.npz"))
    assert found, f"no cases in {reference}"
    return found


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
        elif name.startswith("noise_"):
            inputs[name] = case[name]
        else:
            inputs[name] = case[f"obs/{name}"]
    return inputs


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
