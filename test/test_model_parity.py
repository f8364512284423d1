"""The PyTorch model against the official code's answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra 'export')")

from reference_cases import (  # noqa: E402
    ACTION_TOLERANCE,
    OURS,
    OWN,
    SCORE_TOLERANCE,
    SEEDED,
    SHARED,
    all_inputs,
    assert_matches,
    cases,
    language_inputs,
    whole_checkpoint,
)

from octo_ros.export.bundle import build_model  # noqa: E402
from octo_ros.export.checkpoint import read_checkpoint  # noqa: E402
from octo_ros.model.octo import Octo  # noqa: E402
from octo_ros.model.tokenizers import Tokens  # noqa: E402


def run(model: Octo, case: np.lib.npyio.NpzFile, **others: np.ndarray) -> dict[str, np.ndarray]:
    """The model's answer to a case, some of whose inputs may be replaced."""
    with torch.no_grad():
        tokens = None
        if model.text is not None:
            ids = {name: torch.from_numpy(array) for name, array in language_inputs(case).items()}
            tokens = model.encode_language(**ids).numpy()
        inputs = {**all_inputs(case, tokens), **others}
        outputs = model(**{name: torch.from_numpy(array) for name, array in inputs.items()})
    return {name: tensor.numpy() for name, tensor in outputs.items()}


def check(reference: Path, checkpoint: Path | None = None) -> None:
    """Every case of one reference."""
    model, _ = build_model(read_checkpoint(checkpoint or reference / "checkpoint"))
    for path in cases(reference):
        with np.load(path) as case:
            assert_matches(run(model, case), case, model.head.max_action)
            if "action_argmax" in case:
                likeliest = run(model, case, noise_gumbel=np.zeros_like(case["noise_gumbel"]))["actions"]
                np.testing.assert_allclose(likeliest, case["action_argmax"], rtol=0, atol=ACTION_TOLERANCE)


@pytest.mark.parametrize("name", OWN)
def test_model_answers_as_the_official_code(name: str) -> None:
    check(OURS / name)


@pytest.mark.parametrize("name", SEEDED)
def test_model_answers_as_the_official_code_with_seeded_weights(tmp_path: Path, name: str) -> None:
    check(OURS / name, whole_checkpoint(OURS / name, tmp_path / "checkpoint"))


@pytest.mark.parametrize("name", SHARED)
def test_model_answers_as_the_official_code_at_full_image_size(shared: Path, name: str) -> None:
    check(shared / "reference" / name)


@pytest.mark.parametrize("name", ["v10_language", "v15_language_goal"])
def test_score_network_answers_as_the_official_one(shared: Path, name: str) -> None:
    reference = shared / "reference" / name
    model, _ = build_model(read_checkpoint(reference / "checkpoint"))
    for path in cases(reference):
        with np.load(path) as case, torch.no_grad():
            readout = Tokens(torch.from_numpy(case["readout"]), None)
            noisy, time = (torch.from_numpy(case[key]) for key in ("score_in_noisy", "score_in_time"))
            noise = model.head.predict_noise(readout, noisy, time.float()).numpy()
            np.testing.assert_allclose(noise, case["score_eps"], rtol=0, atol=SCORE_TOLERANCE)
