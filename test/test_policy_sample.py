"""`sample`: the official code's keys in, the graph's exact inputs out, or an error that names the key."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_bundle import PRIMARY, WRIST, expected_actions, write_bundle

import octo_ros
from octo_ros.errors import ObservationError
from octo_ros.policy.policy import Policy


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    folder = tmp_path_factory.mktemp("s") / "bundle"
    write_bundle(folder, proprio_size=3)
    return octo_ros.load_policy(folder, threads=1)


def call() -> dict[str, Any]:
    """Arguments of `sample` that leave nothing out."""
    source = np.random.default_rng(0)

    def picture(*shape: int) -> np.ndarray:
        return source.integers(0, 256, shape, dtype=np.uint8)

    return {
        "observations": {
            "image_primary": picture(1, 2, PRIMARY.height, PRIMARY.width, 3),
            "image_wrist": picture(1, 2, WRIST.height, WRIST.width, 3),
            "proprio": source.standard_normal((1, 2, 3), dtype=np.float32),
            "timestep": np.array([[0, 1]], np.int32),
            "timestep_pad_mask": np.array([[True, True]]),
            "pad_mask_dict": {
                "image_primary": np.array([[True, True]]),
                "image_wrist": np.array([[False, True]]),
                "proprio": np.array([[True, False]]),
                "timestep": np.array([[True, True]]),
            },
        },
        "task": {
            "image_primary": picture(1, PRIMARY.height, PRIMARY.width, 3),
            "image_wrist": picture(1, WRIST.height, WRIST.width, 3),  # not read: takes no goal
            "language_instruction": {
                "input_ids": np.array([[5, 6, 7, 1, 0, 0]]),
                "attention_mask": np.array([[1, 1, 1, 1, 0, 0]]),
            },
            "pad_mask_dict": {"image_primary": np.array([True]), "language_instruction": np.array([True])},
        },
        "timestep_pad_mask": np.array([[True, True]]),
        "noise": {
            "init": source.standard_normal((1, 2, 28), dtype=np.float32),
            "steps": source.standard_normal((3, 1, 2, 28), dtype=np.float32),
        },
    }


def graph_inputs(policy: Policy, arguments: dict[str, Any]) -> dict[str, np.ndarray]:
    """The policy graph's inputs for a whole call, put together here by hand."""
    observations, task = arguments["observations"], arguments["task"]
    words = policy._backend.run("language", task["language_instruction"])
    return {
        **{key: observations[key] for key in ("image_primary", "image_wrist", "proprio")},
        **{
            f"pad_mask_{key}": mask
            for key, mask in observations["pad_mask_dict"].items()
            if key != "timestep"
        },
        "timestep_pad_mask": arguments["timestep_pad_mask"],
        "goal_image_primary": task["image_primary"],
        **words,
        "pad_mask_language_instruction": task["pad_mask_dict"]["language_instruction"],
        "noise_init": arguments["noise"]["init"],
        "noise_steps": arguments["noise"]["steps"],
    }


def test_every_input_reaches_its_place(policy: Policy) -> None:
    arguments = call()
    actions = policy.sample(**arguments)
    assert actions.shape == (1, 4, 7) and actions.dtype == np.float32
    np.testing.assert_allclose(actions, expected_actions(graph_inputs(policy, arguments), 4), atol=1e-5)


def test_arguments_are_left_as_they_were(policy: Policy) -> None:
    arguments, before = call(), call()
    policy.sample(**arguments)
    np.testing.assert_equal(arguments, before)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.sets(st.sampled_from(["image_primary", "image_wrist", "proprio"]), max_size=3),
    st.sets(st.sampled_from(["image_primary", "language_instruction"]), max_size=2),
)
def test_what_is_left_out_is_zeros_and_masked(policy: Policy, lacks: set[str], task_lacks: set[str]) -> None:
    arguments, whole = call(), call()
    for key in lacks:
        del arguments["observations"][key], arguments["observations"]["pad_mask_dict"][key]
        whole["observations"][key] = np.zeros_like(whole["observations"][key])
        whole["observations"]["pad_mask_dict"][key] = np.array([[False, False]])
    for key in task_lacks:
        del arguments["task"][key], arguments["task"]["pad_mask_dict"][key]
        if key == "image_primary":
            whole["task"][key] = np.zeros_like(whole["task"][key])
        else:
            whole["task"]["pad_mask_dict"][key] = np.array([False])
    np.testing.assert_array_equal(policy.sample(**arguments), policy.sample(**whole))


