"""`act`: frames of any size in, one step for the arm out; and the state between steps."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_bundle import PRIMARY, WRIST, write_bundle

import octo_ros
from octo_ros.errors import BundleError, ObservationError, ParameterError, StatisticsError
from octo_ros.policy.images import prepare_image
from octo_ros.policy.normalization import action_statistics, unnormalize
from octo_ros.policy.options import ActOptions
from octo_ros.policy.policy import Policy
from octo_ros.types import Observation, Task

TOKENIZER = Path(__file__).parent / "data" / "tokenizer" / "tokenizer.json"
STEP = 200_000_000
GOAL = Task(goal_images={"primary": np.full((20, 30, 3), 40, np.uint8)})


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("a") / "bundle"
    write_bundle(folder, tokenizer=TOKENIZER)
    return folder


@pytest.fixture(scope="module")
def quiet_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network without noise, so that its answer is known."""
    folder = tmp_path_factory.mktemp("q") / "bundle"
    write_bundle(folder, language=False, diffusion_steps=0, proprio_size=2)
    return folder


def load(bundle: Path, task: Task = GOAL, **options: Any) -> Policy:
    policy = octo_ros.load_policy(bundle, options=ActOptions(**options), threads=1)
    policy.set_task(task)
    return policy


def observation(at: int, value: int = 100, wrist: bool = True, proprio: Any = None) -> Observation:
    """Frames of one colour, so that resizing and cropping keep their mean."""
    images = {"primary": np.full((48, 64, 3), value, np.uint8)}
    if wrist:
        images["wrist"] = np.full((30, 30, 3), value, np.uint8)
    return Observation(at * STEP, images, proprio)


def answer(*values: float, goal: float = 40, cameras: int = 2) -> float:
    """The small network's first action for the window's frame values, oldest first; 0 is padding."""
    return sum((at + 1) * value * cameras / 255 for at, value in enumerate(values)) + goal / 255


def test_one_action_by_hand(quiet_bundle: Path) -> None:
    policy = load(quiet_bundle)
    action = policy.act(observation(3))
    expected = answer(0, 100) + 0.01 * np.arange(4)[:, None] + np.zeros(7)
    assert action.stamp_ns == 3 * STEP
    np.testing.assert_allclose(action.chunk, expected, atol=1e-5)
    np.testing.assert_allclose(action.normalized, expected[0], atol=1e-5)
    scaled = unnormalize(action.normalized, action_statistics(policy.manifest))
    np.testing.assert_array_equal(action.physical[:6], scaled[:6])
    assert action.physical[6] == 1.0
    assert (action.normalized.dtype, action.physical.dtype) == (np.float32, np.float64)
    assert (action.normalized.shape, action.physical.shape, action.chunk.shape) == ((7,), (7,), (4, 7))


def test_history_and_ensemble_by_hand(quiet_bundle: Path) -> None:
    policy = load(quiet_bundle)
    policy.act(observation(0, 100))
    second = policy.act(observation(1, 50))
    older, newer = answer(0, 100) + 0.01, answer(100, 50)
    assert second.chunk[0, 0] == pytest.approx(newer, abs=1e-5)
    assert second.normalized[0] == pytest.approx((older + newer) / 2, abs=1e-5)


def test_receding_plays_the_chunk_but_sees_every_frame(quiet_bundle: Path) -> None:
    policy = load(quiet_bundle, execution="receding", execute=2)
    values = [10, 20, 30, 40]
    actions = [policy.act(observation(at, value)) for at, value in enumerate(values)]
    made_first, made_third = answer(0, 10), answer(20, 30)
    expected = [made_first, made_first + 0.01, made_third, made_third + 0.01]
    np.testing.assert_allclose([action.normalized[0] for action in actions], expected, atol=1e-5)


def test_a_longer_gap_restarts_history_and_chunks(quiet_bundle: Path) -> None:
    policy = load(quiet_bundle, history_gap_s=0.5)
    policy.act(observation(0, 100))
    assert policy.act(observation(2, 50)).chunk[0, 0] == pytest.approx(answer(100, 50), abs=1e-5)
    later = policy.act(observation(5, 60))
    assert later.normalized[0] == pytest.approx(answer(0, 60), abs=1e-5)


def test_a_bag_that_loops_restarts_too(quiet_bundle: Path) -> None:
    policy = load(quiet_bundle)
    first = policy.act(observation(0, 100))
    policy.act(observation(1, 50))
    again = policy.act(observation(0, 100))
    np.testing.assert_array_equal(again.normalized, first.normalized)


def test_a_camera_that_is_not_there_is_masked(quiet_bundle: Path) -> None:
    action = load(quiet_bundle).act(observation(0, 100, wrist=False))
    assert action.normalized[0] == pytest.approx(answer(0, 100, cameras=1), abs=1e-5)


