"""Reading a checkpoint directory: its forms, and files that are missing, cut or malformed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

msgpack = pytest.importorskip("msgpack", reason="msgpack is not installed (extra 'export')")
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


def weights_file(directory: Path) -> Path:
    return directory / str(STEP) / "default" / "checkpoint"


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


def edit_weights(edit: Callable[[dict], object]) -> Callable[[Path], None]:
    """Decodes the weights' file down to packed arrays, edits, writes it again."""

    def damage(directory: Path) -> None:
        file = weights_file(directory)
        tree = msgpack.unpackb(file.read_bytes())
        edit(tree)
        file.write_bytes(pack(tree))

    return damage


def leaf(value: object) -> Callable[[Path], None]:
    return edit_weights(
        lambda tree: tree["octo_transformer"]["task_language_projection"].update(kernel=value)
    )


def packed(shape: object, dtype: object, content: object, kind: int = 1) -> object:
    return msgpack.ExtType(kind, msgpack.packb((shape, dtype, content)))


def cut(name: str, kept: float) -> Callable[[Path], object]:
    def damage(directory: Path) -> None:
        file = weights_file(directory) if name == "checkpoint" else directory / name
        content = file.read_bytes()
        file.write_bytes(content[: int(len(content) * kept)])

    return damage


def text(name: str, content: str | bytes) -> Callable[[Path], object]:
    content = content.encode() if isinstance(content, str) else content
    return lambda directory: (directory / name).write_bytes(content)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "config.json missing": (lambda directory: (directory / "config.json").unlink(), "config.json"),
    "config.json cut": (cut("config.json", 0.5), "config.json"),
    "config.json empty": (text("config.json", ""), "config.json"),
    "config.json a list": (text("config.json", "[]"), "config.json"),
    "config.json not UTF-8": (text("config.json", b"\xff\xfe{}"), "config.json"),
    "config.json too deep": (text("config.json", '{"a":' * 100_000), "config.json"),
    "config.json a folder": (
        lambda directory: ((directory / "config.json").unlink(), (directory / "config.json").mkdir()),
        "config.json",
    ),
    "statistics missing": (
        lambda directory: (directory / "dataset_statistics.json").unlink(),
        "dataset_statistics.json",
    ),
    "statistics cut": (cut("dataset_statistics.json", 0.9), "dataset_statistics.json"),
    "statistics without action": (text("dataset_statistics.json", '{"a": {}}'), "a"),
    "example missing": (
        lambda directory: (directory / "example_batch.msgpack").unlink(),
        "example_batch.msgpack",
    ),
    "example cut": (cut("example_batch.msgpack", 0.7), "example_batch.msgpack"),
    "example empty": (cut("example_batch.msgpack", 0.0), "example_batch.msgpack"),
    "example a list": (text("example_batch.msgpack", msgpack.packb([1])), "expected a dictionary"),
    "example without task": (
        text("example_batch.msgpack", pack({"observation": tiny_example()["observation"]})),
        "task",
    ),
    "example without observation": (
        text("example_batch.msgpack", pack({"task": {}, "observation": 3})),
        "observation",
    ),
    "no step": (
        lambda directory: (directory / str(STEP)).rename(directory / "latest"),
        "folder named by a step",
    ),
    "no default folder": (
        lambda directory: (directory / str(STEP) / "default").rename(directory / str(STEP) / "params"),
        "default/checkpoint",
    ),
    "weights missing": (lambda directory: weights_file(directory).unlink(), "default/checkpoint"),
    "weights cut early": (cut("checkpoint", 0.01), "not a complete msgpack file"),
    "weights cut late": (cut("checkpoint", 0.999), "not a complete msgpack file"),
    "weights with a tail": (
        lambda directory: weights_file(directory).write_bytes(weights_file(directory).read_bytes() + b"\x00"),
        "not a complete msgpack file",
    ),
    "weights not msgpack": (
        lambda directory: weights_file(directory).write_bytes(b"\xc1" * 100),
        "not a complete msgpack file",
    ),
    "weights empty": (lambda directory: weights_file(directory).write_bytes(pack({})), "no weights"),
    "weights under numbers": (
        lambda directory: weights_file(directory).write_bytes(msgpack.packb({1: {}})),
        "not a complete msgpack file",
    ),
    "a weight of doubles": (leaf(np.zeros((12, 16))), f"{WEIGHT}: expected float32, got float64"),
    "a weight of halves": (leaf(np.zeros((12, 16), np.float16)), f"{WEIGHT}: expected float32, got float16"),
    "a weight of bfloat16": (leaf(packed([1], "bfloat16", b"\x00\x00")), f"{WEIGHT}: .*'bfloat16'"),
    "a weight of objects": (leaf(packed([1], "object", b"\x00" * 8)), f"{WEIGHT}: .*'object'"),
    "a weight with NaN": (leaf(np.full((12, 16), np.nan, np.float32)), f"{WEIGHT}: .*not finite"),
    "a weight stored elsewhere": (leaf("PLACEHOLDER://kernel"), f"{WEIGHT}: .*PLACEHOLDER"),
    "too few bytes": (leaf(packed([12, 16], "float32", b"\x00" * 8)), f"{WEIGHT}: .*768 bytes"),
    "a negative size": (leaf(packed([-1, 16], "float32", b"")), f"{WEIGHT}: "),
    "sizes that are words": (leaf(packed(["a"], "float32", b"")), f"{WEIGHT}: not a packed array"),
    "an array of two parts": (
        leaf(msgpack.ExtType(1, msgpack.packb((1, 2)))),
        f"{WEIGHT}: not a packed array",
    ),
    "a complex number": (leaf(packed([1], "float32", b"\x00" * 4, kind=2)), f"{WEIGHT}: .*extension type"),
    "a chunk missing": (
        leaf(
            {"__msgpack_chunked_array__": True, "shape": {"0": 2}, "chunks": {"1": np.zeros(2, np.float32)}}
        ),
        f"{WEIGHT}: a chunked array is malformed",
    ),
    "chunks of another size": (
        leaf(
            {"__msgpack_chunked_array__": True, "shape": {"0": 3}, "chunks": {"0": np.zeros(2, np.float32)}}
        ),
        f"{WEIGHT}: a chunked array is malformed",
    ),
    "chunks without a shape": (
        leaf({"__msgpack_chunked_array__": True}),
        f"{WEIGHT}: a chunked array is malformed",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_one_error_that_names_the_file(directory: Path, name: str) -> None:
    damage, said = DAMAGE[name]
    damage(directory)
    with pytest.raises(CheckpointError, match=said) as caught:
        read_checkpoint(directory)
    assert str(directory) in str(caught.value)


@pytest.mark.parametrize("content", ["missing", "a file"])
def test_not_a_directory(tmp_path: Path, content: str) -> None:
    if content == "a file":
        (tmp_path / "checkpoint").write_text(json.dumps({}))
    with pytest.raises(CheckpointError, match="not a directory"):
        read_checkpoint(tmp_path / "checkpoint")