def test_without_pad_masks_nothing_is_masked(policy: Policy) -> None:
    arguments, whole = call(), call()
    del arguments["observations"]["pad_mask_dict"], arguments["task"]["pad_mask_dict"]
    masks = whole["observations"]["pad_mask_dict"]
    whole["observations"]["pad_mask_dict"] = {key: np.ones_like(mask) for key, mask in masks.items()}
    np.testing.assert_array_equal(policy.sample(**arguments), policy.sample(**whole))


def test_a_seed_repeats_and_no_seed_does_not(policy: Policy) -> None:
    arguments = call() | {"noise": None}
    first = policy.sample(**arguments, seed=3)
    assert first.tobytes() == policy.sample(**arguments, seed=3).tobytes()
    assert first.tobytes() != policy.sample(**arguments, seed=4).tobytes()
    assert policy.sample(**arguments).tobytes() != policy.sample(**arguments).tobytes()


def test_a_seed_is_the_noise_it_draws(policy: Policy) -> None:
    source = np.random.Generator(np.random.PCG64(3))
    noise = {
        "init": source.standard_normal((1, 2, 28), dtype=np.float32),
        "steps": source.standard_normal((3, 1, 2, 28), dtype=np.float32),
    }
    by_seed = policy.sample(**call() | {"noise": None}, seed=3)
    np.testing.assert_array_equal(by_seed, policy.sample(**call() | {"noise": noise}))


def test_sample_and_infer_keep_nothing(policy: Policy) -> None:
    arguments = call()
    first = policy.infer(**arguments)
    policy.sample(**call() | {"noise": None}, seed=1)
    again = policy.infer(**arguments)
    assert set(first) == {"actions", "readout", "task_tokens"}
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])


def at(*keys: str, value: Any) -> Callable[[dict], None]:
    def change(arguments: dict) -> None:
        place = arguments
        for key in keys[:-1]:
            place = place[key]
        old = place.get(keys[-1])
        place[keys[-1]] = value(old) if callable(value) else value

    return change


def rename(where: str, old: str, new: str) -> Callable[[dict], None]:
    def change(arguments: dict) -> None:
        arguments[where][new] = arguments[where].pop(old)

    return change