def test_proprioception_is_scaled_by_the_data_set(quiet_bundle: Path) -> None:
    action = load(quiet_bundle).act(observation(0, 100, proprio=np.array([3.0, 3.0])))
    assert action.normalized[0] == pytest.approx(answer(0, 100) + 2 * (3.0 - 1.0) / 2.0, abs=1e-5)


def test_a_new_task_forgets_the_chunks_and_keeps_the_history(quiet_bundle: Path) -> None:
    policy = load(quiet_bundle)
    policy.act(observation(0, 100))
    policy.set_task(Task(goal_images={"primary": np.full((5, 5, 3), 80, np.uint8)}))
    assert policy.act(observation(1, 50)).normalized[0] == pytest.approx(answer(100, 50, goal=80), abs=1e-5)


def test_reset_begins_anew_with_the_same_noise(bundle: Path) -> None:
    policy = load(bundle, seed=5)
    first = [policy.act(observation(at, 10 * at)) for at in range(4)]
    policy.reset()
    again = [policy.act(observation(at, 10 * at)) for at in range(4)]
    other = load(bundle, seed=5)
    elsewhere = [other.act(observation(at, 10 * at)) for at in range(4)]
    for actions in (again, elsewhere):
        assert [a.physical.tobytes() for a in first] == [a.physical.tobytes() for a in actions]
        assert [a.chunk.tobytes() for a in first] == [a.chunk.tobytes() for a in actions]


def test_noise_is_new_at_every_step_and_in_every_run(bundle: Path) -> None:
    seeded = load(bundle, seed=5)
    same_frames = [seeded.act(observation(at)).chunk for at in range(1, 4)]
    assert not np.array_equal(same_frames[1], same_frames[2])
    runs = [load(bundle).act(observation(0)).chunk for _ in range(2)]
    assert not np.array_equal(*runs)


def test_the_gripper_latches(quiet_bundle: Path) -> None:
    policy = load(quiet_bundle, gripper_votes=2, execution="receding")
    dark = Task(goal_images={"primary": np.zeros((5, 5, 3), np.uint8)})
    commands = [policy.act(observation(at, 200)).physical[6] for at in range(2)]
    policy.set_task(dark)
    commands += [policy.act(observation(at, 0)).physical[6] for at in range(2, 6)]
    assert commands == [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]  # the window still holds a bright frame at step 2


def test_frames_are_prepared_as_the_official_code_does(quiet_bundle: Path) -> None:
    source = np.random.default_rng(0)
    frames = {"primary": source.integers(0, 256, (90, 120, 3), np.uint8),
              "wrist": source.integers(0, 256, (33, 44, 3), np.uint8)}  # fmt: skip
    for crop in (True, False):
        action = load(quiet_bundle, center_crop=crop).act(Observation(0, frames))
        primary = prepare_image(frames["primary"], PRIMARY.height, PRIMARY.width, crop)
        wrist = prepare_image(frames["wrist"], WRIST.height, WRIST.width, False)
        expected = 2 * (primary.mean() + wrist.mean()) / 255 + 40 / 255
        assert action.normalized[0] == pytest.approx(expected, abs=1e-4)


def test_words_change_the_answer_and_are_encoded_once(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = octo_ros.load_policy(bundle, options=ActOptions(seed=1))
    ran: list[str] = []
    run = policy._backend.run
    monkeypatch.setattr(policy._backend, "run", lambda graph, inputs: ran.append(graph) or run(graph, inputs))
    answers = []
    for words in ("open the drawer", "close the drawer"):
        policy.set_task(Task(words))
        policy.reset()
        answers.append([policy.act(observation(at)).normalized for at in range(3)])
    assert ran == (["language"] + ["policy"] * 3) * 2
    assert not np.allclose(*answers)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (Task(), "task: expected an instruction or a goal image, got neither"),
        (Task("  "), "instruction: empty; write what to do"),
        (
            Task(goal_images={"overhead": np.zeros((4, 4, 3), np.uint8)}),
            "'overhead': unknown camera.*primary, wrist",
        ),
        (Task(goal_images={"wrist": np.zeros((4, 4, 3), np.uint8)}), "'wrist': this network takes no goal"),
        (
            Task(goal_images={"primary": np.zeros((4, 4), np.uint8)}),
            r"goal image 'primary': expected shape \(H, W, 3\)",
        ),
    ],
)
def test_a_task_that_cannot_be_is_named_and_the_old_one_stays(bundle: Path, task: Task, message: str) -> None:
    policy = load(bundle, seed=1)
    with pytest.raises(ObservationError, match=message):
        policy.set_task(task)
    np.testing.assert_array_equal(
        policy.act(observation(0)).chunk, load(bundle, seed=1).act(observation(0)).chunk
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Observation(0, {}), "images: expected some of primary, wrist, got none"),
        (Observation(0, {"overhead": np.zeros((4, 4, 3), np.uint8)}), "'overhead': unknown camera"),
        (Observation(0, {"primary": np.zeros((4, 4, 3))}), "'primary': expected a uint8 array, got float64"),
        (observation(0, proprio=np.array([1.0, np.nan])), "proprio: expected 2 finite numbers"),
        (observation(0, proprio=np.zeros(3)), r"proprio: expected 2 finite numbers, got shape \(3,\)"),
        (observation(0, proprio=["a", "b"]), "proprio: expected 2 finite numbers"),
    ],
)
def test_an_observation_that_does_not_fit_is_named_and_not_kept(
    quiet_bundle: Path, given: Observation, message: str
) -> None:
    policy = load(quiet_bundle)
    with pytest.raises(ObservationError, match=message):
        policy.act(given)
    assert policy.act(observation(0)).normalized[0] == pytest.approx(answer(0, 100), abs=1e-5)


