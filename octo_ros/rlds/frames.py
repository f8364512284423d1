"""A camera's frames of an episode, compressed until they are looked at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from octo_ros.errors import ParameterError
from octo_ros.rlds.errors import DatasetError

ENCODINGS = ("png", "jpeg")
"""How frames are stored: PNG keeps every pixel, JPEG is several times smaller and changes them."""

JPEG_QUALITY = 95
"""Quality of JPEG unless another is asked for, of 1 to 100."""

PNG_LEVEL = 3
"""Compression level of PNG: beyond it, time grows much faster than files shrink."""

_SIGNATURES = {"png": b"\x89PNG\r\n\x1a\n", "jpeg": b"\xff\xd8\xff"}


@dataclass(frozen=True)
class Encoding:
    """How frames are stored: "png" or "jpeg", and JPEG's quality.

    Raises:
        ParameterError: another name, or a quality outside 1 to 100.
    """

    name: str = "png"
    quality: int = JPEG_QUALITY

    def __post_init__(self) -> None:
        if self.name not in ENCODINGS:
            raise ParameterError(f"encoding: expected one of {', '.join(ENCODINGS)}, got {self.name!r}")
        if not 1 <= self.quality <= 100:
            raise ParameterError(f"quality: expected 1 to 100, got {self.quality}")

    def encode(self, frame: np.ndarray) -> bytes:
        """A frame, (H, W, 3) uint8 RGB, as the bytes of a file.

        Raises:
            DatasetError: another shape or dtype.
        """
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or not frame.size:
            raise DatasetError(f"frame: expected (H, W, 3) uint8, got {frame.shape} {frame.dtype}")
        if self.name == "png":
            options = [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL]
        else:
            options = [cv2.IMWRITE_JPEG_QUALITY, self.quality]
        _, data = cv2.imencode(f".{self.name}", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), options)
        return data.tobytes()


class Frames(Sequence[np.ndarray]):
    """Frames of one camera, each decoded when it is asked for: (H, W, 3) uint8 RGB.

    `np.asarray(frames)` is all of them, (T, H, W, 3).

    Args:
        data: the bytes of T files, PNG or JPEG.
        where: of what they belong to, for messages.
    """

    def __init__(self, data: Sequence[bytes], where: str = "frames") -> None:
        self.data = tuple(data)
        self._where = where

    @classmethod
    def of(cls, frames: Iterable[np.ndarray], encoding: Encoding | None = None) -> Frames:
        """Frames, each (H, W, 3) uint8 RGB, stored as PNG unless told otherwise."""
        encoding = encoding or Encoding()
        return cls([encoding.encode(frame) for frame in frames])

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> np.ndarray:
        """One frame; DatasetError where its bytes are no picture."""
        data = self.data[index]
        pixels = None
        if data:
            flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
            pixels = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
        if pixels is None:
            raise DatasetError(f"{self._where}: frame {index}: {len(data)} bytes are no PNG or JPEG picture")
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        frames = list(self)
        shapes = {frame.shape for frame in frames}
        if len(shapes) > 1:
            raise DatasetError(f"{self._where}: expected frames of one size, got {sorted(shapes)}")
        stacked = np.stack(frames) if frames else np.empty((0, 0, 0, 3), np.uint8)
        return stacked if dtype is None else stacked.astype(dtype)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[index] for index in range(len(self)))

    def encoded(self, encoding: Encoding) -> list[bytes]:
        """The bytes of T files in an encoding; those that are in it already are kept as they are."""
        signature = _SIGNATURES[encoding.name]
        return [
            data if data.startswith(signature) else encoding.encode(self[index])
            for index, data in enumerate(self.data)
        ]