def nan(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flat[-1] = np.nan
    return array


WRONG = [
    (at("observations", value=[]), "observations: expected a dictionary, got list"),
    (
        at("observations", "image_primary", value=lambda a: a[:, :1]),
        "expected uint8 (1, 2, 16, 16, 3), got uint8 (1, 1,",
    ),
    (at("observations", "image_primary", value=lambda a: a[0]), "observations.image_primary: expected"),
    (at("observations", "image_wrist", value=lambda a: a.astype(np.float32)), "image_wrist: expected uint8"),
    (at("observations", "proprio", value=nan), "observations.proprio: expected finite numbers, got nan"),
    (at("observations", "proprio", value=lambda a: a.astype(int)), "observations.proprio: expected floating"),
    (
        at("observations", "proprio", value=lambda a: a[..., :2]),
        "expected floating (1, 2, 3), got float32 (1, 2, 2)",
    ),
    (
        rename("observations", "image_wrist", "image_wirst"),
        "image_wirst: unknown, while image_wrist is missing",
    ),
    (
        rename("observations", "image_primary", "primary"),
        "observations.primary: unknown, while image_primary",
    ),
    (at("observations", "pad_mask_dict", value=None), "observations.pad_mask_dict: expected a dictionary"),
    (
        at("observations", "pad_mask_dict", "image_wrist", value=lambda m: m[0]),
        "pad_mask_dict.image_wrist: expected bool",
    ),
    (
        at("observations", "pad_mask_dict", "proprio", value=lambda m: m.astype(int)),
        "pad_mask_dict.proprio: expected bool",
    ),
    (
        at("observations", "timestep_pad_mask", value=[True]),
        "observations.timestep_pad_mask: expected bool (1, 2)",
    ),
    (
        at("timestep_pad_mask", value=np.ones((1, 3), bool)),
        "timestep_pad_mask: expected bool (1, 2), got bool (1, 3)",
    ),
    (at("timestep_pad_mask", value=None), "timestep_pad_mask: expected bool (1, 2), got object ()"),
    (at("task", value=None), "task: expected a dictionary, got NoneType"),
    (at("task", "image_primary", value=lambda a: a[0]), "task.image_primary: expected uint8 (1, 16, 16, 3)"),
    (
        rename("task", "language_instruction", "instruction"),
        "task.instruction: unknown, while language_instruction",
    ),
    (
        at("task", "language_instruction", value="open it"),
        "task.language_instruction: expected a dictionary, got str",
    ),
    (at("task", "language_instruction", value={}), "task.language_instruction.input_ids: missing"),
    (at("task", "language_instruction", "ids", value=1), "task.language_instruction.ids: unknown"),
    (
        at("task", "language_instruction", "input_ids", value=lambda a: a[:, :5]),
        "expected integer (1, 6), got int64 (1, 5)",
    ),
    (at("task", "language_instruction", "input_ids", value=lambda a: a * 1.0), "input_ids: expected integer"),
    (
        at("task", "language_instruction", "input_ids", value=lambda a: a + 199),
        "expected tokens from 0 to 199, got 199",
    ),
    (at("task", "language_instruction", "input_ids", value=lambda a: a - 1), "got -1 to 6"),
    (
        at("task", "pad_mask_dict", "language_instruction", value=np.array(True)),
        "expected bool (1,), got bool ()",
    ),
    (at("noise", value=lambda n: {"init": n["init"]}), "noise.steps: missing"),
    (at("noise", "init", value=lambda a: a[:, :1]), "noise.init: expected floating (1, 2, 28)"),
    (at("noise", "steps", value=lambda a: a[:2]), "noise.steps: expected floating (3, 1, 2, 28)"),
    (at("noise", "init", value=nan), "noise.init: expected finite numbers"),
    (at("noise", "more", value=0), "noise.more: unknown"),
    (at("seed", value=1), "noise, seed: expected one of them or neither, got both"),
]


@pytest.mark.parametrize(("change", "message"), WRONG, ids=[message[:45] for _, message in WRONG])
def test_what_does_not_fit_is_named(policy: Policy, change: Callable[[dict], None], message: str) -> None:
    arguments = call()
    change(arguments)
    with pytest.raises(ObservationError) as raised:
        policy.sample(**arguments)
    assert message in str(raised.value)


@pytest.mark.parametrize("seed", [-1, 1.5, "1"])
def test_a_seed_that_is_none(policy: Policy, seed: Any) -> None:
    with pytest.raises(ObservationError, match="seed: expected a whole number"):
        policy.sample(**call() | {"noise": None}, seed=seed)


def test_a_mask_may_not_show_what_is_not_there(policy: Policy) -> None:
    arguments = call()
    del arguments["observations"]["image_wrist"]
    with pytest.raises(
        ObservationError, match=r"image_wrist: expected False, for there is no image_wrist; got True"
    ):
        policy.sample(**arguments)


def test_keys_beyond_what_the_network_takes_are_not_read(
    policy: Policy, caplog: pytest.LogCaptureFixture
) -> None:
    arguments = call()
    arguments["observations"]["image_overhead"] = np.zeros((1, 2, 9, 9, 3), np.uint8)
    arguments["observations"]["pad_mask_dict"]["image_overhead"] = np.array([[True, True]])
    np.testing.assert_array_equal(policy.sample(**arguments), policy.sample(**call()))
    assert "observations: not read, for this bundle does not take it: image_overhead" in caplog.text


def test_a_network_without_noise_or_language(tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle", language=False, diffusion_steps=0)
    policy = octo_ros.load_policy(tmp_path / "bundle")
    arguments = call() | {"noise": None}
    del arguments["observations"]["proprio"], arguments["observations"]["pad_mask_dict"]["proprio"]
    first = policy.sample(**arguments, seed=1)
    changed = copy.deepcopy(arguments)
    changed["task"]["language_instruction"]["input_ids"] += 1
    assert first.tobytes() == policy.sample(**changed, seed=2).tobytes()
    with pytest.raises(ObservationError, match="noise: this bundle's L1ActionHead takes none"):
        policy.sample(**arguments | {"noise": call()["noise"]})


def test_other_number_types_are_taken_where_nothing_is_lost(policy: Policy) -> None:
    arguments = call()
    arguments["noise"] = {key: array.astype(np.float64) for key, array in arguments["noise"].items()}
    arguments["observations"]["proprio"] = arguments["observations"]["proprio"].astype(np.float64)
    instruction = arguments["task"]["language_instruction"]
    arguments["task"]["language_instruction"] = {
        key: array.astype(np.int32) for key, array in instruction.items()
    }
    np.testing.assert_array_equal(policy.sample(**arguments), policy.sample(**call()))