def test_proprioception_for_a_network_that_takes_none(bundle: Path) -> None:
    with pytest.raises(ObservationError, match="proprio: expected None"):
        load(bundle).act(observation(0, proprio=np.zeros(2)))


def test_the_same_frame_twice_and_no_task(quiet_bundle: Path) -> None:
    policy = octo_ros.load_policy(quiet_bundle)
    with pytest.raises(ObservationError, match="task: none is set"):
        policy.act(observation(0))
    policy.set_task(GOAL)
    policy.act(observation(0))
    with pytest.raises(ObservationError, match="got 0 again"):
        policy.act(observation(0))


def test_an_answer_that_is_not_finite_is_an_error_and_no_action(
    quiet_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = load(quiet_bundle)
    run = policy._backend.run
    broken = {
        "actions": np.full((1, 4, 7), np.nan, np.float32),
        "readout": np.zeros((1, 2, 1, 1), np.float32),
    }
    monkeypatch.setattr(policy._backend, "run", lambda *_: broken)
    with pytest.raises(ObservationError, match="network: expected finite actions"):
        policy.act(observation(0))
    monkeypatch.setattr(policy._backend, "run", run)
    after = policy.act(observation(1, 50))
    assert after.normalized[0] == pytest.approx(answer(100, 50), abs=1e-5)  # no chunk of the failed step


def test_words_for_a_bundle_without_a_tokenizer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_bundle(tmp_path / "bundle")
    with pytest.raises(BundleError, match=r"octo_ros export --tokenizer FILE.*small-t5"):
        load(tmp_path / "bundle", Task("open the drawer"))
    caplog.set_level(logging.WARNING)
    masked = load(tmp_path / "bundle", Task("open the drawer"), mask_language=True, seed=1)
    assert "'open the drawer' is masked and has no effect" in caplog.text
    other = load(tmp_path / "bundle", Task("close it"), mask_language=True, seed=1)
    np.testing.assert_array_equal(masked.act(observation(0)).chunk, other.act(observation(0)).chunk)


def test_words_for_a_network_that_takes_none(quiet_bundle: Path) -> None:
    with pytest.raises(ObservationError, match="this network takes no words; got 'open it'"):
        load(quiet_bundle, Task("open it"))
    load(quiet_bundle, Task("open it"), mask_language=True).act(observation(0))


def test_options_that_do_not_fit_the_bundle(tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle", tokenizer=TOKENIZER, datasets=("bridge", "fractal"))
    with pytest.raises(ParameterError, match="execute: expected 1 to 4"):
        load(tmp_path / "bundle", execution="receding", execute=5)
    with pytest.raises(StatisticsError, match=r"'kuka'; it has bridge, fractal"):
        load(tmp_path / "bundle", dataset="kuka")
    with pytest.raises(StatisticsError, match="bridge, fractal; name one"):
        load(tmp_path / "bundle")
    assert load(tmp_path / "bundle", dataset="fractal").statistics.source == "fractal/action"


def test_bounds_change_metres_and_not_the_network(quiet_bundle: Path) -> None:
    plain, bounds = load(quiet_bundle), load(quiet_bundle, normalization="bounds")
    first, second = plain.act(observation(0)), bounds.act(observation(0))
    np.testing.assert_array_equal(first.normalized, second.normalized)
    expected = unnormalize(second.normalized, bounds.statistics, "bounds")
    np.testing.assert_array_equal(second.physical[:6], expected[:6])
    assert not np.allclose(first.physical[:6], second.physical[:6])


def test_warm_up_runs_the_graphs_and_draws_no_noise(bundle: Path) -> None:
    warm, cold = load(bundle, seed=2), load(bundle, seed=2)
    assert warm.warm_up() > 0.0
    np.testing.assert_array_equal(warm.act(observation(0)).chunk, cold.act(observation(0)).chunk)


def test_a_policy_says_what_runs_it_and_closes(bundle: Path) -> None:
    with octo_ros.load_policy(bundle) as policy:
        assert policy.backend_name == "onnxruntime"
        assert set(policy.manifest.cameras) == {"primary", "wrist"}
        policy.set_task(GOAL)
    with pytest.raises(BundleError, match="is not open"):
        policy.act(observation(0))
