"""Exported bundles, run by ONNX Runtime alone, against the official code's answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed (extra 'export')")
pytest.importorskip("onnxscript", reason="onnxscript is not installed (extra 'export')")

import onnxruntime  # noqa: E402
from reference_cases import OURS, OWN, SHARED, assert_matches, cases, language_inputs, policy_inputs  # noqa: E402

from octo_ros.engine.bundle import read_bundle  # noqa: E402
from octo_ros.engine.graphs import check_graphs  # noqa: E402
from octo_ros.export import export_checkpoint  # noqa: E402


def run(session: onnxruntime.InferenceSession, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A graph's outputs by name."""
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def check(reference: Path, bundle: Path) -> None:
    """Exports a reference and answers every case from the bundle's files."""
    export_checkpoint(reference / "checkpoint", bundle)
    manifest = read_bundle(bundle)
    check_graphs(manifest, str(bundle))
    sessions = {
        name: onnxruntime.InferenceSession(str(bundle / graph.file), providers=["CPUExecutionProvider"])
        for name, graph in manifest.graphs.items()
    }
    for name, session in sessions.items():
        assert [entry.name for entry in session.get_inputs()] == list(manifest.graphs[name].inputs)
    for path in cases(reference):
        with np.load(path) as case:
            tokens = None
            if "language" in sessions:
                tokens = run(sessions["language"], language_inputs(case))["language_tokens"]
            names = list(manifest.graphs["policy"].inputs)
            outputs = run(sessions["policy"], policy_inputs(case, names, tokens))
            assert_matches(outputs, case, manifest.head.max_action)


@pytest.mark.parametrize("name", OWN)
def test_bundle_answers_as_the_official_code(tmp_path: Path, name: str) -> None:
    check(OURS / name, tmp_path / "bundle")


@pytest.mark.parametrize("name", SHARED)
def test_bundle_answers_as_the_official_code_at_full_image_size(
    shared: Path, tmp_path: Path, name: str
) -> None:
    check(shared / "reference" / name, tmp_path / "bundle")
