"""Graphs that prepare frames: they are `prepare_image`, and NVIDIA's parser and builder take them."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("onnx", reason="onnx is not installed (extra 'export')")
from gpu_graphs import nvidia_parser  # noqa: E402

from octo_ros.engine.bundle import read_bundle  # noqa: E402
from octo_ros.engine.frames import CameraFrames  # noqa: E402
from octo_ros.engine.manifest import Camera  # noqa: E402
from octo_ros.errors import BundleError  # noqa: E402
from octo_ros.gpu.builder import Builder  # noqa: E402
from octo_ros.gpu.frames import LEVELS, SHARE, FrameError, frame_graph, write_frame_graphs  # noqa: E402
from octo_ros.policy.images import axis_weights, prepare_image  # noqa: E402
from octo_ros.resources import share_path  # noqa: E402

MANIFEST = read_bundle(share_path("demo/bundle"))
FRAMES = {"primary": CameraFrames(480, 640, True), "wrist": CameraFrames(120, 161, False)}

sides, targets = st.integers(2, 90), st.integers(2, 40)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def run(made: CameraFrames, camera: Camera, image: np.ndarray) -> np.ndarray:
    """The graph in ONNX Runtime on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = frame_graph(made, camera).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session.run(["prepared"], {"frame": image})[0]


@pytest.mark.parametrize("crop", [False, True])
@pytest.mark.parametrize(
    ("frame", "target"),
    [((480, 640), (256, 256)), ((480, 640), (128, 128)), ((479, 641), (255, 129)), ((720, 1280), (256, 256)),
     ((96, 128), (256, 256)), ((101, 77), (103, 60)), ((128, 128), (128, 128))],
)  # fmt: skip
def test_the_graph_is_prepare_image(frame, target, crop) -> None:
    """Up, down, odd, both at once; grey, and black and white, which is clipped."""
    for index in range(2):
        image = noise(*frame, index)
        if index:
            image = np.where(image < 128, np.uint8(0), np.uint8(255))
        got = run(CameraFrames(*frame, crop), Camera(*target, True, crop), image)
        expected = prepare_image(image, *target, crop)
        assert got.dtype == np.uint8 and got.shape == expected.shape
        apart = np.abs(got.astype(int) - expected)
        assert apart.max() <= LEVELS and np.count_nonzero(apart) <= SHARE * apart.size


@settings(max_examples=60, deadline=None, derandomize=True)
@given(sides, sides, targets, targets, st.booleans(), st.integers(0, 2**32 - 1))
def test_every_value_is_the_exact_one_rounded(height, width, to_height, to_width, crop, seed) -> None:
    """Of any sizes: what differs from prepare_image is a half that either may round."""
    image = noise(height, width, seed)
    got = run(CameraFrames(height, width, crop), Camera(to_height, to_width, False, crop), image)
    rows, columns = axis_weights(height, to_height, crop), axis_weights(width, to_width, crop)
    exact = np.clip(np.einsum("ah,hwc,bw->abc", rows, image.astype(float), columns), 0.0, 255.0)
    assert np.abs(got - exact).max() <= 0.5 + 1e-3
    differs = got != prepare_image(image, to_height, to_width, crop)
    assert (np.abs(exact[differs] % 1.0 - 0.5) < 1e-3).all()


@settings(max_examples=30, deadline=None, derandomize=True)
@given(sides, sides, targets, targets, st.booleans(), st.integers(0, 255))
def test_one_colour_stays_that_colour(height, width, to_height, to_width, crop, value) -> None:
    image = np.full((height, width, 3), value, np.uint8)
    got = run(CameraFrames(height, width, crop), Camera(to_height, to_width, False, crop), image)
    np.testing.assert_array_equal(got, np.full((to_height, to_width, 3), value))


def test_nvidias_own_parser_keeps_the_graph_float32_between_its_ends(tmp_path) -> None:
    write_frame_graphs(FRAMES, MANIFEST, tmp_path)
    for file in tmp_path.iterdir():
        builder, network = Builder(nvidia_parser()).parse(file)
        layers = [network.get_layer(index) for index in range(network.num_layers)]
        types = [layer.get_output(0).dtype.name for layer in layers]
        assert set(types[:-1]) == {"FLOAT"} and types[-1] == "UINT8"
        assert sum(layer.type.name == "MATRIX_MULTIPLY" for layer in layers) == 2
        assert builder is not None  # it owns the network


@pytest.mark.parametrize("camera", FRAMES)
def test_nvidias_own_builder_builds_the_graph(tmp_path, camera) -> None:
    write_frame_graphs({camera: FRAMES[camera]}, MANIFEST, tmp_path)
    layers = Builder(nvidia_parser()).build(tmp_path / f"prepare_{camera}.onnx", tmp_path / "plan")
    assert layers.pop("UINT8") == 1 and list(layers) == ["FLOAT"]
    assert (tmp_path / "plan").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("error", "passes"),
    [(FrameError(10_000, 0, 0.0), True), (FrameError(10_000, 1, SHARE), True),
     (FrameError(10_000, 2, 0.0001), False), (FrameError(10_000, 1, 0.0011), False)],
)  # fmt: skip
def test_frames_may_differ_by_a_level_and_in_a_thousandth(error: FrameError, passes: bool) -> None:
    if passes:
        error.check("wrist")
    else:
        with pytest.raises(BundleError, match=r"frames of wrist .*at most 1 of 255 levels apart and 0.1%"):
            error.check("wrist")
