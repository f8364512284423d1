"""Samples are made as said, and data that cannot be trained on is refused by name."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra 'export')")

from train_cell import SIZE, make_episode, make_options, train_small  # noqa: E402

from octo_ros.errors import OctoRosError, StatisticsError  # noqa: E402
from octo_ros.policy.images import prepare_image  # noqa: E402
from octo_ros.train.batches import Batches, SampleOptions, in_order  # noqa: E402
from octo_ros.train.episodes import TrainingDataError, prepare_episodes  # noqa: E402
from octo_ros.train.start import from_scratch  # noqa: E402
from octo_ros.train.statistics import data_statistics, vector_statistics  # noqa: E402
from octo_ros.train.train import Scratch  # noqa: E402
from octo_ros.train.words import FILE, Encoder, learn_words  # noqa: E402

STEPS = 6


def make_batches(tmp_path: Path, episodes=None, size: int = 4, **changes) -> Batches:
    """Batches for a model with two cameras, words and a state."""
    episodes = [make_episode(0), make_episode(1)] if episodes is None else episodes
    sentences = ["pick up the red block"]
    rows = learn_words(sentences, tmp_path)
    start = from_scratch(SIZE, ("primary", "wrist"), 2, 4, "l1", 3, tmp_path / FILE, rows, 0)
    entry = data_statistics(episodes)
    sizes = {key.removeprefix("image_"): side for key, side in start.inputs.images.items()}
    return Batches(
        prepare_episodes(episodes, sizes, True), start.inputs, 4,
        vector_statistics(entry, "action", 7, "data"), vector_statistics(entry, "proprio", 3, "data"),
        Encoder(tmp_path / FILE, SIZE.length, 1024, "words"), SampleOptions(**changes), size, 0,
    )  # fmt: skip


def test_a_plain_sample_is_the_episode_itself(tmp_path: Path) -> None:
    batches = make_batches(tmp_path)
    episode = batches.episodes[0]
    batch = batches.plain([0, 4])
    inputs = batch.inputs
    np.testing.assert_array_equal(inputs["timestep_pad_mask"], [[False, True], [True, True]])
    for camera in ("primary", "wrist"):
        np.testing.assert_array_equal(
            inputs[f"image_{camera}"], episode.cameras[camera][[[0, 0], [3, 4]]], err_msg=camera
        )
        assert not inputs[f"goal_image_{camera}"].any()
    actions = np.stack([episode.action for episode in batches.episodes]).reshape(-1, 7)
    mean, std = actions.mean(axis=0), actions.std(axis=0)
    said = (episode.action[[3, 4, 5, 5]] - mean) / std
    np.testing.assert_allclose(batch.actions[1, 0, :, :6], said[:, :6], atol=1e-5)
    np.testing.assert_array_equal(batch.actions[1, 0, :, 6], episode.action[[3, 4, 5, 5], 6])
    assert inputs["pad_mask_language_instruction"].all()


def test_frames_are_prepared_as_the_policy_prepares_them(tmp_path: Path) -> None:
    raw = make_episode(0)
    (prepared,) = prepare_episodes([raw], {"primary": (32, 32)}, False)
    said = prepare_image(raw.cameras["primary"][2], 32, 32, center_crop=False)
    np.testing.assert_array_equal(prepared.cameras["primary"][2], said)


def test_samples_that_show_the_same_pictures_come_in_one_batch(tmp_path: Path) -> None:
    one, other = make_episode(0), make_episode(1)
    copy = dataclasses.replace(one, instruction="close the drawer", action=one.action[::-1].copy())
    batches = make_batches(tmp_path, [one, other, copy], size=18, keep_image=0.0)
    inputs = batches.at(0).inputs
    newest = inputs["image_primary"][:, -1].reshape(18, -1)
    assert len(np.unique(newest, axis=0)) == 12
    order = [[np.array_equal(a, b) for b in newest] for a in newest]
    pairs = [tuple(np.flatnonzero(row)) for row in order if sum(row) == 2]
    assert len(pairs) == 12
    assert all(second == first + 1 for first, second in pairs)
    assert not np.array_equal(batches.at(0).inputs["image_primary"], batches.at(1).inputs["image_primary"])


def test_the_first_steps_learn_from_one_word_alone(tmp_path: Path) -> None:
    batches = make_batches(tmp_path, keep_image=0.0, first_word="red", first_steps=3)
    kinds = [len(np.unique(batches.at(step).inputs["input_ids"], axis=0)) for step in range(6)]
    assert kinds[:3] == [1, 1, 1]
    assert max(kinds[3:]) == 2
    (red,) = np.unique(batches.at(0).inputs["input_ids"], axis=0)
    np.testing.assert_array_equal(red, batches.plain([0]).inputs["input_ids"][0])
    with pytest.raises(OctoRosError, match="no instruction has the word 'blue'"):
        make_batches(tmp_path, first_word="blue", first_steps=3)
    with pytest.raises(OctoRosError, match="expected a word and a number of steps, got 'red' and 0"):
        SampleOptions(first_word="red")


def test_patches_begin_at_places_that_differ_by_their_distance(tmp_path: Path) -> None:
    rows = learn_words(["reach"], tmp_path)
    size = dataclasses.replace(SIZE, image=96)
    start = from_scratch(size, ("primary",), 2, 4, "l1", None, tmp_path / FILE, rows, 0)
    places = start.model.positions["obs_primary"][0, 0].detach().numpy()  # (36, width)
    far = np.linalg.norm(places[:, None] - places[None], axis=2)
    assert far[0, 1] == pytest.approx(far[7, 8], rel=1e-4)
    assert 0.1 < far[0, 1] < far[0, 2] < far[0, 3]
    assert far[0, 1] == pytest.approx(far[0, 6], rel=1e-4)


def test_a_sample_has_words_or_a_goal_at_the_probability_asked_for(tmp_path: Path) -> None:
    batches = make_batches(tmp_path, size=400, keep_image=0.3)
    inputs = batches.at(0).inputs
    words = inputs["pad_mask_language_instruction"]
    goals = inputs["goal_image_primary"].any(axis=(1, 2, 3))
    np.testing.assert_array_equal(words, ~goals)
    assert 0.22 < goals.mean() < 0.38
    ends = inputs["input_ids"][~words]
    assert (ends == [1, *[0] * (SIZE.length - 1)]).all()


def test_without_words_the_goal_stays(tmp_path: Path) -> None:
    batches = make_batches(tmp_path, [make_episode(0, instruction="")], size=20, keep_image=0.0)
    inputs = batches.at(0).inputs
    assert inputs["goal_image_primary"].any(axis=(1, 2, 3)).all()
    assert not inputs["pad_mask_language_instruction"].any()


def test_goal_images_come_from_the_same_episode_at_or_after_the_step(tmp_path: Path) -> None:
    batches = make_batches(tmp_path, size=60, keep_image=1.0, augmentations={})
    inputs = batches.at(0).inputs
    for frames, goal in zip(inputs["image_primary"], inputs["goal_image_primary"], strict=True):
        places = [
            (
                index,
                step,
                np.array_equal(episode.cameras["primary"][step], frames[-1]),
                np.array_equal(image, goal),
            )
            for index, episode in enumerate(batches.episodes)
            for step, image in enumerate(episode.cameras["primary"])
        ]
        ((index, step),) = [(index, step) for index, step, now, _ in places if now]
        ((of, at),) = [(index, step) for index, step, _, then in places if then]
        assert of == index and at >= step


def test_a_window_and_its_goal_are_changed_alike(tmp_path: Path) -> None:
    still = make_episode(0)
    frames = {name: np.repeat(images[:1], STEPS, axis=0) for name, images in still.cameras.items()}
    batches = make_batches(
        tmp_path, [dataclasses.replace(still, cameras=frames)], keep_image=1.0, augmentations=None
    )
    for camera in ("primary", "wrist"):
        plain = batches.plain([3]).inputs[f"image_{camera}"]
        assert (plain[0, 0] == plain[0, 1]).all()
    from octo_ros.train.augment import PRIMARY

    batches = make_batches(
        tmp_path,
        [dataclasses.replace(still, cameras=frames)],
        keep_image=1.0,
        augmentations={"primary": PRIMARY},
    )
    inputs = batches.at(0).inputs
    image, goal = inputs["image_primary"], inputs["goal_image_primary"]
    assert (image[:, 0] == image[:, 1]).all() and (image[:, 0] == goal).all()
    assert (image[0, 0] != image[1, 0]).any()
    assert (inputs["image_wrist"] == batches.plain([3]).inputs["image_wrist"]).all()


def test_every_sample_comes_once_a_round(tmp_path: Path) -> None:
    batches = make_batches(tmp_path, size=4, augmentations={})
    for first in (0, 3):  # two rounds of 12 samples
        seen = np.concatenate([batches.at(first + step).actions[:, -1, 0, 0] for step in range(3)])
        assert len(np.unique(seen)) == 2 * STEPS
    assert (batches.at(0).actions != batches.at(3).actions).any()


def test_threads_give_the_same_batches_in_the_same_order(tmp_path: Path) -> None:
    batches = make_batches(tmp_path)
    for one, other in zip(in_order(batches, 2, 9, 0), in_order(batches, 2, 9, 3), strict=True):
        np.testing.assert_equal(one.inputs, other.inputs)
        np.testing.assert_array_equal(one.actions, other.actions)


def test_held_actions_are_no_motion_in_metres(tmp_path: Path) -> None:
    episode = make_episode(0)
    offset = dataclasses.replace(episode, action=episode.action + np.float32(0.5))
    batches = make_batches(tmp_path, [offset], size=1, past_goal="hold")
    entry = data_statistics([offset])
    chunk = batches.plain([STEPS - 1]).actions[0, -1]
    mean, std = (np.array(entry["action"][key][:6]) for key in ("mean", "std"))
    np.testing.assert_allclose(chunk[1:, :6] * std + mean, 0, atol=1e-6)
    np.testing.assert_array_equal(chunk[1:, 6], [offset.action[-1, 6]] * 3)
    assert np.abs(chunk[0, :6] * std + mean - offset.action[-1, :6]).max() < 1e-6


def nan_action():
    action = make_episode(0).action.copy()
    action[3, 2] = np.nan
    return action


FRAMES = make_episode(0).cameras
REFUSED = {
    "no episodes": ([], {}, "expected at least one episode, got none"),
    "NaN": ([{"action": nan_action()}], {}, "episode 0: action: .* finite .*, got nan at step 3, value 2"),
    "six values": (
        [{}, {"action": np.zeros((STEPS, 6), np.float32)}], {},
        r"episode 1: action: expected 7 values a step \(dx, dy, dz, .*\), got 6",
    ),
    "one axis": ([{"action": np.zeros(7)}], {}, r"action: expected numbers \(steps, values\), got \(7,\)"),
    "camera": ([{}], {"cameras": ("left",)}, "0: no camera left; it has primary, wrist: name .* --cameras"),
    "camera later": ([{}, {"cameras": {"primary": FRAMES["primary"]}}], {}, "episode 1: no camera wrist"),
    "frames": (
        [{"cameras": {"primary": FRAMES["primary"][:-1]}}], {},
        r"camera primary: expected \(6, height, width, 3\) uint8, got \(5, 40, 48, 3\)",
    ),
    "floats": (
        [{"cameras": {"primary": FRAMES["primary"] / 255}}], {}, "primary: expected .* uint8, got .* float64",
    ),
    "no state": ([{"state": None}], {"proprio": True}, "state: there is none, and the model is to read it"),
    "NaN state": (
        [{"state": np.full((STEPS, 3), np.inf)}], {"proprio": True}, "state: .* finite .*, got inf",
    ),
    "short state": ([{"state": np.zeros((2, 3))}], {"proprio": True}, "state: expected 6 steps, got 2"),
    "state of another size": (
        [{}, {"state": np.zeros((STEPS, 2))}], {"proprio": True}, "same number of values in all episodes",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_data_is_refused_by_name(name: str, tmp_path: Path) -> None:
    changes, model, said = REFUSED[name]
    episodes = [make_episode(index, **change) for index, change in enumerate(changes)]
    with pytest.raises(TrainingDataError, match=said):
        train_small(tmp_path / "run", make_options(), Scratch(SIZE, **model), episodes=episodes)
    assert not (tmp_path / "run").exists()


ENTRY = data_statistics([make_episode(0)])
STATISTICS = {
    "none": ({}, "names no data set"),
    "another data set": ({"one": ENTRY, "other": ENTRY}, "no data set 'two'; it has one, other"),
    "no proprio": ({"two": {"action": ENTRY["action"]}}, r"no statistics of proprio \(mean and std\)"),
    "another size": (
        {"two": {**ENTRY, "proprio": {"mean": [0.0], "std": [1.0]}}},
        r"proprio: mean: expected 3 values, got \(1,\)",
    ),
    "no action": ({"two": {"proprio": {}}}, "expected an object with 'action'"),
}


@pytest.mark.parametrize("name", STATISTICS)
def test_statistics_are_refused_by_name(name: str, tmp_path: Path) -> None:
    body, said = STATISTICS[name]
    with pytest.raises(OctoRosError, match=said) as caught:
        train_small(tmp_path / "run", make_options(), Scratch(SIZE, proprio=True), statistics=body)
    assert "statistics" in str(caught.value)


def test_given_statistics_scale_and_are_kept(tmp_path: Path) -> None:
    given = json.loads(json.dumps({"two": ENTRY}))
    given["two"]["action"]["std"] = [3.0] * 7
    train_small(tmp_path / "run", make_options(steps=1), statistics=given)
    kept = json.loads((tmp_path / "run" / "dataset_statistics.json").read_text())
    assert kept["two"]["action"] == given["two"]["action"]


def test_an_axis_that_never_moves_is_still_a_number(tmp_path: Path) -> None:
    action = make_episode(0).action.copy()
    action[:, 4] = 0.3
    entry = data_statistics([make_episode(0, action=action)])
    assert entry["action"]["std"][4] == 0
    batches = make_batches(tmp_path, [make_episode(0, action=action)])
    assert np.abs(batches.plain([2]).actions[..., 4]).max() < 1
    with pytest.raises(StatisticsError):
        vector_statistics(entry, "action", 6, "data")
