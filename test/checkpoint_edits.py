"""Edits that damage the tiny checkpoint of `official_checkpoint.py`, for the tables of `*_damage.py`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
from official_checkpoint import STEP, pack

Edit = Callable[[Path], object]

CONFIG, STATISTICS, EXAMPLE = "config.json", "dataset_statistics.json", "example_batch.msgpack"
WEIGHTS = f"{STEP}/default/checkpoint"
TRUNK = "octo_transformer/BlockTransformer_0/Transformer_0"
KERNEL = "octo_transformer/task_language_projection/kernel"
T5 = "octo_transformer/task_tokenizers_language/hf_model"

INCOMPLETE = "not a complete msgpack file"


@dataclass(frozen=True)
class Damage:
    """One kind of damage.

    Attributes:
        edit: does it to a checkpoint directory.
        named: file whose path the error must name.
        said: a regular expression that the error must match.
        options: of the command line, besides the two folders; {} stands for the directory.
    """

    edit: Edit
    named: str
    said: str
    options: tuple[str, ...] = ()


def remove(name: str) -> Edit:
    return lambda directory: (directory / name).unlink()


def folder(name: str) -> Edit:
    """A folder in place of the file."""
    return lambda directory: ((directory / name).unlink(), (directory / name).mkdir())


def write(name: str, content: str | bytes) -> Edit:
    content = content.encode() if isinstance(content, str) else content
    return lambda directory: (directory / name).write_bytes(content)


def cut(name: str, kept: float) -> Edit:
    def edit(directory: Path) -> None:
        content = (directory / name).read_bytes()
        (directory / name).write_bytes(content[: int(len(content) * kept)])

    return edit


def tail(name: str, content: bytes) -> Edit:
    return lambda directory: write(name, (directory / name).read_bytes() + content)(directory)


def edit_json(name: str, change: Callable[[Any], object]) -> Edit:
    def edit(directory: Path) -> None:
        body = json.loads((directory / name).read_text())
        change(body)
        (directory / name).write_text(json.dumps(body))

    return edit


def edit_packed(name: str, change: Callable[[Any], object]) -> Edit:
    """Decodes a msgpack file down to packed arrays, changes it, writes it again."""

    def edit(directory: Path) -> None:
        tree = msgpack.unpackb((directory / name).read_bytes())
        change(tree)
        (directory / name).write_bytes(pack(tree))

    return edit


def model(change: Callable[[dict[str, Any]], object]) -> Edit:
    return edit_json(CONFIG, lambda body: change(body["model"]))


def keywords(group: str, name: str, **values: Any) -> Edit:
    """Other keywords of one module of the configuration."""
    return model(lambda body: body[group][name]["kwargs"].update(values))


def words(**values: Any) -> Edit:
    """Other keywords of the text processor."""
    return edit_json(CONFIG, lambda body: body["text_processor"]["kwargs"].update(values))


def action(key: str, value: Any) -> Edit:
    """Another entry of a data set's statistics."""
    return edit_json(STATISTICS, lambda body: body["second"]["action"].update({key: value}))


def observation(**arrays: Any) -> Edit:
    """Other entries of the example's observation; None takes one away."""

    def change(tree: dict[str, Any]) -> None:
        for name, array in arrays.items():
            tree["observation"].pop(name)
            if array is not None:
                tree["observation"][name] = array

    return edit_packed(EXAMPLE, change)


def task(**entries: Any) -> Edit:
    """Other entries of the example's task."""
    return edit_packed(EXAMPLE, lambda tree: tree["task"].update(entries))


def at(tree: dict[str, Any], name: str) -> tuple[dict[str, Any], str]:
    """The dictionary that holds a weight, and its key there."""
    *path, leaf = name.split("/")
    for key in path:
        tree = tree[key]
    return tree, leaf


def weight(name: str, value: Any) -> Edit:
    """Another value of one weight, packed or not; None takes it away."""

    def change(tree: dict[str, Any]) -> None:
        node, leaf = at(tree, name)
        node.pop(leaf, None)
        if value is not None:
            node[leaf] = value

    return edit_packed(WEIGHTS, change)


def packed(shape: object, dtype: object, content: object, kind: int = 1) -> msgpack.ExtType:
    return msgpack.ExtType(kind, msgpack.packb((shape, dtype, content)))


def zeros(*shape: int, dtype: type = np.float32) -> np.ndarray:
    return np.zeros(shape, dtype)


def chunks(**body: Any) -> dict[str, Any]:
    return {"__msgpack_chunked_array__": True, **body}


def ids(length: int) -> dict[str, np.ndarray]:
    return {"input_ids": np.ones((1, length), np.int64), "attention_mask": np.ones((1, length), np.int64)}


def block(tree: dict[str, Any], number: int) -> tuple[dict[str, Any], str]:
    return at(tree, f"{TRUNK}/encoderblock_{number}")


def add_block(tree: dict[str, Any]) -> None:
    node, name = block(tree, 1)
    node["encoderblock_2"] = node[name]


def drop_block(tree: dict[str, Any]) -> None:
    node, name = block(tree, 1)
    del node[name]


def rename_step(name: str) -> Edit:
    return lambda directory: (directory / str(STEP)).rename(directory / name)


def step_is_a_file(directory: Path) -> None:
    shutil.rmtree(directory / str(STEP))
    (directory / str(STEP)).write_bytes(b"")


def nothing(directory: Path) -> None:
    pass
