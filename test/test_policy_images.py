"""Image preparation equals TensorFlow's, pixel for pixel but for rounding at .5."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octo_ros.errors import ObservationError
from octo_ros.policy.images import CROP_SIDE, crop_weights, lanczos_weights, prepare_image

GOLDEN = Path(__file__).parent / "data" / "images_golden.npz"


@pytest.mark.parametrize("case", ["down", "up", "same", "odd", "mixed"])
@pytest.mark.parametrize("kind", ["resized", "cropped"])
def test_equals_tensorflow(case: str, kind: str) -> None:
    golden = np.load(GOLDEN)
    expected = golden[f"{case}/{kind}"]
    got = prepare_image(golden[f"{case}/image"], *expected.shape[:2], kind == "cropped")
    difference = np.abs(got.astype(int) - expected)
    assert got.dtype == np.uint8 and got.shape == expected.shape
    assert difference.max() <= 1
    assert np.count_nonzero(difference) <= 0.001 * difference.size


def test_equal_size_without_crop_is_the_frame() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    np.testing.assert_array_equal(prepare_image(frame, 20, 30, False), frame)


def test_equal_size_with_crop_zooms_into_the_centre() -> None:
    frame = np.zeros((64, 64, 3), dtype=np.uint8)
    frame[0] = frame[-1] = 255  # the border lies outside the centre 0.9
    assert prepare_image(frame, 64, 64, True).max() == 0
    assert prepare_image(frame, 64, 64, False).max() == 255


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    st.integers(2, 90),
    st.integers(2, 90),
    st.integers(2, 40),
    st.integers(2, 40),
    st.booleans(),
    st.integers(0, 255),
)
def test_one_colour_stays_that_colour(
    height: int, width: int, to_height: int, to_width: int, crop: bool, value: int
) -> None:
    frame = np.full((height, width, 3), value, dtype=np.uint8)
    np.testing.assert_array_equal(
        prepare_image(frame, to_height, to_width, crop), np.full((to_height, to_width, 3), value)
    )


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(2, 60), st.integers(2, 60), st.integers(2, 30), st.integers(2, 30), st.booleans())
def test_mirroring_before_or_after_is_the_same(
    height: int, width: int, to_height: int, to_width: int, crop: bool
) -> None:
    frame = np.random.default_rng(height * width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    before = prepare_image(np.ascontiguousarray(frame[::-1, ::-1]), to_height, to_width, crop)
    after = prepare_image(frame, to_height, to_width, crop)[::-1, ::-1]
    assert np.abs(before.astype(int) - after).max() <= 1  # sums in another order


def test_a_view_that_is_not_contiguous_gives_the_same() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    flipped = frame[:, ::-1]
    np.testing.assert_array_equal(
        prepare_image(flipped, 16, 16, True), prepare_image(np.ascontiguousarray(flipped), 16, 16, True)
    )


def test_lanczos_weights_are_normalized_and_identity_at_scale_one() -> None:
    np.testing.assert_allclose(lanczos_weights(37, 11).sum(axis=1), 1.0)
    np.testing.assert_allclose(lanczos_weights(9, 9), np.eye(9), atol=1e-12)


def test_crop_samples_lie_between_the_crops_edges() -> None:
    size = 101
    positions = crop_weights(size) @ np.arange(size)
    edge = (1 - CROP_SIDE) / 2 * (size - 1)
    np.testing.assert_allclose(positions, np.linspace(edge, size - 1 - edge, size))


@pytest.mark.parametrize(
    ("image", "names"),
    [
        (np.zeros((4, 4, 3), np.float32), ["uint8", "float32"]),
        (np.zeros((4, 4), np.uint8), ["(H, W, 3)", "(4, 4)"]),
        (np.zeros((4, 4, 4), np.uint8), ["(4, 4, 4)"]),
        (np.zeros((0, 4, 3), np.uint8), ["2 x 2", "(0, 4, 3)"]),
        ([[0]], ["uint8 array", "list"]),
    ],
)
def test_what_is_no_frame_is_named(image: object, names: list[str]) -> None:
    with pytest.raises(ObservationError) as raised:
        prepare_image(image, 8, 8, False, "image primary")
    assert all(name in str(raised.value) for name in ["image primary", *names])
