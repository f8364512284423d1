"""The features.json of a TFDS data set: which values a record holds, in which form."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from octo_ros.rlds.errors import DatasetError

FEATURES = "features.json"
STEPS = "steps"
"""Name of the nested data set of an episode's steps."""

_CORE = "tensorflow_datasets.core.features"
_DICT = f"{_CORE}.features_dict.FeaturesDict"
_CLASSES = {
    "dataset": f"{_CORE}.dataset_feature.Dataset",
    "image": f"{_CORE}.image_feature.Image",
    "scalar": f"{_CORE}.scalar.Scalar",
    "tensor": f"{_CORE}.tensor_feature.Tensor",
    "text": f"{_CORE}.text_feature.Text",
}


@dataclass(frozen=True)
class Leaf:
    """One value of a record.

    Attributes:
        kind: "tensor" (a scalar too), "text", "image", or "other" for what is not read.
        shape: of one value, without the steps; None for a size that is not fixed.
        dtype: as numpy spells it; "uint8" of an image.
        encoding: of an image, "jpeg" or "png", "" where the file does not say; of a tensor "none"
            where its numbers lie in the record as such.
        description: a sentence for people.
    """

    kind: str
    shape: tuple[int | None, ...] = ()
    dtype: str = "string"
    encoding: str = "none"
    description: str = ""


Features = Mapping[str, Leaf]
"""Leaves by path, such as "steps/observation/image_primary"."""


def read_features(folder: Path) -> dict[str, Leaf]:
    """The features of a data set's folder.

    Raises:
        DatasetError: no features.json, one that is not JSON, or one that describes no features.
    """
    body = read_json(folder / FEATURES)
    try:
        leaves = dict(_leaves(body, ""))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DatasetError(
            f"{folder / FEATURES}: expected the features of a TFDS data set; {type(error).__name__}: {error}"
        ) from error
    if not any(path.startswith(f"{STEPS}/") for path in leaves):
        raise DatasetError(
            f"{folder / FEATURES}: expected a nested data set '{STEPS}' as in RLDS, got {', '.join(leaves)}"
        )
    return leaves


def write_features(folder: Path, features: Features) -> None:
    """Writes features.json; what lies below "steps/" becomes the nested data set."""
    tree: dict[str, Any] = {}
    for path, leaf in features.items():
        *parents, name = path.split("/")
        at = tree
        for parent in parents:
            at = at.setdefault(parent, {})
        at[name] = leaf
    body = _dict({name: _node(child, is_steps=name == STEPS) for name, child in tree.items()})
    write_json(folder / FEATURES, body)


def read_json(path: Path) -> Any:
    """The content of a JSON file; DatasetError where it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # ValueError: not JSON, or not UTF-8
        raise DatasetError(f"{path}: expected a JSON file of a TFDS data set: {error}") from error


def write_json(path: Path, body: Any) -> None:
    """Writes a JSON file as TFDS does, keys in the order given."""
    path.write_text(json.dumps(body, indent=4) + "\n", encoding="utf-8")


def _leaves(node: Mapping[str, Any], path: str) -> Iterator[tuple[str, Leaf]]:
    below = f"{path}/" if path else ""
    if "featuresDict" in node:
        for name, child in node["featuresDict"].get("features", {}).items():
            yield from _leaves(child, below + name)
    elif "sequence" in node and path == STEPS:
        yield from _leaves(node["sequence"]["feature"], path)
    else:
        yield path, _leaf(node)


def _leaf(node: Mapping[str, Any]) -> Leaf:
    description = str(node.get("description", ""))
    if "image" in node:
        image = node["image"]
        encoding = str(image.get("encodingFormat", ""))
        return Leaf("image", _shape(image), str(image.get("dtype", "uint8")), encoding, description)
    if "text" in node:
        return Leaf("text", description=description)
    if "tensor" in node:
        tensor = node["tensor"]
        encoding = str(tensor.get("encoding", "none"))
        return Leaf("tensor", _shape(tensor), str(tensor["dtype"]), encoding, description)
    return Leaf("other", description=str(node.get("pythonClassName", "")))


def _shape(node: Mapping[str, Any]) -> tuple[int | None, ...]:
    sizes = (int(size) for size in node.get("shape", {}).get("dimensions", ()))
    return tuple(size if size >= 0 else None for size in sizes)


def _node(child: Leaf | Mapping[str, Any], is_steps: bool = False) -> dict[str, Any]:
    if isinstance(child, Leaf):
        return _written(child)
    node = _dict({name: _node(below) for name, below in child.items()})
    if not is_steps:
        return node
    return {"pythonClassName": _CLASSES["dataset"], "sequence": {"feature": node, "length": "-1"}}


def _dict(children: Mapping[str, Any]) -> dict[str, Any]:
    return {"pythonClassName": _DICT, "featuresDict": {"features": dict(children)}}


def _written(leaf: Leaf) -> dict[str, Any]:
    sizes = [str(-1 if size is None else size) for size in leaf.shape]
    shape = {"dimensions": sizes} if sizes else {}
    if leaf.kind == "image":
        kind, body = "image", {"shape": shape, "dtype": leaf.dtype, "encodingFormat": leaf.encoding}
        node = {"pythonClassName": _CLASSES[kind], "image": body}
    elif leaf.kind == "text":
        node = {"pythonClassName": _CLASSES["text"], "text": {}}
    else:
        kind = "tensor" if sizes else "scalar"
        body = {"shape": shape, "dtype": leaf.dtype, "encoding": leaf.encoding}
        node = {"pythonClassName": _CLASSES[kind], "tensor": body}
    return {**node, "description": leaf.description} if leaf.description else node
