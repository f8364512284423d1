"""Statistics by data set, and the two ways to scale by them."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from small_bundle import statistics, write_bundle

from octo_ros.engine.bundle import Manifest
from octo_ros.errors import ParameterError, StatisticsError
from octo_ros.policy.normalization import (
    FINE_TUNED,
    action_statistics,
    choose_dataset,
    normalize,
    normalize_proprio,
    proprio_statistics,
    unnormalize,
)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return write_bundle(tmp_path_factory.mktemp("n") / "bundle", proprio_size=3)


def replaced(manifest: Manifest, **fields: Any) -> Manifest:
    return dataclasses.replace(manifest, **fields)


def test_mean_std_by_hand(manifest: Manifest) -> None:
    values = np.arange(1.0, 8.0)
    got = unnormalize(values, action_statistics(manifest))
    assert got[0] == pytest.approx(1.0 * 0.1 + 0.0)
    assert got[5] == pytest.approx(6.0 * 0.15 + 0.05)
    assert got[6] == 7.0  # the gripper is not scaled


def test_bounds_by_hand(manifest: Manifest) -> None:
    scale = action_statistics(manifest)
    np.testing.assert_allclose(unnormalize(np.full(7, -1.0), scale, "bounds")[:6], scale.p01[:6])
    np.testing.assert_allclose(unnormalize(np.full(7, 1.0), scale, "bounds")[:6], scale.p99[:6])
    middle = unnormalize(np.zeros(7), scale, "bounds")
    np.testing.assert_allclose(middle[:6], (scale.p01 + scale.p99)[:6] / 2)
    assert middle[6] == 0.0


@settings(max_examples=50, deadline=None, derandomize=True)
@given(arrays(np.float64, (3, 7), elements=st.floats(-5, 5)), st.sampled_from(["mean_std", "bounds"]))
def test_normalize_undoes_unnormalize(manifest: Manifest, values: np.ndarray, mode: str) -> None:
    scale = action_statistics(manifest)
    np.testing.assert_allclose(normalize(unnormalize(values, scale, mode), scale, mode), values, atol=1e-5)


def test_reference_answers_of_the_official_code(shared: Path, manifest: Manifest) -> None:
    import json

    for reference in ("v15_language_goal", "l1_proprio"):
        folder = shared / "reference" / reference
        official = json.loads((folder / "checkpoint" / "dataset_statistics.json").read_text())
        scale = action_statistics(replaced(manifest, statistics=official), next(iter(official)))
        case = np.load(folder / "language.npz")
        np.testing.assert_allclose(unnormalize(case["action_normalized"], scale), case["action"], atol=1e-6)


def test_a_wrong_data_set_lists_those_there_are(manifest: Manifest) -> None:
    two = replaced(manifest, statistics={"bridge": statistics(), "fractal": statistics()})
    with pytest.raises(StatisticsError, match=r"'bridge_data'.*bridge, fractal"):
        action_statistics(two, "bridge_data")
    with pytest.raises(StatisticsError, match="name one"):
        action_statistics(two)
    assert choose_dataset(replaced(two, default_dataset="fractal"), None) == "fractal"
    assert choose_dataset(replaced(two, default_dataset="fractal"), "bridge") == "bridge"


def test_the_only_data_set_needs_no_name(manifest: Manifest) -> None:
    assert choose_dataset(manifest, None) == "small"
    with pytest.raises(StatisticsError, match="no data set"):
        choose_dataset(replaced(manifest, statistics={}), None)


def test_statistics_of_the_official_fine_tuning_have_no_name(manifest: Manifest) -> None:
    flat = replaced(manifest, statistics=statistics(3))
    assert choose_dataset(flat, None) == FINE_TUNED
    np.testing.assert_array_equal(action_statistics(flat).mean, action_statistics(manifest).mean)
    assert proprio_statistics(flat).mean.shape == (3,)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (lambda action: action.pop("mean"), ["small/action", "mean"]),
        (lambda action: action.update(std=[1.0] * 6), ["std", "7"]),
        (lambda action: action.update(std=[-1.0] * 7), ["std", "-1"]),
        (lambda action: action.update(mean=[float("nan")] * 7), ["mean", "not finite"]),
        (lambda action: action.update(mean=["a"] * 7), ["mean", "7 numbers"]),
        (lambda action: action.update(mask=[1, 1, 1, 1, 1, 1, 0]), ["mask"]),
        (lambda action: action.update(mask=[True]), ["mask", "7"]),
        (lambda action: action.update(p99=[-9.0] * 7), ["p99", "p01"]),
    ],
)
def test_damaged_statistics_are_named(manifest: Manifest, change: Any, names: list[str]) -> None:
    damaged = copy.deepcopy(manifest.statistics)
    change(damaged["small"]["action"])
    with pytest.raises(StatisticsError) as raised:
        action_statistics(replaced(manifest, statistics=damaged))
    assert all(name in str(raised.value) for name in names)


def test_a_mask_left_out_scales_everything(manifest: Manifest) -> None:
    changed = copy.deepcopy(manifest.statistics)
    del changed["small"]["action"]["mask"]
    assert action_statistics(replaced(manifest, statistics=changed)).mask.all()


def test_bounds_without_percentiles_is_an_error(manifest: Manifest) -> None:
    changed = copy.deepcopy(manifest.statistics)
    del changed["small"]["action"]["p01"]
    scale = action_statistics(replaced(manifest, statistics=changed))
    with pytest.raises(StatisticsError, match="p01 and p99"):
        unnormalize(np.zeros(7), scale, "bounds")
    with pytest.raises(ParameterError, match="mean_std"):
        unnormalize(np.zeros(7), scale, "minmax")
    with pytest.raises(StatisticsError, match=r"7 values.*\(6,\)"):
        unnormalize(np.zeros(6), scale)


def test_proprioception_is_scaled_and_in_bounds_clipped(manifest: Manifest) -> None:
    scale = proprio_statistics(manifest)
    np.testing.assert_allclose(
        normalize_proprio(np.array([1.0, 3.0, 9.0]), scale), [0.0, 1.0, 4.0], atol=1e-6
    )
    np.testing.assert_allclose(
        normalize_proprio(np.array([1.0, 3.0, 9.0]), scale, "bounds"), [0, 1, 1], atol=1e-6
    )
    with pytest.raises(StatisticsError, match="no proprioception"):
        proprio_statistics(replaced(manifest, proprio_size=None))
