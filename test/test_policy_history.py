"""The window of steps: padding at the start, gaps, cameras that come and go."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_bundle import PRIMARY, WRIST, write_bundle

from octo_ros.engine.graphs import observation_tensors
from octo_ros.engine.manifest import Manifest
from octo_ros.errors import ObservationError
from octo_ros.policy.history import History, Step

GAP = 1000


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return write_bundle(tmp_path_factory.mktemp("h") / "bundle", window=3, proprio_size=2)


def step(value: int, wrist: bool = True, proprio: bool = True) -> Step:
    images = {"primary": np.full((PRIMARY.height, PRIMARY.width, 3), value, np.uint8)}
    if wrist:
        images["wrist"] = np.full((WRIST.height, WRIST.width, 3), value, np.uint8)
    return Step(images, np.full(2, value, np.float32) if proprio else None)


def values(history: History, key: str = "image_primary") -> list[int]:
    """The one value each step's array is filled with, oldest first."""
    arrays = [timestep[key] for timestep in history.timesteps]
    assert all(array.shape[:2] == (1, 1) and len(np.unique(array)) == 1 for array in arrays)
    return [int(array.flat[0]) for array in arrays]


def test_the_last_steps_of_a_window_are_kept(manifest: Manifest) -> None:
    history = History(manifest, GAP)
    for at, images in enumerate([[7], [7, 8], [7, 8, 9], [8, 9, 10]]):
        assert history.push(at, step(7 + at)) == (at == 0)
        assert values(history) == images


def test_a_step_keeps_its_dictionary(manifest: Manifest) -> None:
    """By which the network knows what it has computed already."""
    history = History(manifest, GAP)
    history.push(0, step(1))
    first = history.timesteps[0]
    history.push(1, step(2))
    assert history.timesteps[0] is first


def test_a_step_is_what_the_graphs_take(manifest: Manifest) -> None:
    history = History(manifest, GAP)
    history.push(0, step(1, wrist=False, proprio=False))
    tensors = observation_tensors(manifest, 1)
    (timestep,) = history.timesteps
    assert {name: (array.dtype.name, array.shape) for name, array in timestep.items()} == {
        name: (tensor.dtype, tensor.shape) for name, tensor in tensors.items()
    }


def test_a_longer_gap_begins_anew(manifest: Manifest) -> None:
    history = History(manifest, GAP)
    history.push(0, step(1))
    assert not history.push(GAP, step(2))
    assert history.push(2 * GAP + 1, step(3))
    assert values(history) == [3]


def test_a_stamp_that_goes_back_begins_anew(manifest: Manifest) -> None:
    history = History(manifest, GAP)
    history.push(500, step(1))
    assert history.push(400, step(2))
    assert values(history) == [2]


def test_the_same_stamp_twice_is_refused_and_changes_nothing(manifest: Manifest) -> None:
    history = History(manifest, GAP)
    history.push(5, step(1))
    with pytest.raises(ObservationError, match="got 5 again"):
        history.push(5, step(2))
    assert values(history) == [1]


def test_a_missing_camera_is_masked_in_its_step_only(manifest: Manifest) -> None:
    history = History(manifest, GAP)
    for at, wrist in enumerate([True, False, True]):
        history.push(at, step(at + 1, wrist, proprio=wrist))
    assert values(history, "image_wrist") == [1, 0, 3]
    assert values(history, "proprio") == [1, 0, 3]
    for key, seen in (("image_wrist", [1, 0, 1]), ("proprio", [1, 0, 1]), ("image_primary", [1, 1, 1])):
        assert values(history, f"pad_mask_{key}") == seen


def test_clear_forgets_the_stamp_too(manifest: Manifest) -> None:
    history = History(manifest, GAP)
    history.push(5, step(1))
    history.clear()
    assert history.push(5, step(2))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.integers(-GAP * 2, GAP * 2).filter(bool), min_size=1, max_size=30))
def test_only_steps_since_the_last_beginning_are_seen(manifest: Manifest, gaps: list[int]) -> None:
    history, since, stamp = History(manifest, GAP), [], 0
    for value, gap in enumerate(gaps, start=1):
        stamp += gap
        begins = history.push(stamp, step(value))
        assert begins == (not since or not 0 < gap <= GAP)
        since = [value] if begins else [*since, value]
        assert values(history) == since[-manifest.window :]


def test_the_window_may_be_one_step(tmp_path: Path) -> None:
    history = History(write_bundle(tmp_path / "bundle", window=1), GAP)
    history.push(0, step(1, proprio=False))
    history.push(1, step(2, proprio=False))
    assert values(history) == [2]
