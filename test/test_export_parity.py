"""Exported bundles, run by ONNX Runtime alone, against the official code's answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed (extra 'export')")
onnx = pytest.importorskip("onnx", reason="onnx is not installed (extra 'export')")
pytest.importorskip("onnxscript", reason="onnxscript is not installed (extra 'export')")

import onnxruntime  # noqa: E402
from plain_onnx import assert_plain  # noqa: E402
from reference_bundles import Exported, ReferenceBundles  # noqa: E402
from reference_cases import (  # noqa: E402
    OWN,
    SEEDED,
    SHARED,
    assert_matches,
    cases,
    language_inputs,
    policy_inputs,
)

from octo_ros.engine import make_backend  # noqa: E402
from octo_ros.engine.bundle import read_bundle  # noqa: E402
from octo_ros.engine.graphs import check_graphs  # noqa: E402
from octo_ros.verify import check_bundle  # noqa: E402

WEIGHTS_FILE = "weights.bin"


def run(session: onnxruntime.InferenceSession, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A graph's outputs by name."""
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def check_by_hand(exported: Exported) -> None:
    """Every case through plain sessions of ONNX Runtime: nothing of ours between files and numbers."""
    manifest = read_bundle(exported.bundle)
    check_graphs(manifest, str(exported.bundle))
    sessions = {
        name: onnxruntime.InferenceSession(
            str(exported.bundle / graph.file), providers=["CPUExecutionProvider"]
        )
        for name, graph in manifest.graphs.items()
    }
    for name, session in sessions.items():
        assert [entry.name for entry in session.get_inputs()] == list(manifest.graphs[name].inputs)
        assert [entry.name for entry in session.get_outputs()] == list(manifest.graphs[name].outputs)
    for path in cases(exported.reference):
        with np.load(path) as case:
            tokens = None
            if "language" in sessions:
                tokens = run(sessions["language"], language_inputs(case))["language_tokens"]
            names = list(manifest.graphs["policy"].inputs)
            outputs = run(sessions["policy"], policy_inputs(case, names, tokens))
            bound = np.inf if manifest.head.max_action is None else manifest.head.max_action
            assert_matches(outputs, case, bound)


def check_stages(exported: Exported) -> None:
    """Every case through whole graph and stages, and the two over an episode, as `octo_ros verify` does."""
    manifest = read_bundle(exported.bundle)
    paths = cases(exported.reference)
    with make_backend("onnxruntime", exported.bundle, manifest, 2) as backend:
        checks = list(check_bundle(backend, paths))
    assert [check for check in checks if not check.passed] == []
    compared = {(check.case, check.compared) for check in checks if check.output == "readout"}
    for path in paths:
        assert (path.stem, "whole graph against reference") in compared
        with np.load(path) as case:
            seen = case["obs/timestep_pad_mask"][0, -1]  # a robot's newest timestep always is
        assert ((path.stem, "stages against reference") in compared) == seen
    assert sum(compared == "stages against whole graph" for _, compared in compared) == 1


@pytest.mark.parametrize("name", (*OWN, *SEEDED))
def test_bundle_answers_as_the_official_code(reference_bundles: ReferenceBundles, name: str) -> None:
    check_by_hand(reference_bundles.own(name))


@pytest.mark.parametrize("name", (*OWN, *SEEDED))
def test_stages_answer_as_the_official_code(reference_bundles: ReferenceBundles, name: str) -> None:
    check_stages(reference_bundles.own(name))


@pytest.mark.parametrize("name", SHARED)
def test_bundle_answers_as_the_official_code_at_full_image_size(
    shared: Path, reference_bundles: ReferenceBundles, name: str
) -> None:
    check_by_hand(reference_bundles.shared(shared, name))


@pytest.mark.parametrize("name", SHARED)
def test_stages_answer_as_the_official_code_at_full_image_size(
    shared: Path, reference_bundles: ReferenceBundles, name: str
) -> None:
    check_stages(reference_bundles.shared(shared, name))


@pytest.mark.parametrize("name", (*OWN, *SEEDED))
def test_graphs_are_plain_onnx(reference_bundles: ReferenceBundles, name: str) -> None:
    exported = reference_bundles.own(name)
    assert_plain(exported.bundle, exported.checkpoint.parent, exported.bundle.parent)


def places(bundle: Path, graph: str) -> dict[tuple[int, int], tuple[int, ...]]:
    """Where a graph's weights lie in the bundle's one file, (offset, length), and their shapes."""
    found = {}
    for tensor in onnx.load(bundle / f"{graph}.onnx", load_external_data=False).graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            where = {entry.key: entry.value for entry in tensor.external_data}
            assert where["location"] == WEIGHTS_FILE
            found[int(where["offset"]), int(where["length"])] = tuple(tensor.dims)
    return found


def test_weights_are_stored_once_for_all_graphs(reference_bundles: ReferenceBundles) -> None:
    """Of a model of some megabytes: the bundle is hardly larger than the parameters."""
    exported = reference_bundles.own("seeded_resnet26_film")
    manifest = read_bundle(exported.bundle)
    parameters = 4 * manifest.checkpoint["parameters"]
    assert parameters > 2_000_000
    size = sum(path.stat().st_size for path in exported.bundle.iterdir())
    assert size < 1.3 * parameters


def test_graphs_share_the_trunk(reference_bundles: ReferenceBundles) -> None:
    """What one graph's transformer multiplies by, the others' do, at the same place of the file."""
    bundle = reference_bundles.own("gated_t5_binned_proprio").bundle
    task, history, step, policy = (places(bundle, name) for name in ("task", "history", "step", "policy"))
    width, inner, layers = 32, 48, 2
    matrices = {where: shape for where, shape in policy.items() if shape in ((width, inner), (inner, width))}
    trunk = {where for where in matrices if where in task}
    assert len(trunk) == 2 * layers
    assert trunk <= set(step)
    assert len(trunk & set(history)) == 2 * (layers - 1)  # the last block's outputs are of no use to it
