"""Histories, chunks, goals and changes to pictures are the official code's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from octo_ros.train.augment import (
    PRIMARY,
    WRIST,
    Augmentation,
    Change,
    apply_change,
    brighten,
    contrast,
    crop,
    draw_change,
    saturate,
    turn_hue,
)
from octo_ros.train.windows import draw_goal, window_at

DATA = Path(__file__).parent / "data" / "train"
STEPS = 6
GOALS = {"last": [None] * STEPS, "relabelled": [2, 1, 5, 3, 4, 5]}


@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize(("window", "horizon"), ((1, 1), (2, 4), (3, 8)))
def test_windows_are_the_official_ones(window: int, horizon: int, goal: str) -> None:
    made = [window_at(step, STEPS, window, horizon, GOALS[goal][step]) for step in range(STEPS)]
    with np.load(DATA / "windows.npz") as said:
        key = f"{window}_{horizon}_{goal}"
        np.testing.assert_array_equal([one.history for one in made], said[f"{key}/observation"])
        np.testing.assert_array_equal(
            [one.timestep_pad_mask for one in made], said[f"{key}/timestep_pad_mask"]
        )
        np.testing.assert_array_equal([one.chunks for one in made], said[f"{key}/action"])
        np.testing.assert_array_equal([one.action_pad_mask for one in made], said[f"{key}/action_pad_mask"])
    assert not any(one.held.any() for one in made)


def test_actions_past_the_goal_hold_where_asked() -> None:
    window = window_at(3, STEPS, 1, 4, goal=4, past_goal="hold")
    np.testing.assert_array_equal(window.held, [[False, False, True, True]])
    np.testing.assert_array_equal(window.chunks, [[3, 4, 4, 4]])
    assert window.action_pad_mask.all()


def test_goals_lie_between_the_step_and_the_end_and_reach_both() -> None:
    shares = np.linspace(0, 1, 1000, endpoint=False)
    drawn = {draw_goal(2, STEPS, share) for share in shares}
    assert drawn == {2, 3, 4, 5}
    counts = np.bincount([draw_goal(2, STEPS, share) for share in shares])[2:]
    assert counts.max() - counts.min() <= 1
    assert draw_goal(STEPS - 1, STEPS, 0.9999999) == STEPS - 1


def test_each_change_is_tensorflows() -> None:
    with np.load(DATA / "augmentations.npz") as said:
        x = said["image"].astype(np.float32) / 255
        changed = {
            "random_resized_crop": crop(x, tuple(said["box"])),
            "random_brightness": brighten(x, -0.07),
            "random_contrast": contrast(x, 1.08),
            "random_saturation": saturate(x, 1.09),
            "random_hue": turn_hue(x, 0.04),
        }
        for name, made in changed.items():
            np.testing.assert_allclose(made, said[name], atol=2e-5, err_msg=name)


def test_no_change_keeps_every_pixel() -> None:
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    assert np.abs(apply_change(image, Change()).astype(int) - image).max() == 0


def test_drawn_changes_stay_in_their_ranges() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        change = draw_change(PRIMARY, rng)
        top, left, bottom, right = change.box
        assert 0 <= top < bottom <= 1 + 1e-9 and 0 <= left < right <= 1 + 1e-9
        assert 0.75 <= (bottom - top) * (right - left) <= 1.0 + 1e-9
        assert abs(change.brightness) <= 0.1 and abs(change.hue) <= 0.05
        assert 0.9 <= change.contrast <= 1.1 and 0.9 <= change.saturation <= 1.1
    assert draw_change(WRIST, rng).box is None


def test_a_change_of_one_kind_moves_what_it_should() -> None:
    rng = np.random.default_rng(1)
    image = rng.integers(60, 190, (8, 8, 3), dtype=np.uint8)
    only = Augmentation(None, brightness=0.1, contrast=(1, 1), saturation=(1, 1), hue=0)
    change = draw_change(only, rng)
    moved = apply_change(image, change).astype(int) - image
    assert np.abs(moved - round(change.brightness * 255)).max() <= 1
