"""Reading a checkpoint directory in each of its forms; damaged ones are in `test_export_damage.py`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("msgpack", reason="msgpack is not installed (extra 'export')")
pytest.importorskip("torch", reason="PyTorch is not installed (extra 'export')")

from official_checkpoint import (  # noqa: E402
    STEP,
    nested,
    pack,
    pack_chunked,
    tiny_config,
    tiny_example,
    tiny_statistics,
    tiny_weights,
    write_checkpoint,
)

from octo_ros.errors import CheckpointError  # noqa: E402
from octo_ros.export.checkpoint import read_checkpoint  # noqa: E402

WEIGHT = "octo_transformer/task_language_projection/kernel"


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    return tiny_weights(tiny_config(), tiny_example())


@pytest.fixture
def directory(tmp_path: Path, weights: dict[str, np.ndarray]) -> Path:
    return write_checkpoint(tmp_path / "checkpoint", weights=weights)


def test_reads_what_was_written(directory: Path, weights: dict[str, np.ndarray]) -> None:
    checkpoint = read_checkpoint(directory)
    assert checkpoint.step == STEP
    assert checkpoint.config == tiny_config()
    assert checkpoint.statistics == tiny_statistics()
    assert set(checkpoint.parameters) == set(weights)
    for name, array in weights.items():
        np.testing.assert_array_equal(checkpoint.parameters[name], array)
    example = tiny_example()
    for group in ("observation", "task"):
        for key in ("image_primary", "image_wrist"):
            np.testing.assert_array_equal(checkpoint.example[group][key], example[group][key])


def test_takes_the_latest_step_or_the_one_asked_for(directory: Path, weights: dict[str, np.ndarray]) -> None:
    later = directory / "100" / "default" / "checkpoint"
    later.parent.mkdir(parents=True)
    later.write_bytes(pack(nested({**weights, WEIGHT: weights[WEIGHT] + 1})))
    (directory / "200.orbax-checkpoint-tmp-1").mkdir()
    assert read_checkpoint(directory).step == 100
    np.testing.assert_array_equal(read_checkpoint(directory, STEP).parameters[WEIGHT], weights[WEIGHT])


def test_joins_chunked_arrays(tmp_path: Path, weights: dict[str, np.ndarray]) -> None:
    chunked = {**weights, WEIGHT: pack_chunked(weights[WEIGHT], 5)}
    checkpoint = read_checkpoint(write_checkpoint(tmp_path / "chunked", weights=chunked))
    np.testing.assert_array_equal(checkpoint.parameters[WEIGHT], weights[WEIGHT])


def test_reads_the_names_of_the_first_releases(tmp_path: Path, weights: dict[str, np.ndarray]) -> None:
    example = tiny_example()
    example["tasks"] = example.pop("task")
    example["observation"]["pad_mask"] = example["observation"].pop("timestep_pad_mask")
    checkpoint = read_checkpoint(write_checkpoint(tmp_path / "old", example=example, weights=weights))
    assert checkpoint.example["observation"]["timestep_pad_mask"].shape == (1, 2)
    assert "language_instruction" in checkpoint.example["task"]


def test_takes_the_first_of_the_example_batch(tmp_path: Path, weights: dict[str, np.ndarray]) -> None:
    example = tiny_example()
    images = example["observation"]["image_wrist"]
    example["observation"]["image_wrist"] = np.concatenate([images, 255 - images])
    checkpoint = read_checkpoint(write_checkpoint(tmp_path / "two", example=example, weights=weights))
    np.testing.assert_array_equal(checkpoint.example["observation"]["image_wrist"], images)


def test_the_step_asked_for_must_be_there(directory: Path) -> None:
    with pytest.raises(CheckpointError, match=r"step 8 .*\[7\]"):
        read_checkpoint(directory, 8)


@pytest.mark.parametrize("content", ["missing", "a file"])
def test_not_a_directory(tmp_path: Path, content: str) -> None:
    if content == "a file":
        (tmp_path / "checkpoint").write_text(json.dumps({}))
    with pytest.raises(CheckpointError, match="not a directory"):
        read_checkpoint(tmp_path / "checkpoint")
