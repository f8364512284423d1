"""Random changes to pictures: crop, brightness, contrast, saturation and hue, in the official order.

One draw holds for all frames of a sample and for its goal, so that a window stays one scene.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import cv2
import numpy as np


@dataclass(frozen=True)
class Augmentation:
    """Ranges to draw from; the defaults are the official fine-tuning's.

    Attributes:
        area: share of the picture's area that a crop keeps, or None for no crop.
        ratio: of a crop's width to its height, drawn evenly in its logarithm.
        brightness: largest change, as a share of white.
        contrast: factor on the distance from the picture's mean.
        saturation: factor.
        hue: largest turn, as a share of the circle.
    """

    area: tuple[float, float] | None = (0.8, 1.0)
    ratio: tuple[float, float] = (0.9, 1.1)
    brightness: float = 0.1
    contrast: tuple[float, float] = (0.9, 1.1)
    saturation: tuple[float, float] = (0.9, 1.1)
    hue: float = 0.05


PRIMARY = Augmentation()
WRIST = Augmentation(area=None)
"""A camera on the hand is not cropped: its frame is fixed to the gripper."""


@dataclass(frozen=True)
class Change:
    """What was drawn.

    Attributes:
        box: top, left, bottom, right of the crop, as shares of the picture's side, or None.
        brightness, contrast, saturation, hue: as `Augmentation`, one value each.
    """

    box: tuple[float, float, float, float] | None = None
    brightness: float = 0.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0


def draw_change(augmentation: Augmentation, rng: np.random.Generator) -> Change:
    """Draws one change."""
    box = None
    if augmentation.area is not None:
        area = rng.uniform(*augmentation.area)
        ratio = np.exp(rng.uniform(*np.log(augmentation.ratio)))
        height, width = min(np.sqrt(area / ratio), 1.0), min(np.sqrt(area * ratio), 1.0)
        top, left = rng.uniform(0, 1 - height), rng.uniform(0, 1 - width)
        box = (top, left, top + height, left + width)
    return Change(
        box,
        rng.uniform(-augmentation.brightness, augmentation.brightness),
        rng.uniform(*augmentation.contrast),
        rng.uniform(*augmentation.saturation),
        rng.uniform(-augmentation.hue, augmentation.hue),
    )


def apply_change(image: np.ndarray, change: Change) -> np.ndarray:
    """(H, W, 3) uint8 to the same shape, changed."""
    x = image.astype(np.float32) / 255
    for field in fields(change):
        value = getattr(change, field.name)
        if value is not None:
            x = np.clip(OPERATIONS[field.name](x, value), 0.0, 1.0)
    return np.floor(x * 255.5).clip(0, 255).astype(np.uint8)  # as TensorFlow turns floats to uint8


def crop(x: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
    """A box scaled to the whole picture, bilinear; the corner pixels' centres lie on the box's corners."""
    height, width = x.shape[:2]
    top, left, bottom, right = box
    matrix = np.array([[right - left, 0, left * (width - 1)], [0, bottom - top, top * (height - 1)]])
    columns = matrix[0, 0] * np.arange(width, dtype=np.float64) + matrix[0, 2]
    rows = matrix[1, 1] * np.arange(height, dtype=np.float64) + matrix[1, 2]
    return _sample(_sample(x, rows).transpose(1, 0, 2), columns).transpose(1, 0, 2)


def brighten(x: np.ndarray, change: float) -> np.ndarray:
    """Adds to every channel."""
    return x + np.float32(change)


def contrast(x: np.ndarray, factor: float) -> np.ndarray:
    """Scales the distance of each channel from its mean over the picture."""
    mean = x.mean(axis=(0, 1), keepdims=True)
    return (x - mean) * np.float32(factor) + mean


def saturate(x: np.ndarray, factor: float) -> np.ndarray:
    """Scales the saturation."""
    hsv = cv2.cvtColor(np.ascontiguousarray(x), cv2.COLOR_RGB2HSV)
    hsv[..., 1] = np.clip(hsv[..., 1] * np.float32(factor), 0.0, 1.0)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def turn_hue(x: np.ndarray, turn: float) -> np.ndarray:
    """Turns the hue."""
    hsv = cv2.cvtColor(np.ascontiguousarray(x), cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + np.float32(turn * 360)) % np.float32(360)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


OPERATIONS = {
    "box": crop,
    "brightness": brighten,
    "contrast": contrast,
    "saturation": saturate,
    "hue": turn_hue,
}
"""What each field of `Change` does to a picture (H, W, 3) float32 in [0, 1]."""


def _sample(x: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The first axis at these places [pixel], linear between neighbours."""
    below = np.clip(np.floor(places).astype(int), 0, max(len(x) - 2, 0))
    share = (places - below).astype(np.float32)[:, None, None]
    return x[below] * (1 - share) + x[np.minimum(below + 1, len(x) - 1)] * share
