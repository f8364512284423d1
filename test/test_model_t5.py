"""The T5 encoder: buckets, masking, both feed-forwards. Its numbers are tested by test_model_parity.py."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra 'export')")

from octo_ros.model.t5 import MAX_DISTANCE, T5Encoder, T5Sizes, relative_buckets  # noqa: E402

LENGTH = 8


def encoder(gated: bool) -> T5Encoder:
    torch.manual_seed(0)
    sizes = T5Sizes(50, 12, 8, 20, layers=2, heads=2, buckets=8, gated=gated)
    return T5Encoder(sizes, LENGTH).eval()


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(1, 200), st.sampled_from([8, 16, 32, 64]))
def test_buckets_grow_with_distance_and_split_by_side(length: int, buckets: int) -> None:
    table = relative_buckets(length, buckets)
    assert table.shape == (length, length)
    assert table.min() >= 0
    assert table.max() < buckets
    half = buckets // 2
    after, before = table[0, 1:], table[-1, ::-1][1:]  # distances 1, 2, ... on either side
    assert (np.diff(after) >= 0).all()
    np.testing.assert_array_equal(after, before + half)
    np.testing.assert_array_equal(np.diag(table), 0)
    exact = min(half // 2, length)
    np.testing.assert_array_equal(table[-1, ::-1][:exact], np.arange(exact))


@pytest.mark.parametrize("distance", [9, 11, 17, 25, 40, 70, 100, 127, 128, 500])
def test_far_buckets_are_logarithmic(distance: int) -> None:
    exact, half = 8, 16
    ratio = math.log(distance / exact) / math.log(MAX_DISTANCE / exact)
    expected = min(exact + int(ratio * (half - exact)), half - 1)
    assert relative_buckets(distance + 1, 32)[distance, 0] == expected


@pytest.mark.parametrize("gated", [False, True])
def test_padding_is_not_seen_but_its_own_outputs_are_computed(gated: bool) -> None:
    model = encoder(gated)
    mask = torch.tensor([[1, 1, 1, 1, 1, 0, 0, 0]])
    ids = torch.arange(1, LENGTH + 1)[None]
    other = ids.clone()
    other[0, 6] = 30
    with torch.no_grad():
        first, second = model(ids, mask)[0], model(other, mask)[0]
    assert torch.isfinite(first).all()
    seen = [0, 1, 2, 3, 4, 5, 7]
    assert torch.equal(first[seen], second[seen])
    assert not torch.allclose(first[6], second[6])


def test_an_empty_instruction_is_finite() -> None:
    with torch.no_grad():
        out = encoder(gated=False)(torch.zeros(1, LENGTH, dtype=torch.int64), torch.zeros(1, LENGTH).long())
    assert torch.isfinite(out).all()
