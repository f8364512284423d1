"""What the arithmetic of a bundle's graphs allows on a GPU: a roofline, an estimate and no measurement.

.venv/bin/python bench/roofline.py out/octo-small/bundle out/octo-base/bundle > roofline.md

Counted are the products (MatMul, Gemm, Conv), two operations a multiply-add, from shapes that ONNX infers;
their precision is what `octo_ros.gpu.precision.plan` gives them. `--frames primary=640x480` also counts the
graphs that prepare frames. Left out are norms, softmax, activations, launches of kernels, and the share of
the peak that a kernel reaches: real times are longer.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import helper

from octo_ros.engine.bundle import read_bundle
from octo_ros.engine.frames import camera_frames, parse_sizes
from octo_ros.engine.graphs import HISTORY, LANGUAGE, STEP, TASK
from octo_ros.engine.manifest import Graph
from octo_ros.errors import BundleError, OctoRosError
from octo_ros.gpu.frames import write_frame_graphs
from octo_ros.gpu.precision import FP16, FP32, INT8, plan

ORDER = (STEP, HISTORY, TASK, LANGUAGE)
"""Graphs that a robot runs, in the order of the tables."""

PRODUCTS = ("MatMul", "Gemm", "Conv")
"""Operators that are counted. Where one has a weight, it is the second input."""

READ = {FP32: 4, FP16: 2, INT8: 1}
WRITTEN = {FP32: 4, FP16: 2, INT8: 2}
"""Bytes of an element that a product reads and writes, by its precision: what int8 hands on is float16."""

KEPT_BY_SPARSITY = {FP32: 1.0, FP16: 9 / 16, INT8: 5 / 8}
"""Share of a weight's bytes under 2:4 sparsity: half of the values, and two bits for each of these."""


@dataclass(frozen=True)
class Device:
    """Peaks of a GPU.

    Attributes:
        name: for people.
        rates: operations a second of dense products, by precision; twice that for 2:4 sparse weights
            in float16 and int8.
        bandwidth: of its memory [byte/s].
    """

    name: str
    rates: Mapping[str, float]
    bandwidth: float

    @classmethod
    def of_sheet(cls, name: str, sparse_int8: float, fp32: float, bandwidth: float) -> Device:
        """Of a data sheet's figures: it gives int8 sparse, which is twice int8 dense, four times float16.

        Args:
            sparse_int8: [TOPS]. fp32: of the CUDA cores [TFLOPS]. bandwidth: [GB/s].
        """
        dense = sparse_int8 * 1e12 / 2
        return cls(name, {INT8: dense, FP16: dense / 2, FP32: fp32 * 1e12}, bandwidth * 1e9)


# The GPU alone, no DLA. Orin: data sheet DS-10662-001 (64 tensor cores at 1.3 GHz, 56 at 939 MHz), and
# float32 as CUDA cores * 2 * clock. H100: data sheet of the SXM module.
DEVICES = (
    Device.of_sheet("AGX Orin 64 GB", 170.0, 2048 * 2 * 1.3e-3, 204.8),
    Device.of_sheet("AGX Orin 32 GB", 108.0, 1792 * 2 * 0.939e-3, 204.8),
    Device.of_sheet("H100 SXM", 3958.0, 67.0, 3350.0),
)


@dataclass(frozen=True)
class Product:
    """One product of a graph.

    Attributes:
        operations: two a multiply-add.
        precision: what it computes in.
        read: elements of its operands, the weight left out. written: elements of its result.
        weight: elements of its weight, 0 where both operands are computed.
    """

    operations: int
    precision: str
    read: int
    written: int
    weight: int

    def seconds(self, device: Device, sparse: bool = False) -> float:
        """Arithmetic alone [s]."""
        doubled = sparse and self.weight and self.precision != FP32
        return self.operations / (device.rates[self.precision] * (2 if doubled else 1))

    def bytes(self, sparse: bool = False) -> float:
        """Traffic where nothing is kept on the chip from one product to the next."""
        share = KEPT_BY_SPARSITY[self.precision] if sparse else 1.0
        read = READ[self.precision] * (self.read + share * self.weight)
        return read + WRITTEN[self.precision] * self.written


