"""Graphs that prepare cameras' frames on a GPU, and how far their pixels are from `prepare_image`'s.

A graph is two float32 products with constant weights, whatever the engine's precision: clip(round(rows @
image @ columns^T)) of each colour. The weights are dense, most of them zeros: a frame of H x W pixels for a
network's h x w takes 3 h W (H + w) multiply-adds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from octo_ros.engine.backend import Backend
from octo_ros.engine.frames import FRAME, PREPARED, CameraFrames, prepare_graph
from octo_ros.engine.manifest import Camera, Graph, Manifest
from octo_ros.errors import BundleError
from octo_ros.policy.images import axis_weights, prepare_image

OPSET, IR_VERSION = 18, 8
"""Of the bundles' own graphs."""

LEVELS, SHARE = 1, 0.001
"""Largest difference of a value accepted, of 255 levels, and the largest share of values that differ. Sums
in another order are rounded to the other side now and then where they end close to a half."""

JUDGED = 4
"""Frames that a graph is judged by."""


def write_frame_graphs(
    frames: Mapping[str, CameraFrames], manifest: Manifest, folder: Path
) -> dict[str, Graph]:
    """Writes the graph of each camera into an existing folder; gives them by name, as a manifest would."""
    graphs = {}
    for camera, made in frames.items():
        name = prepare_graph(camera)
        graphs[name] = made.graph(f"{name}.onnx", manifest.cameras[camera])
        model = frame_graph(made, manifest.cameras[camera])
        (folder / graphs[name].file).write_bytes(model.SerializeToString(deterministic=True))
    return graphs


def frame_graph(made: CameraFrames, camera: Camera) -> onnx.ModelProto:
    """The graph from a frame (H, W, 3) uint8 to the network's (h, w, 3) uint8, rows first.

    TensorRT takes 8-bit images only where a cast to float32 comes first, gives them only where a cast from it
    comes last, and that cast cuts off: so what it is given are whole numbers from 0 to 255.
    """
    weights = {
        "rows": axis_weights(made.height, camera.height, made.center_crop),  # (h, H)
        "columns": axis_weights(made.width, camera.width, made.center_crop).T,  # (W, w)
    }
    shapes = {
        "as_rows": (made.height, made.width * 3),
        "as_pixels": (camera.height, made.width, 3),
        "as_columns": (camera.height * 3, made.width),
        "as_colours": (camera.height, 3, camera.width),
    }
    nodes = [
        helper.make_node("Cast", [FRAME], ["floats"], "cast_frame", to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["floats", "as_rows"], ["image"], "flatten"),  # (H, W * 3)
        helper.make_node("MatMul", ["rows", "image"], ["short"], "resize_rows"),  # (h, W * 3)
        helper.make_node("Reshape", ["short", "as_pixels"], ["pixels"], "split_colours"),
        helper.make_node("Transpose", ["pixels"], ["turned"], "colours_outside", perm=[0, 2, 1]),
        helper.make_node("Reshape", ["turned", "as_columns"], ["lines"], "join_lines"),  # (h * 3, W)
        helper.make_node("MatMul", ["lines", "columns"], ["narrow"], "resize_columns"),  # (h * 3, w)
        helper.make_node("Reshape", ["narrow", "as_colours"], ["colours"], "split_lines"),
        helper.make_node("Transpose", ["colours"], ["exact"], "colours_inside", perm=[0, 2, 1]),
        helper.make_node("Round", ["exact"], ["whole"], "round"),  # halves to even, as numpy's rint
        helper.make_node("Clip", ["whole", "black", "white"], ["clipped"], "clip"),
        helper.make_node("Cast", ["clipped"], [PREPARED], "cast_prepared", to=TensorProto.UINT8),
    ]
    constants = {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in weights.items()}
    constants |= {name: np.array(shape, dtype=np.int64) for name, shape in shapes.items()}
    constants |= {"black": np.array(0, np.float32), "white": np.array(255, np.float32)}
    ends = (
        helper.make_tensor_value_info(name, TensorProto.UINT8, shape)
        for name, shape in (
            (FRAME, (made.height, made.width, 3)),
            (PREPARED, (camera.height, camera.width, 3)),
        )
    )
    graph = helper.make_graph(
        nodes, "prepare", *([end] for end in ends),
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return model


@dataclass(frozen=True)
class FrameError:
    """How far frames of one camera are from `prepare_image`'s.

    Attributes:
        values: that were compared, three a pixel.
        levels: largest difference, of 255.
        share: of the values that differ.
    """

    values: int
    levels: int
    share: float

    def check(self, camera: str) -> None:
        """Raises BundleError beyond `LEVELS` or `SHARE`; camera, for the message."""
        if self.levels > LEVELS or self.share > SHARE:
            raise BundleError(
                f"frames of {camera} against the CPU's: expected at most {LEVELS} of 255 levels apart and "
                f"{SHARE:.1%} of the values, got {self}"
            )

    def to_dict(self) -> dict[str, float]:
        """Plain numbers."""
        return {"values": self.values, "levels": self.levels, "share": self.share}

    def __str__(self) -> str:
        return f"{self.levels} levels and {self.share:.3%} of {self.values} values"


def frame_errors(
    backend: Backend, frames: Mapping[str, CameraFrames], seed: int = 0
) -> dict[str, FrameError]:
    """Prepares frames of noise both ways, and compares them.

    The map is linear up to its rounding, so noise tries all of its weights; black and white noise is beyond
    the range before it is clipped.

    Args:
        backend: that runs the cameras' graphs.
        frames: by camera, those of the graphs.
        seed: of the noise.

    Raises:
        BundleError: a graph that cannot be run.
    """
    errors = {}
    for name, made in frames.items():
        camera = backend.manifest.cameras[name]
        apart = [
            np.abs(
                backend.run(prepare_graph(name), {FRAME: image})[PREPARED].astype(int)
                - prepare_image(image, camera.height, camera.width, made.center_crop, name)
            )
            for image in _noise(made, np.random.default_rng(seed))
        ]
        differing = np.concatenate([one.ravel() for one in apart])
        errors[name] = FrameError(
            differing.size, int(differing.max()), np.count_nonzero(differing) / differing.size
        )
    return errors


def _noise(made: CameraFrames, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """`JUDGED` frames: all grey levels, and black and white, in turn."""
    for index in range(JUDGED):
        image = rng.integers(0, 256, (made.height, made.width, 3), dtype=np.uint8)
        yield np.where(image < 128, np.uint8(0), np.uint8(255)) if index % 2 else image
