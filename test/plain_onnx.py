"""What every graph of a bundle must be: plain ONNX, of fixed shapes, without chance, without traces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx

from octo_ros.engine.bundle import read_bundle

RANDOM_OPERATORS = {
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Bernoulli",
    "Multinomial",
    "Dropout",
}

ROOT = Path(__file__).resolve().parent.parent


def nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Every node, those of loops and branches too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from nodes(inner)


def assert_plain(bundle: Path, *places: Path) -> None:
    """Checks every graph, and that no file holds a path of this machine.

    Args:
        bundle: folder.
        places: folders, besides the project's, that must not be named.
    """
    for graph in read_bundle(bundle).graphs.values():
        path = bundle / graph.file
        onnx.checker.check_model(str(path), full_check=True)  # by its path: the weights lie beside it
        model = onnx.load(path, load_external_data=False)
        assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
        assert not {node.op_type for node in nodes(model.graph)} & RANDOM_OPERATORS
        for entry in (*model.graph.input, *model.graph.output):
            assert all(dim.HasField("dim_value") for dim in entry.type.tensor_type.shape.dim)
    for path in bundle.iterdir():
        content = path.read_bytes()
        for place in (ROOT, Path.home(), *places):
            assert str(place).encode() + b"/" not in content, f"{path.name} names {place}"
