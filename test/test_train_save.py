"""A checkpoint read and written again is the same, bit for bit; what is trained can be exported and run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra 'export')")

from official_checkpoint import write_checkpoint  # noqa: E402
from reference_cases import OURS, OWN, SHARED  # noqa: E402
from train_cell import INSTRUCTIONS, SIZE, make_options, train_small, weights  # noqa: E402

from octo_ros.engine.bundle import read_bundle  # noqa: E402
from octo_ros.engine.graphs import POLICY  # noqa: E402
from octo_ros.engine.onnx import OnnxBackend  # noqa: E402
from octo_ros.errors import CheckpointError  # noqa: E402
from octo_ros.export import export_checkpoint, save  # noqa: E402
from octo_ros.export.bundle import build_model  # noqa: E402
from octo_ros.export.checkpoint import read_checkpoint  # noqa: E402
from octo_ros.export.save import official_parameters, pack, write_metadata, write_weights  # noqa: E402
from octo_ros.export.self_check import policy_example  # noqa: E402
from octo_ros.policy.instruction import Tokenizer  # noqa: E402
from octo_ros.train.words import FILE, FOLDER, Encoder  # noqa: E402


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Models so small are slower with more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def same(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> None:
    assert set(before) == set(after)
    for name, array in before.items():
        assert array.dtype == after[name].dtype and array.tobytes() == after[name].tobytes(), name


def round_trip(folder: Path, target: Path) -> None:
    checkpoint = read_checkpoint(folder)
    model, config = build_model(checkpoint)
    target.mkdir()
    write_metadata(target, checkpoint.config, checkpoint.statistics, checkpoint.example)
    write_weights(target, checkpoint.step, official_parameters(model, config))
    again = read_checkpoint(target)
    same(checkpoint.parameters, again.parameters)
    assert (again.step, again.config, again.statistics) == (
        checkpoint.step,
        checkpoint.config,
        checkpoint.statistics,
    )
    np.testing.assert_equal(again.example, checkpoint.example)


@pytest.mark.parametrize("name", OWN)
def test_own_references_survive_a_round_trip(name: str, tmp_path: Path) -> None:
    round_trip(OURS / name / "checkpoint", tmp_path / "again")


@pytest.mark.parametrize("name", SHARED)
def test_shared_references_survive_a_round_trip(name: str, shared: Path, tmp_path: Path) -> None:
    round_trip(shared / "reference" / name / "checkpoint", tmp_path / "again")


def test_the_weights_file_is_the_official_one_byte_for_byte(shared: Path, tmp_path: Path) -> None:
    folder = shared / "reference" / "l1_proprio" / "checkpoint"
    round_trip(folder, tmp_path / "again")
    official = (folder / "5000" / "default" / "checkpoint").read_bytes()
    assert (tmp_path / "again" / "5000" / "default" / "checkpoint").read_bytes() == official


def test_large_arrays_are_written_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_checkpoint(tmp_path / "tiny")
    before = weights(folder)
    monkeypatch.setattr(save, "CHUNK", 100)
    assert b"__msgpack_chunked_array__" in pack({"x": np.zeros(100, np.float32)})
    write_weights(folder, 9, before)
    same(before, weights(folder, 9))


def test_weights_that_are_not_finite_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="step 3: a/b: holds values that are not finite"):
        write_weights(tmp_path, 3, {"a/b": np.array([np.nan], np.float32)})
    assert not list(tmp_path.iterdir())


def test_a_step_written_again_is_replaced(tmp_path: Path) -> None:
    for value in (1.0, 2.0):
        write_weights(tmp_path, 3, {"a": np.full(2, value, np.float32)})
    assert (tmp_path / "3" / "default" / "checkpoint").read_bytes() == pack(
        {"a": np.full(2, 2.0, np.float32)}
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    train_small(folder, make_options())
    return folder


def test_what_is_trained_gives_the_same_actions_in_the_engine(trained: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    export_checkpoint(trained, bundle, tokenizer=trained / FOLDER, dataset="two")
    checkpoint = read_checkpoint(trained)
    model, _ = build_model(checkpoint)
    manifest = read_bundle(bundle)
    assert manifest.language.tokenizer_file == FILE
    tokens = Tokenizer(bundle / FILE, manifest.language).encode(INSTRUCTIONS[0])
    with torch.no_grad():
        language = model.encode_language(
            torch.from_numpy(tokens.input_ids), torch.from_numpy(tokens.attention_mask)
        ).numpy()
        inputs = policy_example(model, checkpoint.example, language)
        said = model(**{name: torch.from_numpy(np.array(array)) for name, array in inputs.items()})
    with OnnxBackend(bundle, manifest) as backend:
        actions = backend.run(POLICY, inputs)["actions"]
    np.testing.assert_allclose(actions, said["actions"].numpy(), atol=2e-3)
    assert np.ptp(actions) > 0.1


def test_words_of_the_data_and_others_have_tokens_of_their_own(trained: Path) -> None:
    encode = Encoder(trained / FOLDER / FILE, SIZE.length, 1024, FOLDER)
    known, other = encode(INSTRUCTIONS[0]), encode("Pour Zebra's tea!")
    unknown = 2
    assert unknown not in known.input_ids and unknown not in other.input_ids
    assert known.attention_mask.sum() == len(INSTRUCTIONS[0].split()) + 1
    none = encode("  ")
    assert none.input_ids.tolist() == [[1] + [0] * (SIZE.length - 1)] and none.attention_mask.sum() == 1


def test_a_tokenizer_with_too_many_words_is_refused(trained: Path) -> None:
    with pytest.raises(CheckpointError, match="expected ids below 10, the rows of the embedding"):
        Encoder(trained / FOLDER / FILE, SIZE.length, 10, FOLDER)
