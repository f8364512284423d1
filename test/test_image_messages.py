"""Camera messages in every encoding become the same picture; what cannot be read is named."""

from __future__ import annotations

import array
import sys
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octo_ros import image_messages
from octo_ros.errors import ImageError
from octo_ros.image_messages import ENCODINGS, stamp_ns, to_rgb


@dataclass
class Image:
    """The fields of a sensor_msgs/Image that are read."""

    encoding: str
    height: int
    width: int
    step: int
    data: Any
    is_bigendian: int = 0


@dataclass
class CompressedImage:
    """The fields of a sensor_msgs/CompressedImage that are read."""

    format: str
    data: Any


@pytest.fixture(autouse=True)
def without_cv_bridge(monkeypatch: pytest.MonkeyPatch):
    """The converter through OpenCV alone, whether or not cv_bridge is installed; chosen anew each time."""
    monkeypatch.setitem(sys.modules, "cv_bridge", None)
    image_messages._raw_converter.cache_clear()
    yield
    image_messages._raw_converter.cache_clear()


def picture(height: int = 6, width: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def message(encoding: str, pixels: np.ndarray, padding: int = 0) -> Image:
    """An image message of (height, width, ...) pixels, each row followed by `padding` bytes of 0xAA."""
    rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(pixels.shape[0], -1)
    data = np.pad(rows, ((0, 0), (0, padding)), constant_values=0xAA)
    return Image(encoding, pixels.shape[0], pixels.shape[1], data.shape[1], data.tobytes())


def encoded(encoding: str, rgb: np.ndarray) -> np.ndarray:
    """An RGB picture as pixels of an encoding that loses nothing."""
    alpha = np.full((*rgb.shape[:2], 1), 7, np.uint8)
    return {
        "rgb8": rgb,
        "bgr8": rgb[..., ::-1],
        "rgba8": np.concatenate([rgb, alpha], axis=2),
        "bgra8": np.concatenate([rgb[..., ::-1], alpha], axis=2),
        "rgb16": rgb.astype("<u2") * 257,
        "bgr16": rgb[..., ::-1].astype("<u2") * 257,
    }[encoding]


LOSSLESS = ["rgb8", "bgr8", "rgba8", "bgra8", "rgb16", "bgr16"]


@pytest.mark.parametrize("encoding", LOSSLESS)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 5), st.integers(0, 99))
def test_colour_comes_back_whatever_the_padding(
    encoding: str, height: int, width: int, padding: int, seed: int
) -> None:
    rgb = picture(height, width, seed)
    got = to_rgb(message(encoding, encoded(encoding, rgb), padding))
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, rgb)


def test_grey_in_8_and_16_bits() -> None:
    grey = picture()[..., 0]
    expected = np.repeat(grey[..., None], 3, axis=2)
    np.testing.assert_array_equal(to_rgb(message("mono8", grey, 3)), expected)
    np.testing.assert_array_equal(to_rgb(message("mono16", grey.astype("<u2") * 257, 2)), expected)
    big = message("mono16", grey.astype(">u2") * 257)
    big.is_bigendian = 1
    np.testing.assert_array_equal(to_rgb(big), expected)


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_patterns_are_told_apart(pattern: str) -> None:
    colour = {"r": 200, "g": 120, "b": 40}
    mosaic = np.zeros((8, 8), np.uint8)
    for at, letter in enumerate(pattern):
        mosaic[at // 2 :: 2, at % 2 :: 2] = colour[letter]
    got = to_rgb(message(f"bayer_{pattern}8", mosaic, 1))
    np.testing.assert_array_equal(got, np.broadcast_to(np.uint8([200, 120, 40]), (8, 8, 3)))


@pytest.mark.parametrize("encoding", ["yuv422", "uyvy", "yuv422_yuy2", "yuyv"])
def test_yuv_pairs_share_their_colour(encoding: str) -> None:
    """BT.601 by hand: white, black, and a pure red pair."""
    pairs = [(235, 128, 235, 128), (16, 128, 16, 128), (81, 90, 81, 240)]  # y0 u y1 v
    order = [1, 0, 3, 2] if encoding in ("yuv422", "uyvy") else [0, 1, 2, 3]
    pixels = np.uint8([[pair[at] for pair in pairs for at in order]]).reshape(1, 6, 2)
    got = to_rgb(message(encoding, pixels, 4)).astype(int)
    expected = np.repeat([[255, 255, 255], [0, 0, 0], [255, 0, 0]], 2, axis=0)[None]
    assert np.abs(got - expected).max() <= 3


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, list, lambda d: array.array("B", d),
                                  lambda d: np.frombuffer(d, np.uint8)])  # fmt: skip
def test_any_kind_of_byte_field_is_read(kind: Any) -> None:
    rgb = picture()
    given = message("rgb8", rgb)
    given.data = kind(given.data)
    np.testing.assert_array_equal(to_rgb(given), rgb)


def test_the_last_rows_padding_may_be_left_off() -> None:
    rgb = picture()
    given = message("rgb8", rgb, padding=5)
    given.data = given.data[:-5]
    np.testing.assert_array_equal(to_rgb(given), rgb)


@pytest.mark.parametrize("form", ["jpeg", "rgb8; jpeg compressed bgr8", "bgr8; jpeg compressed bgr8"])
def test_jpeg_keeps_its_colours(form: str) -> None:
    rgb = np.zeros((16, 16, 3), np.uint8)
    rgb[:, :, 0], rgb[:, :, 2] = 250, 20
    data = cv2.imencode(".jpg", rgb[..., ::-1])[1].tobytes()
    got = to_rgb(CompressedImage(form, data)).astype(int)
    assert np.abs(got - rgb).max() <= 4


