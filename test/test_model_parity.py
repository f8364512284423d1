"""The PyTorch model against the official code's answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra 'export')")

from reference_cases import (  # noqa: E402
    OURS,
    OWN,
    SCORE_TOLERANCE,
    SHARED,
    assert_matches,
    cases,
    language_inputs,
    policy_inputs,
)

from octo_ros.export.bundle import build_model  # noqa: E402
from octo_ros.export.checkpoint import read_checkpoint  # noqa: E402
from octo_ros.export.onnx import empty_inputs  # noqa: E402
from octo_ros.model.octo import Octo  # noqa: E402
from octo_ros.model.tokenizers import Tokens  # noqa: E402


def run(model: Octo, case: np.lib.npyio.NpzFile) -> dict[str, np.ndarray]:
    """The model's answer to a case."""
    with torch.no_grad():
        tokens = None
        if model.text is not None:
            ids = {name: torch.from_numpy(array) for name, array in language_inputs(case).items()}
            tokens = model.encode_language(**ids).numpy()
        inputs = policy_inputs(case, list(empty_inputs(model, "policy")), tokens)
        outputs = model(**{name: torch.from_numpy(array) for name, array in inputs.items()})
    return {name: tensor.numpy() for name, tensor in outputs.items()}


def check(reference: Path) -> None:
    """Every case of one reference."""
    model, config = build_model(read_checkpoint(reference / "checkpoint"))
    for path in cases(reference):
        with np.load(path) as case:
            assert_matches(run(model, case), case, config.head.max_action)


@pytest.mark.parametrize("name", OWN)
def test_model_answers_as_the_official_code(name: str) -> None:
    check(OURS / name)


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