@dataclass(frozen=True)
class Counted:
    """A graph in one precision.

    Attributes:
        products: all of them.
        weights: bytes of all initializers. sparse_weights: the same under 2:4 sparsity.
        ends: bytes of the graph's inputs and outputs, which keep the manifest's types.
    """

    products: tuple[Product, ...]
    weights: float
    sparse_weights: float
    ends: int

    def operations(self, *precisions: str) -> int:
        """Of the products in these precisions, of all where none is named."""
        return sum(one.operations for one in self.products if not precisions or one.precision in precisions)

    def at_least(self, device: Device, sparse: bool = False) -> float:
        """The whole graph's roofline [s]: its arithmetic, or its weights and ends read or written once."""
        arithmetic = sum(one.seconds(device, sparse) for one in self.products)
        weights = self.sparse_weights if sparse else self.weights
        return max(arithmetic, (weights + self.ends) / device.bandwidth)

    def one_by_one(self, device: Device, sparse: bool = False) -> float:
        """The sum of every product's own roofline [s]: nothing stays on the chip between two of them."""
        return sum(
            max(one.seconds(device, sparse), one.bytes(sparse) / device.bandwidth) for one in self.products
        )


def count(name: str, path: Path, described: Graph, precision: str) -> Counted:
    """Counts a graph.

    Args:
        name: of the graph in the manifest.
        path: of its file; its weights are not read.
        described: its inputs and outputs.
        precision: of the engine, one of `octo_ros.gpu.precision.PRECISIONS`.

    Raises:
        BundleError: a graph with loops or branches, or with a shape that cannot be inferred.
    """
    model = onnx.shape_inference.infer_shapes(onnx.load(path, load_external_data=False), data_prop=True)
    planned = plan(name, model, precision)
    sizes = shapes(model.graph)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    users: dict[str, list[onnx.NodeProto]] = {}
    products = []
    for node in model.graph.node:
        if any(attribute.type == onnx.AttributeProto.GRAPH for attribute in node.attribute):
            raise BundleError(f"{path}: {node.op_type} {node.name}: loops and branches are not counted")
        for read in node.input:
            users.setdefault(read, []).append(node)
        if node.op_type in PRODUCTS:
            missing = [one for one in (*node.input[:2], node.output[0]) if one not in sizes]
            if missing:
                raise BundleError(f"{path}: {node.name}: no shape is inferred for {missing[0]}")
            products.append(product(node, sizes, weights.keys(), planned[node.name]))
    dense = sparse = 0.0
    for tensor in weights.values():
        kept, size = _stored(tensor, users.get(tensor.name, []), planned)
        dense += size
        sparse += size * kept
    ends = sum(
        math.prod(tensor.shape) * np.dtype(tensor.dtype).itemsize
        for tensor in (*described.inputs.values(), *described.outputs.values())
    )
    return Counted(tuple(products), dense, sparse, ends)


def product(
    node: onnx.NodeProto, sizes: Mapping[str, tuple[int, ...]], weights: Collection[str], precision: str
) -> Product:
    """One node of `PRODUCTS`, from the shapes of its operands and its result."""
    left, right, result = (sizes[name] for name in (*node.input[:2], node.output[0]))
    if node.op_type == "Conv":
        depth = math.prod(right[1:])  # channels of a group times the kernel
    elif node.op_type == "Gemm":
        depth = left[0 if _attribute(node, "transA", 0) else 1]
    else:
        depth = left[-1]
    is_weight = node.input[1] in weights
    return Product(
        operations=2 * math.prod(result) * depth,
        precision=precision,
        read=math.prod(left) + (0 if is_weight else math.prod(right)),
        written=math.prod(result),
        weight=math.prod(right) if is_weight else 0,
    )


def shapes(graph: onnx.GraphProto) -> dict[str, tuple[int, ...]]:
    """Every fixed shape that is known, by tensor."""
    found = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        sizes = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(size.HasField("dim_value") for size in sizes):
            found[value.name] = tuple(size.dim_value for size in sizes)
    return found