def test_png_is_exact_and_a_file_in_rgb_order_is_not_swapped() -> None:
    rgb = picture()
    png = cv2.imencode(".png", rgb[..., ::-1])[1].tobytes()
    np.testing.assert_array_equal(to_rgb(CompressedImage("rgb8; png compressed bgr8", png)), rgb)
    swapped = cv2.imencode(".png", rgb)[1].tobytes()
    np.testing.assert_array_equal(to_rgb(CompressedImage("rgb8; png compressed rgb8", swapped)), rgb)


def test_grey_files_become_three_channels() -> None:
    grey = picture()[..., 0]
    png = cv2.imencode(".png", grey)[1].tobytes()
    got = to_rgb(CompressedImage("mono8; png compressed ", png))
    np.testing.assert_array_equal(got, np.repeat(grey[..., None], 3, axis=2))


WRONG = [
    (Image("8UC3", 4, 4, 12, bytes(48)), "encoding '8UC3' is not one of rgb8, bgr8"),
    (Image("32FC1", 4, 4, 16, bytes(64)), "encoding '32FC1'"),
    (Image("rgb8", 0, 4, 12, b""), "expected at least 1 x 1 pixel, got 4 x 0"),
    (Image("rgb8", 4, 4, 11, bytes(48)), "step: 4 pixels of rgb8 need 12 bytes, got 11"),
    (Image("rgb8", 4, 4, 12, bytes(47)), "4 x 4 rgb8 with step 12 needs 48 bytes, got 47"),
    (Image("mono16", 4, 4, 7, bytes(48)), "step: 4 pixels of mono16 need 8 bytes, got 7"),
    (Image("yuyv", 4, 3, 6, bytes(24)), "yuyv needs an even width, got 3"),
    (Image("bayer_rggb8", 1, 4, 4, bytes(4)), "needs at least 2 x 2 pixels, got 4 x 1"),
    (Image("rgb8", 4, 4, 12, "text"), "data: expected bytes, got str"),
    (Image("rgb8", 1, 1, 3, [1, 2, 999]), "data: expected bytes, got list"),
    (CompressedImage("jpeg", b""), "0 bytes of format 'jpeg' cannot be decoded"),
    (CompressedImage("jpeg", b"not a jpeg"), "10 bytes of format 'jpeg' cannot be decoded"),
    (CompressedImage("16UC1; compressedDepth png", b"x"), "is a depth image"),
    (SimpleNamespace(data=b""), "expected sensor_msgs Image or CompressedImage, got SimpleNamespace"),
]


@pytest.mark.parametrize(("given", "text"), WRONG, ids=[text[:40] for _, text in WRONG])
def test_what_cannot_be_read_is_named(given: Any, text: str) -> None:
    with pytest.raises(ImageError) as raised:
        to_rgb(given)
    assert text in str(raised.value)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.sampled_from(sorted(ENCODINGS)),
    st.integers(-1, 5),
    st.integers(-1, 5),
    st.integers(-1, 40),
    st.binary(max_size=200),
)
def test_any_fields_give_a_picture_or_an_image_error(
    encoding: str, height: int, width: int, step: int, data: bytes
) -> None:
    try:
        got = to_rgb(Image(encoding, height, width, step, data))
    except ImageError:
        return
    assert got.shape == (height, width, 3) and got.dtype == np.uint8


def test_a_cut_jpeg_does_not_pass_as_an_array_of_another_shape() -> None:
    data = cv2.imencode(".jpg", picture(40, 40))[1].tobytes()
    for length in range(0, len(data), 50):
        try:
            assert to_rgb(CompressedImage("jpeg", data[:length])).shape == (40, 40, 3)
        except ImageError as error:
            assert "cannot be decoded" in str(error)


class FakeBridgeError(TypeError):
    """In place of cv_bridge's own."""


def install_bridge(monkeypatch: pytest.MonkeyPatch, convert: Any) -> None:
    module = ModuleType("cv_bridge")
    module.CvBridge = type("CvBridge", (), {"imgmsg_to_cv2": staticmethod(convert)})
    module.CvBridgeError = FakeBridgeError
    monkeypatch.setitem(sys.modules, "cv_bridge", module)
    image_messages._raw_converter.cache_clear()


def test_cv_bridge_is_used_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    rgb = picture()
    asked = []

    def convert(given: Image, desired_encoding: str) -> np.ndarray:
        asked.append((given.encoding, desired_encoding))
        return rgb

    install_bridge(monkeypatch, convert)
    np.testing.assert_array_equal(to_rgb(message("bgr8", rgb)), rgb)
    assert asked == [("bgr8", "rgb8")]
    with pytest.raises(ImageError, match="needs 48 bytes, got 3"):  # sizes are checked before it is asked
        to_rgb(Image("rgb8", 4, 4, 12, bytes(3)))
    assert len(asked) == 1


def test_an_error_of_cv_bridge_is_an_image_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def convert(given: Image, desired_encoding: str) -> np.ndarray:
        raise FakeBridgeError("no conversion")

    install_bridge(monkeypatch, convert)
    with pytest.raises(ImageError, match="cv_bridge could not read yuyv: no conversion"):
        to_rgb(message("yuyv", np.zeros((2, 2, 2), np.uint8)))


def test_stamps_are_whole_nanoseconds() -> None:
    header = SimpleNamespace(stamp=SimpleNamespace(sec=1_700_000_000, nanosec=123_456_789))
    assert stamp_ns(header) == 1_700_000_000_123_456_789
