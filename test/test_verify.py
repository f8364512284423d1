"""`octo_ros verify`: right answers pass, wrong ones fail, and what cannot be compared is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed (extra 'export')")
pytest.importorskip("onnxscript", reason="onnxscript is not installed (extra 'export')")

from octo_ros.cli import main  # noqa: E402
from octo_ros.engine import make_backend  # noqa: E402
from octo_ros.engine.bundle import read_bundle  # noqa: E402
from octo_ros.verify import check_bundle  # noqa: E402

REFERENCE = "old_attention_stacked_cameras"
Change = Callable[[dict[str, np.ndarray]], None]


@pytest.fixture
def exported(reference_bundles):
    return reference_bundles.own(REFERENCE)


def rewritten(case: Path, target: Path, change: Change) -> Path:
    with np.load(case) as file:
        arrays = {key: file[key] for key in file.files}
    change(arrays)
    np.savez(target, **arrays)
    return target


def test_right_answers_pass(exported, capsys: pytest.CaptureFixture[str]) -> None:
    cases = sorted(exported.reference.glob("*.npz"))
    assert main(["verify", str(exported.bundle), *map(str, cases)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].endswith(" passed, 0 failed")
    for case in cases:
        for compared in ("whole graph against reference", "stages against reference"):
            assert any(line.startswith(case.stem) and compared in line for line in lines)
    assert any("stages against whole graph" in line for line in lines)


def test_without_cases_the_graphs_are_compared_with_one_another(exported, capsys) -> None:
    assert main(["verify", str(exported.bundle), "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert body["failed"] == 0
    assert {check["compared"] for check in body["checks"]} == {"stages against whole graph"}
    assert {check["output"] for check in body["checks"]} == {"readout", "actions"}


@pytest.mark.parametrize("output", ["readout", "action_normalized", "task_tokens"])
def test_a_wrong_answer_fails(exported, tmp_path: Path, capsys, output: str) -> None:
    def change(arrays: dict[str, np.ndarray]) -> None:
        arrays[output] = arrays[output] + np.float32(0.01)

    case = rewritten(exported.reference / "plain.npz", tmp_path / "wrong.npz", change)
    assert main(["verify", str(exported.bundle), str(case)]) == 1
    captured = capsys.readouterr()
    failed = [line for line in captured.out.splitlines() if line.endswith("FAILED")]
    assert failed
    assert all(output.replace("action_normalized", "actions") in line for line in failed)
    assert captured.err == ""


@pytest.mark.parametrize("output", ["readout", "action_normalized", "task_tokens"])
def test_an_answer_that_is_not_a_number_fails(exported, tmp_path: Path, output: str) -> None:
    def change(arrays: dict[str, np.ndarray]) -> None:
        arrays[output] = np.full_like(arrays[output], np.nan)

    case = rewritten(exported.reference / "plain.npz", tmp_path / "nan.npz", change)
    assert main(["verify", str(exported.bundle), str(case)]) == 1


def test_tolerances_may_be_given(exported, tmp_path: Path) -> None:
    def change(arrays: dict[str, np.ndarray]) -> None:
        arrays["readout"] = arrays["readout"] + np.float32(0.01)

    case = str(rewritten(exported.reference / "plain.npz", tmp_path / "off.npz", change))
    assert main(["verify", str(exported.bundle), case, "--tolerance", "readout=0.02"]) == 0
    assert main(["verify", str(exported.bundle), case, "--tolerance", "readout=0.005"]) == 1


def drop(key: str) -> Change:
    return lambda arrays: arrays.pop(key)


def put(key: str, value: np.ndarray) -> Change:
    return lambda arrays: arrays.update({key: value})


DAMAGE = {
    "no window mask": (drop("obs/timestep_pad_mask"), "obs/timestep_pad_mask: missing"),
    "no answer": (drop("action_normalized"), "action_normalized: missing"),
    "another horizon": (
        put("action_normalized", np.zeros((1, 9, 7), np.float32)),
        "expected shape (1, 3, 7)",
    ),
    "another size": (
        put("obs/image_primary", np.zeros((1, 2, 8, 8, 3), np.uint8)),
        "observations.image_primary",
    ),
    "another window": (put("obs/timestep_pad_mask", np.ones((1, 3), bool)), "timestep_pad_mask"),
    "floats as frames": (
        put("obs/image_primary", np.zeros((1, 2, 48, 48, 3), np.float32)),
        "observations.image_primary: expected uint8",
    ),
    "a token too far": (
        put("task/language_instruction/input_ids", np.full((1, 7), 9999)),
        "input_ids: expected tokens from 0 to 159",
    ),
    "no proprioception that is a number": (
        put("obs/proprio", np.full((1, 2, 4), np.nan, np.float32)),
        "observations.proprio: expected finite numbers",
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_case_that_does_not_fit_is_one_clear_error(exported, tmp_path: Path, capsys, kind: str) -> None:
    change, message = DAMAGE[kind]
    case = rewritten(exported.reference / "plain.npz", tmp_path / "case.npz", change)
    assert main(["verify", str(exported.bundle), str(case)]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert str(case) in error
    assert message in error


def test_files_that_are_no_cases(exported, tmp_path: Path, capsys) -> None:
    whole = (exported.reference / "plain.npz").read_bytes()
    files = {"cut.npz": whole[: len(whole) // 2], "empty.npz": b"", "text.npz": b"not a case"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    np.savez(tmp_path / "pickled.npz", **{"obs/x": np.array([{}], dtype=object)})
    for name in [*files, "pickled.npz", "absent.npz"]:
        assert main(["verify", str(exported.bundle), str(tmp_path / name)]) == 1
        error = capsys.readouterr().err
        assert error.startswith(f"octo_ros: {tmp_path / name}: ")
        assert error.count("\n") == 1


@pytest.mark.parametrize("entry", ["readout", "readout=", "readout=-1", "reward=1", "readout=nan"])
def test_a_tolerance_that_is_none(exported, capsys, entry: str) -> None:
    assert main(["verify", str(exported.bundle), "--tolerance", entry]) == 1
    assert "--tolerance: expected OUTPUT=ERROR" in capsys.readouterr().err


def test_padding_in_the_middle_is_checked_on_the_whole_graph_alone(exported, tmp_path: Path) -> None:
    """A robot's history has padding at its front alone, so the stages have no answer to it."""
    change = put("obs/timestep_pad_mask", np.array([[True, False]]))
    case = rewritten(exported.reference / "plain.npz", tmp_path / "hole.npz", change)
    manifest = read_bundle(exported.bundle)
    with make_backend("onnxruntime", exported.bundle, manifest) as backend:
        compared = {check.compared for check in check_bundle(backend, [case]) if check.case == "hole"}
    assert compared == {"whole graph against reference"}
