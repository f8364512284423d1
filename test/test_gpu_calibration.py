"""Steps of a robot to calibrate and judge a precision with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rosbags", reason="rosbags is not installed (extra 'replay')")

from gpu_graphs import BAG, BUNDLE, POLICY, WRIST  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from small_bundle import write_bundle  # noqa: E402

from octo_ros.engine.bundle import read_bundle  # noqa: E402
from octo_ros.engine.graphs import STEP  # noqa: E402
from octo_ros.engine.network import make_network  # noqa: E402
from octo_ros.engine.onnx import OnnxBackend  # noqa: E402
from octo_ros.errors import BagError, ParameterError  # noqa: E402
from octo_ros.gpu.calibration import graph_inputs, random_calibration, read_calibration, run_steps  # noqa: E402
from octo_ros.rlds.dataset import Episode, write_dataset  # noqa: E402
from octo_ros.rlds.errors import DatasetError  # noqa: E402
from octo_ros.rlds.frames import Frames  # noqa: E402

EPISODES, LENGTH, PROPRIO = 4, 5, 3

SMALL = read_bundle(POLICY)


@pytest.fixture(scope="module")
def manifest():
    return read_bundle(BUNDLE)


@pytest.fixture(scope="module")
def whole_bag(manifest):
    return read_calibration(BAG, BUNDLE, manifest, steps=10_000)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    """Episodes whose pictures are as bright as their index and step."""
    folder = tmp_path_factory.mktemp("rlds")
    episodes = [
        Episode(
            images={
                camera: Frames.of(np.full((64, 64, 3), 50 * index + step, np.uint8) for step in range(LENGTH))
                for camera in ("primary", "wrist")
            },
            action=np.zeros((LENGTH, 7), np.float32),
            state=np.full((LENGTH, PROPRIO), index, np.float32),
            instruction=f"put cube {index} away",
            index=index,
        )
        for index in range(EPISODES)
    ]
    write_dataset(folder, "mine", episodes, validation=0.25)
    return folder


def content(calibration):
    """Words and frames of each step, to be compared."""
    return [
        (step.task.instruction, [timestep["image_primary"].tobytes() for timestep in step.timesteps])
        for step in calibration.steps
    ]


def test_a_bag_gives_every_set_of_frames_with_its_words_and_history(whole_bag, manifest) -> None:
    assert len(whole_bag) == 12 * 10  # episodes of 10 frames
    assert whole_bag.notes == ("masked, for the recording has no such camera: wrist",)
    assert len({step.task.instruction for step in whole_bag.steps}) > 1
    assert all(step.task.tokens is not None for step in whole_bag.steps)
    for index, step in enumerate(whole_bag.steps):
        assert len(step.timesteps) == (1 if index % 10 == 0 else manifest.window)
        assert step.timesteps[-1]["pad_mask_image_primary"].all()
        assert not step.timesteps[-1]["pad_mask_image_wrist"].any()
        if index % 10:
            assert step.timesteps[0] is whole_bag.steps[index - 1].timesteps[-1]


def test_a_bounded_number_is_chosen_by_the_seed(whole_bag, manifest) -> None:
    first, again, other = (read_calibration(BAG, BUNDLE, manifest, steps=20, seed=seed) for seed in (3, 3, 4))
    assert content(first) == content(again) != content(other)
    places = [content(whole_bag).index(step) for step in content(first)]
    assert len(first) == 20 and places == sorted(places)
    assert places[0] < 40 and places[-1] >= 80  # from all over the bag


def test_a_slower_policy_passes_frames_over(whole_bag, manifest) -> None:
    slow = read_calibration(BAG, BUNDLE, manifest, steps=10_000, rate_hz=2.5)  # the bag has 5 Hz
    assert len(slow) == len(whole_bag) / 2


def test_words_may_be_given(manifest) -> None:
    steps = read_calibration(BAG, BUNDLE, manifest, steps=3, instruction="open the drawer").steps
    assert {step.task.instruction for step in steps} == {"open the drawer"}


def test_a_data_set_gives_the_same_number_of_each_episode(dataset, manifest) -> None:
    calibration = read_calibration(dataset, BUNDLE, manifest, steps=2 * EPISODES)
    assert calibration.notes == ()
    words = [step.task.instruction for step in calibration.steps]
    assert {word: words.count(word) for word in words} == {
        f"put cube {index} away": 2 for index in range(EPISODES)
    }
    for step in calibration.steps:
        index = int(step.task.instruction.split()[2])
        seen = [int(timestep["image_wrist"].mean().round()) - 50 * index for timestep in step.timesteps]
        last = seen[-1]
        assert 0 <= last < LENGTH and seen == [max(last - 1, 0), last][-len(seen) :]
        assert len(seen) == (1 if last == 0 else 2)


def test_a_data_set_gives_at_most_what_it_has(dataset, manifest) -> None:
    assert len(read_calibration(dataset, BUNDLE, manifest, steps=500)) == EPISODES * LENGTH
    assert len(read_calibration(dataset, BUNDLE, manifest, steps=1)) == 1


def test_proprioception_of_a_data_set_is_scaled_and_that_of_a_bag_masked(dataset, tmp_path) -> None:
    for size in (PROPRIO, None):
        folder = tmp_path / str(size)
        write_bundle(folder, proprio_size=size)
        small = read_bundle(folder)
        calibration = read_calibration(dataset, folder, small, steps=EPISODES)
        assert calibration.notes == ("the bundle has no tokenizer: every instruction was masked",)
        for step in calibration.steps:
            index = int(step.task.instruction.split()[2])
            if size is None:
                assert "proprio" not in step.timesteps[-1]
                continue
            assert step.timesteps[-1]["proprio"] == pytest.approx((index - 1.0) / 2.0)  # mean 1, deviation 2
            assert step.timesteps[-1]["pad_mask_proprio"].all()
    folder = tmp_path / str(PROPRIO)
    of_bag = read_calibration(BAG, folder, read_bundle(folder), steps=2)
    assert "proprioception is not read from a bag: it was masked" in of_bag.notes
    assert not of_bag.steps[0].timesteps[-1]["pad_mask_proprio"].any()


def test_a_camera_may_be_another_feature(dataset) -> None:
    policy = read_bundle(POLICY)
    calibration = read_calibration(dataset, POLICY, policy, steps=2, names={"wrist": "image_primary"})
    assert len(calibration) == 2 and calibration.steps[0].timesteps[-1]["pad_mask_image_wrist"].all()
    with pytest.raises(DatasetError, match="expected some of wrist, got other"):
        read_calibration(dataset, POLICY, policy, steps=2, names={"other": "image_primary"})


@pytest.mark.parametrize("graph", ["task", "history", "step", "policy"])
def test_inputs_of_a_graph_fit_it(manifest, graph) -> None:
    calibration = random_calibration(manifest, steps=3)
    given = list(graph_inputs(calibration, BUNDLE, manifest, graph))
    assert len(given) == (1 if graph == "task" else 3)  # one task
    with OnnxBackend(BUNDLE, manifest) as backend:
        for inputs in given:
            backend.run(graph, inputs)  # which checks every name, shape and type


def test_inputs_of_the_step_are_those_of_the_actions(manifest) -> None:
    """The first step's frame is not the second's newest, so tokens of one are computed beside the step."""
    calibration = random_calibration(manifest, steps=3)
    calibration = calibration.split()[1]  # its one step begins with two frames
    with OnnxBackend(BUNDLE, manifest) as backend:
        expected = [answer["actions"] for answer in run_steps(make_network(backend), calibration)]
        given = graph_inputs(calibration, BUNDLE, manifest, STEP)
        got = [backend.run(STEP, inputs)["actions"] for inputs in given]
    assert np.array_equal(expected, got)


@settings(max_examples=20, deadline=None)
@given(count=st.integers(2, 30))
def test_halves_are_the_whole(count) -> None:
    whole = random_calibration(SMALL, steps=count)
    first, second = whole.split()
    assert {*first.steps} | {*second.steps} == {*whole.steps} and not {*first.steps} & {*second.steps}
    assert len(first) - len(second) in (0, 1)


def test_one_step_has_no_halves() -> None:
    with pytest.raises(ParameterError, match="at least two steps"):
        random_calibration(SMALL, steps=1).split()


def test_what_is_no_recording_is_named(manifest, tmp_path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(ParameterError, match="expected a rosbag2, or a folder with an RLDS data set"):
            read_calibration(path, BUNDLE, manifest)
    with pytest.raises(ParameterError, match="steps: expected at least 1, got 0"):
        read_calibration(BAG, BUNDLE, manifest, steps=0)


def test_a_bag_without_the_bundles_camera_is_named() -> None:
    with pytest.raises(BagError, match="no frames of any of the bundle's cameras.*wrist"):
        read_calibration(BAG, POLICY, SMALL)
    assert len(read_calibration(BAG, POLICY, SMALL, steps=4, names=WRIST)) == 4
