"""Camera messages to RGB arrays: sensor_msgs/Image and CompressedImage, in the encodings cameras send.

Messages are read by their fields, so those of rclpy and of the rosbags library both do. Raw
encodings go through cv_bridge where it is installed, else through the same OpenCV conversions
that cv_bridge calls.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from octo_ros.errors import ImageError
from octo_ros.types import NANOSECONDS


@dataclass(frozen=True)
class Encoding:
    """How the pixels of a raw encoding lie in memory, and how they become RGB.

    Attributes:
        channels: values per pixel.
        depth: bits per value, 8 or 16.
        code: OpenCV's conversion to RGB, or None where the pixels are RGB.
    """

    channels: int
    depth: int
    code: int | None


# OpenCV names a Bayer pattern by its second row's second and third pixels, ROS by its first two rows.
ENCODINGS = {
    "rgb8": Encoding(3, 8, None),
    "bgr8": Encoding(3, 8, cv2.COLOR_BGR2RGB),
    "rgba8": Encoding(4, 8, cv2.COLOR_RGBA2RGB),
    "bgra8": Encoding(4, 8, cv2.COLOR_BGRA2RGB),
    "mono8": Encoding(1, 8, cv2.COLOR_GRAY2RGB),
    "rgb16": Encoding(3, 16, None),
    "bgr16": Encoding(3, 16, cv2.COLOR_BGR2RGB),
    "mono16": Encoding(1, 16, cv2.COLOR_GRAY2RGB),
    "yuv422": Encoding(2, 8, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": Encoding(2, 8, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": Encoding(2, 8, cv2.COLOR_YUV2RGB_YUY2),
    "yuyv": Encoding(2, 8, cv2.COLOR_YUV2RGB_YUY2),
    "bayer_rggb8": Encoding(1, 8, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr8": Encoding(1, 8, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg8": Encoding(1, 8, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg8": Encoding(1, 8, cv2.COLOR_BayerGB2RGB),
}
"""Raw encodings that are read, by the name in sensor_msgs/image_encodings."""


def to_rgb(message: Any) -> np.ndarray:
    """The picture in a sensor_msgs/Image or CompressedImage, (H, W, 3) uint8 RGB.

    16-bit values are scaled to 8 bits. The array may share the message's memory: do not write to it.

    Raises:
        ImageError: an encoding that is not read, a size or step that does not fit it, or data that
            is too short or cannot be decoded; the message names expected and got.
    """
    if hasattr(message, "encoding"):
        return _raw(message)
    if hasattr(message, "format"):
        return _compressed(message)
    raise ImageError(f"image: expected sensor_msgs Image or CompressedImage, got {type(message).__name__}")


def stamp_ns(header: Any) -> int:
    """Stamp of a std_msgs/Header [ns]."""
    return int(header.stamp.sec) * NANOSECONDS + int(header.stamp.nanosec)


def _raw(message: Any) -> np.ndarray:
    encoding = ENCODINGS.get(message.encoding)
    if encoding is None:
        raise ImageError(f"image: encoding {message.encoding!r} is not one of {', '.join(ENCODINGS)}")
    data = _check_layout(message, encoding)
    return _raw_converter()(message, encoding, data)


def _check_layout(message: Any, encoding: Encoding) -> np.ndarray:
    """The message's bytes, (height, step) uint8, after every size was checked."""
    height, width, step = int(message.height), int(message.width), int(message.step)
    if height < 1 or width < 1:
        raise ImageError(f"image: expected at least 1 x 1 pixel, got {width} x {height}")
    if encoding.channels == 2 and width % 2:
        raise ImageError(f"image: {message.encoding} needs an even width, got {width}")
    if message.encoding.startswith("bayer") and (width < 2 or height < 2):
        raise ImageError(f"image: {message.encoding} needs at least 2 x 2 pixels, got {width} x {height}")
    row = width * encoding.channels * encoding.depth // 8
    if step < row:
        raise ImageError(f"image: step: {width} pixels of {message.encoding} need {row} bytes, got {step}")
    data = _bytes(message.data)
    needed = step * (height - 1) + row  # the last row's padding may be left off
    if data.size < needed:
        layout = f"{width} x {height} {message.encoding} with step {step}"
        raise ImageError(f"image: data: {layout} needs {needed} bytes, got {data.size}")
    return np.lib.stride_tricks.as_strided(data, (height, row), (step, 1), writeable=False)


def _bytes(data: Any) -> np.ndarray:
    """(n,) uint8 of a message's data field: bytes, array.array, numpy or a list of numbers."""
    try:
        if isinstance(data, (list, tuple)):
            return np.array(data, dtype=np.uint8)
        return np.frombuffer(data, dtype=np.uint8)
    except (TypeError, ValueError, OverflowError, BufferError) as error:
        raise ImageError(f"image: data: expected bytes, got {type(data).__name__}: {error}") from error


@functools.lru_cache(maxsize=1)
def _raw_converter() -> Callable[[Any, Encoding, np.ndarray], np.ndarray]:
    """cv_bridge where it can be imported, else OpenCV alone."""
    try:
        from cv_bridge import CvBridge, CvBridgeError
    except (ImportError, AttributeError):  # AttributeError: built for another numpy
        return _through_opencv
    bridge = CvBridge()

    def through_cv_bridge(message: Any, encoding: Encoding, data: np.ndarray) -> np.ndarray:
        try:
            return bridge.imgmsg_to_cv2(message, desired_encoding="rgb8")
        except (CvBridgeError, TypeError, ValueError) as error:
            raise ImageError(f"image: cv_bridge could not read {message.encoding}: {error}") from error

    return through_cv_bridge


def _through_opencv(message: Any, encoding: Encoding, data: np.ndarray) -> np.ndarray:
    height, width = int(message.height), int(message.width)
    if encoding.depth == 16:
        order = ">u2" if message.is_bigendian else "<u2"
        values = np.ascontiguousarray(data).view(order)
        data = np.rint(values.astype(np.float32) * (255.0 / 65535.0)).astype(np.uint8)
    shape = (height, width) if encoding.channels == 1 else (height, width, encoding.channels)
    pixels = np.ascontiguousarray(data).reshape(shape)
    return pixels if encoding.code is None else cv2.cvtColor(pixels, encoding.code)


def _compressed(message: Any) -> np.ndarray:
    if "compressedDepth" in message.format:
        raise ImageError(f"image: format {message.format!r} is a depth image; expected colour or grey")
    data = _bytes(message.data)
    undecoded = f"image: {data.size} bytes of format {message.format!r} cannot be decoded"
    try:
        pixels = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION) if data.size else None
    except cv2.error as error:
        raise ImageError(f"{undecoded}: {error}") from error
    if pixels is None:
        raise ImageError(undecoded)
    # image_transport states the channels' order in the file after "compressed"; BGR unless it says RGB.
    if "compressed rgb" in message.format:
        return pixels
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