def _stored(
    tensor: onnx.TensorProto, users: Sequence[onnx.NodeProto], planned: Mapping[str, str]
) -> tuple[float, float]:
    """The share of a weight that 2:4 sparsity keeps, and its bytes in an engine."""
    elements = math.prod(tensor.dims)
    if tensor.data_type != onnx.TensorProto.FLOAT:
        return 1.0, elements * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    multiplied = [
        planned[node.name] for node in users if node.op_type in PRODUCTS and node.input[1] == tensor.name
    ]
    if multiplied:
        return KEPT_BY_SPARSITY[multiplied[0]], elements * READ[multiplied[0]]
    return 1.0, elements * (4 if all(planned[node.name] == FP32 for node in users) else 2)


def _attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    return next((one.i for one in node.attribute if one.name == name), default)


def report(bundle: Path, sizes: Mapping[str, tuple[int, int]] | None = None) -> Iterator[str]:
    """The tables of a bundle, line by line, in Markdown; sizes of frames as `parse_sizes` gives them."""
    manifest = read_bundle(bundle)
    graphs = {name: (bundle, manifest.graphs[name]) for name in ORDER if name in manifest.graphs}
    with tempfile.TemporaryDirectory() as scratch:
        preparing = write_frame_graphs(camera_frames(manifest, sizes or {}), manifest, Path(scratch))
        graphs |= {name: (Path(scratch), graph) for name, graph in preparing.items()}
        counted = {
            (name, precision): count(name, folder / graph.file, graph, precision)
            for name, (folder, graph) in graphs.items()
            for precision in (FP32, FP16, INT8)
        }
    yield f"{manifest.checkpoint['name']}, {int(manifest.checkpoint['parameters']) / 1e6:.0f} M parameters\n"
    yield "| graph | GFLOP | in int8 | weights fp32 [MB] | fp16 [MB] | int8 [MB] | inputs, outputs [MB] |"
    yield "|---|---|---|---|---|---|---|"
    for name in dict.fromkeys(name for name, _ in counted):
        every = [counted[name, precision] for precision in (FP32, FP16, INT8)]
        stored = " | ".join(f"{one.weights / 1e6:.1f}" for one in every)
        share = every[-1].operations(INT8) / every[-1].operations()
        yield (
            f"| `{name}` | {every[0].operations() / 1e9:.2f} | {share:.0%} | {stored} "
            f"| {every[0].ends / 1e6:.2f} |"
        )
    yield from estimates(counted, list(preparing))


def estimates(counted: Mapping[tuple[str, str], Counted], preparing: Sequence[str]) -> Iterator[str]:
    """The table of times, from graphs by name and precision; `preparing` are those that prepare frames."""
    yield "\n| estimated milliseconds | precision | `step` | `step` + `history` |"
    yield "|---|---|---|---|"
    stages = [name for name in (STEP, HISTORY) if (name, FP16) in counted]
    frames = [counted[name, FP32] for name in preparing]
    for device in DEVICES:
        if frames:
            yield f"| {device.name} | frames, {FP32} | {span(frames, device)} | |"
        for precision, sparse in ((FP16, False), (FP16, True), (INT8, False), (INT8, True)):
            graphs = [counted[name, precision] for name in stages]
            cells = (span(some, device, sparse) for some in (graphs[:1], graphs))
            label = precision + (", 2:4 sparse" if sparse else "")
            yield f"| {device.name} | {label} | " + " | ".join(cells) + " |"
    yield ""


def span(graphs: Sequence[Counted], device: Device, sparse: bool = False) -> str:
    """Both rooflines of some graphs, one after the other [ms]."""
    least = sum(one.at_least(device, sparse) for one in graphs)
    return f"{1e3 * least:.2f} to {1e3 * sum(one.one_by_one(device, sparse) for one in graphs):.2f}"


def main() -> int:
    """Prints the tables; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path, nargs="+", help="engine bundle of float32")
    parser.add_argument(
        "--frames", action="append", default=[], metavar="CAMERA=WIDTHxHEIGHT",
        help="size of a camera's frames, as of `octo_ros build`; repeatable",
    )  # fmt: skip
    options = parser.parse_args()
    try:
        sizes = parse_sizes(options.frames)
        for bundle in options.bundle:
            for line in report(bundle, sizes):
                print(line)
    except OctoRosError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
