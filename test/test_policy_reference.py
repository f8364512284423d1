"""`sample` and `act` on exported checkpoints, against the official code's answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed (extra 'export')")
pytest.importorskip("onnxscript", reason="onnxscript is not installed (extra 'export')")

from reference_bundles import Exported, ReferenceBundles  # noqa: E402
from reference_cases import ACTION_TOLERANCE, OWN, assert_matches, cases  # noqa: E402

import octo_ros  # noqa: E402
from octo_ros.errors import BundleError, ObservationError, StatisticsError  # noqa: E402
from octo_ros.policy.options import ActOptions  # noqa: E402
from octo_ros.types import Observation, Task  # noqa: E402


def below(case: np.lib.npyio.NpzFile, prefix: str) -> dict[str, np.ndarray]:
    return {key.removeprefix(prefix): case[key] for key in case.files if key.startswith(prefix)}


def arguments(case: np.lib.npyio.NpzFile) -> dict[str, Any]:
    """A case as `sample` takes it: the npz's own keys, nothing left out."""
    observations: dict[str, Any] = below(case, "obs/") | {"pad_mask_dict": below(case, "obs_pad/")}
    task: dict[str, Any] = {key: array for key, array in below(case, "task/").items() if "/" not in key}
    instruction = below(case, "task/language_instruction/")
    if instruction:
        task["language_instruction"] = instruction
    return {
        "observations": observations,
        "task": task | {"pad_mask_dict": below(case, "task_pad/")},
        "timestep_pad_mask": observations["timestep_pad_mask"],
        "noise": below(case, "noise_") or None,
    }


def check(exported: Exported) -> None:
    with octo_ros.load_policy(exported.bundle) as policy:
        for path in cases(exported.reference):
            with np.load(path) as case:
                outputs = policy.infer(**arguments(case))
                assert_matches(outputs, case, policy.manifest.head.max_action)
                np.testing.assert_array_equal(policy.sample(**arguments(case)), outputs["actions"])


@pytest.mark.parametrize("name", OWN)
def test_sample_answers_as_the_official_code(reference_bundles: ReferenceBundles, name: str) -> None:
    check(reference_bundles.own(name))


def test_sample_answers_as_the_official_code_without_noise(
    shared: Path, reference_bundles: ReferenceBundles
) -> None:
    check(reference_bundles.shared(shared, "l1_proprio"))


@pytest.fixture
def v15(shared: Path, reference_bundles: ReferenceBundles) -> Path:
    return reference_bundles.shared(shared, "v15_language_goal").bundle


@pytest.mark.parametrize(
    "name", ["goal", "goal_and_language", "language", "language_first_step", "language_no_wrist"]
)
def test_sample_answers_as_octo_small_1_5_would(shared: Path, v15: Path, name: str) -> None:
    with octo_ros.load_policy(v15) as policy:
        case = np.load(shared / "reference" / "v15_language_goal" / f"{name}.npz")
        assert_matches(policy.infer(**arguments(case)), case, 5.0)


def test_what_is_left_out_is_masked(shared: Path, v15: Path) -> None:
    """A missing wrist, goal and instruction answer as zeros with their masks False do."""
    folder = shared / "reference" / "v15_language_goal"
    with octo_ros.load_policy(v15) as policy:
        given = arguments(np.load(folder / "language_no_wrist.npz"))
        whole = policy.sample(**given)
        del given["observations"]["image_wrist"], given["task"]["image_primary"], given["task"]["image_wrist"]
        np.testing.assert_array_equal(policy.sample(**given), whole)
        given = arguments(np.load(folder / "goal.npz"))
        whole = policy.sample(**given)
        del given["task"]["language_instruction"]
        np.testing.assert_array_equal(policy.sample(**given), whole)


def test_act_is_sample_on_prepared_frames(v15: Path) -> None:
    """The second step of `act`, by hand from its parts: seed, history, words, mean of two chunks."""
    source = np.random.default_rng(0)
    sizes = {"primary": (256, 256, 3), "wrist": (128, 128, 3)}
    frames = {
        c: [source.integers(0, 256, size, dtype=np.uint8) for _ in range(2)] for c, size in sizes.items()
    }
    options = ActOptions(dataset="bridge_dataset", seed=7, center_crop=False)
    with octo_ros.load_policy(v15, options=options) as policy:
        policy.set_task(Task("open the drawer"))
        actions = [
            policy.act(
                Observation(at * 200_000_000, {camera: images[at] for camera, images in frames.items()})
            )
            for at in range(2)
        ]
        tokens = policy._tokenizer.encode("open the drawer")
        task = {
            "language_instruction": {"input_ids": tokens.input_ids, "attention_mask": tokens.attention_mask}
        }
        generator = np.random.Generator(np.random.PCG64(7))
        chunks = []
        for steps, mask in (([0, 0], [[False, True]]), ([0, 1], [[True, True]])):
            noise = {
                "init": generator.standard_normal((1, 2, 28), dtype=np.float32),
                "steps": generator.standard_normal((20, 1, 2, 28), dtype=np.float32),
            }
            observations = {
                f"image_{c}": np.stack([images[s] for s in steps])[None] for c, images in frames.items()
            }
            chunks.append(policy.sample(observations, task, timestep_pad_mask=np.array(mask), noise=noise)[0])
    for action, chunk in zip(actions, chunks, strict=True):
        np.testing.assert_allclose(action.chunk, chunk, rtol=0, atol=ACTION_TOLERANCE)
    mean = (actions[0].chunk[1] + actions[1].chunk[0]) / 2
    np.testing.assert_allclose(actions[1].normalized, mean, atol=1e-6)


def test_the_data_set_must_be_named_where_there_are_two(v15: Path) -> None:
    with pytest.raises(StatisticsError, match="bridge_dataset, fractal20220817_data"):
        octo_ros.load_policy(v15, options=ActOptions(dataset="bridge"))
    with octo_ros.load_policy(v15) as policy, pytest.raises(StatisticsError, match="name one"):
        policy.set_task(Task("open the drawer"))


def test_a_bundle_without_a_tokenizer_says_how_to_get_one(
    shared: Path, reference_bundles: ReferenceBundles
) -> None:
    with octo_ros.load_policy(reference_bundles.shared(shared, "l1_proprio").bundle) as policy:
        with pytest.raises(BundleError, match=r"octo_ros export --tokenizer FILE.*t5-base.*mask_language"):
            policy.set_task(Task("open the drawer"))
        with pytest.raises(ObservationError, match="none is set"):
            policy.act(Observation(0, {"primary": np.zeros((64, 64, 3), np.uint8)}))
