"""A camera's frame to the network's size, as the official inference does it.

Antialiased Lanczos-3 to the size; then, for cameras that were cropped at random in training, the
bilinear crop that is the average of those crops: the centre 0.9 of the area, scaled to the size
again. Then round, clip, uint8. Nothing is rounded or clipped in between, so the two steps are one
linear map per axis. Each output pixel needs few input pixels: the map is kept in blocks along its
diagonal.
"""

from __future__ import annotations

import functools
import math

import cv2
import numpy as np

from octo_ros.errors import ObservationError

CROP_SIDE = math.sqrt(0.9)
"""Side of the centre crop, as a share of the image's side."""

LOBES = 3.0
"""Lobes of the Lanczos kernel to each side of its centre."""

BLOCK = 12
"""Output pixels that share one block of weights: fewer multiply fewer zeros, more need fewer products."""

STRIP = 10
"""Blocks of output rows that are made at a time: their numbers stay in the processor's cache."""

TILE = 1 << 18
"""Multiplications in one matrix product, at most. Beyond about that BLAS starts threads, and waiting for them
on a busy machine takes many times as long as the product."""

Block = tuple[slice, slice, np.ndarray]
"""Output range, the input range it depends on, and the weights (output, input) float32."""


def prepare_image(
    image: np.ndarray, height: int, width: int, center_crop: bool, name: str = "image"
) -> np.ndarray:
    """A frame as the network takes it.

    Args:
        image: (H, W, 3) uint8 RGB, any size of at least 2 x 2.
        height, width: the network's size [pixel].
        center_crop: whether to crop to the centre 0.9 of the area.
        name: what the frame is, for messages.

    Returns:
        (height, width, 3) uint8; the frame itself where there is nothing to do.

    Raises:
        ObservationError: expected and got.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        got = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise ObservationError(f"{name}: expected a uint8 array, got {got}")
    if image.ndim != 3 or image.shape[2] != 3 or min(image.shape[:2]) < 2:
        raise ObservationError(f"{name}: expected shape (H, W, 3), at least 2 x 2 pixels, got {image.shape}")
    if image.shape[:2] == (height, width) and not center_crop:
        return image
    rows = _axis(image.shape[0], height, center_crop)
    columns = _axis(image.shape[1], width, center_crop)
    prepared = np.empty((width, height, 3), dtype=np.uint8)
    for start in range(0, len(rows), STRIP):
        strip = rows[start : start + STRIP]
        first, stop = min(block[1].start for block in strip), max(block[1].stop for block in strip)
        values = _along_first(strip, image[first:stop], first)  # (n, W, 3)
        values = _along_first(columns, cv2.transpose(values))  # (width, n, 3)
        np.clip(np.rint(values, out=values), 0.0, 255.0, out=values)
        prepared[:, strip[0][0].start : strip[-1][0].stop] = values
    return cv2.transpose(prepared)


def _along_first(blocks: tuple[Block, ...], values: np.ndarray, first: int = 0) -> np.ndarray:
    """Applies consecutive blocks of an axis's map to (n, m, 3) values, which begin at input pixel `first`."""
    flat = values.reshape(values.shape[0], -1).astype(np.float32, copy=False)
    origin = blocks[0][0].start
    mapped = np.empty((blocks[-1][0].stop - origin, flat.shape[1]), dtype=np.float32)
    for outputs, inputs, weights in blocks:
        width = max(1, TILE // weights.size)
        needed = flat[inputs.start - first : inputs.stop - first]
        made = mapped[outputs.start - origin : outputs.stop - origin]
        for start in range(0, flat.shape[1], width):
            tile = slice(start, start + width)
            np.matmul(weights, needed[:, tile], out=made[:, tile])
    return mapped.reshape(-1, *values.shape[1:])


@functools.lru_cache(maxsize=64)
def _axis(size: int, target: int, center_crop: bool) -> tuple[Block, ...]:
    """The map of one axis from `size` pixels to `target`, in blocks."""
    weights = axis_weights(size, target, center_crop)
    blocks = []
    for start in range(0, target, BLOCK):
        outputs = slice(start, min(start + BLOCK, target))
        used = np.flatnonzero(np.any(weights[outputs] != 0.0, axis=0))
        inputs = slice(int(used[0]), int(used[-1]) + 1)
        blocks.append((outputs, inputs, np.ascontiguousarray(weights[outputs, inputs], dtype=np.float32)))
    return tuple(blocks)


def axis_weights(size: int, target: int, center_crop: bool) -> np.ndarray:
    """The whole map of one axis from `size` pixels to `target`, (target, size) float64: resize, then crop.

    `prepare_image` is clip(rint(rows @ image @ columns.T)) of the two axes' maps, for each colour.
    """
    weights = lanczos_weights(size, target)
    return crop_weights(target) @ weights if center_crop else weights


def lanczos_weights(size: int, target: int) -> np.ndarray:
    """Weights (target, size) of an antialiased Lanczos-3 resize of one axis.

    Pixels are sampled at their centres; when shrinking, the kernel is widened by the scale;
    what lies outside the image is dropped and the rest made to sum to 1.
    """
    scale = size / target
    centres = (np.arange(target) + 0.5) * scale  # (target,) in input pixels
    distance = np.abs(np.arange(size) + 0.5 - centres[:, None]) / max(scale, 1.0)  # (target, size)
    weights = np.where(distance < LOBES, np.sinc(distance) * np.sinc(distance / LOBES), 0.0)
    weights[np.abs(weights) < 1e-12] = 0.0  # the kernel's own zeros, but for rounding
    return weights / weights.sum(axis=1, keepdims=True)


def crop_weights(size: int) -> np.ndarray:
    """Weights (size, size) that crop an axis to its centre and scale it to its size, bilinear.

    The first and last output pixel lie on the crop's edges, which are shares of the distance
    between the centres of the first and last input pixel.
    """
    first = (1.0 - CROP_SIDE) / 2.0 * (size - 1)
    samples = first + np.arange(size) * CROP_SIDE  # (size,) in input pixels
    below = np.minimum(np.floor(samples).astype(int), size - 2)
    share = samples - below
    weights = np.zeros((size, size))
    weights[np.arange(size), below] = 1.0 - share
    weights[np.arange(size), below + 1] = share
    return weights
