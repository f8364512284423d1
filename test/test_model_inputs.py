"""Which keys the tokenizers take out of the example batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from official_checkpoint import LENGTH, tiny_config, tiny_example

from octo_ros.errors import CheckpointError
from octo_ros.model.inputs import Inputs, read_inputs, vector_name
from octo_ros.model.official import read_config

PROPRIO = {
    "module": "octo.model.components.tokenizers",
    "name": "LowdimObsTokenizer",
    "args": [],
    "kwargs": {"obs_keys": ["proprio"]},
}


def read(config: dict[str, Any], example: dict[str, Any]) -> Inputs:
    return read_inputs(read_config(config, "config.json"), example, "example_batch.msgpack")


def kwargs(config: dict[str, Any], tokenizer: str) -> dict[str, Any]:
    return config["model"]["observation_tokenizers"][tokenizer]["kwargs"]


def film(config: dict[str, Any], keys: list[str]) -> None:
    """Conditions the primary camera's encoder on these."""
    kwargs(config, "primary")["task_film_keys"] = keys
    kwargs(config, "primary")["encoder"]["kwargs"]["use_film"] = True


def test_sizes_come_from_the_example_batch() -> None:
    inputs = read(tiny_config(), tiny_example(window=3))
    assert inputs.window == 3
    assert inputs.images == {"image_primary": (32, 32), "image_wrist": (16, 16)}
    assert inputs.goals == ("image_primary",)
    assert inputs.language_tokens == LENGTH
    assert inputs.proprio_size is None


def test_keys_are_patterns_that_match_from_the_start_and_stack_in_sorted_order() -> None:
    config, example = tiny_config(), tiny_example()
    for group, shape in (("observation", (1, 2, 32, 32, 3)), ("task", (1, 32, 32, 3))):
        example[group]["image_above"] = np.zeros(shape, np.uint8)
    kwargs(config, "primary").update(obs_stack_keys=["image_p", "image_a.*"], task_stack_keys=["image_(p|a)"])
    stack = read(config, example).stacks["primary"]
    assert stack.frames == ("image_above", "image_primary")
    assert stack.goals == ("image_above", "image_primary")


def test_a_goal_that_the_example_lacks_is_still_stacked() -> None:
    example = tiny_example()
    del example["task"]["image_primary"]
    assert read(tiny_config(), example).goals == ("image_primary",)


def test_a_tokenizer_without_images_is_left_out() -> None:
    example = tiny_example()
    del example["observation"]["image_wrist"]
    assert list(read(tiny_config(), example).stacks) == ["primary"]


def test_language_is_left_out_where_the_example_has_none() -> None:
    example = tiny_example()
    del example["task"]["language_instruction"]
    assert read(tiny_config(), example).language == {}


def test_an_instruction_of_vectors_is_found() -> None:
    config, example = tiny_config(), tiny_example()
    config["text_processor"].update(name="MuseEmbedding", kwargs={})
    example["task"]["language_instruction"] = np.zeros((1, 512), np.float32)
    inputs = read(config, example)
    assert (inputs.language, inputs.vectors) == ({}, {"language_instruction": (512,)})
    assert vector_name("language_instruction") == "task_language_instruction"


@pytest.mark.parametrize("encoder", [None, "t5-base", "distilbert-base-uncased"])
def test_an_instruction_of_vectors_needs_no_encoder(encoder: str | None) -> None:
    config, example = tiny_config(), tiny_example()
    config["model"]["task_tokenizers"]["language"]["kwargs"]["encoder"] = encoder
    example["task"]["language_instruction"] = np.zeros((1, 5, 32), np.float32)
    assert read(config, example).vectors == {"language_instruction": (5, 32)}


def test_arrays_that_condition_an_encoder_are_found_by_their_whole_keys() -> None:
    config, example = tiny_config(), tiny_example()
    film(config, ["target", "depth"])
    for key, size in (("target", 4), ("depth", 2), ("target_2", 3)):
        example["task"][key] = np.zeros((1, size), np.float32)
    assert read(config, example).vectors == {"target": (4,), "depth": (2,)}


def test_arrays_of_a_tokenizer_without_images_are_not_read() -> None:
    config, example = tiny_config(), tiny_example()
    film(config, ["target"])
    del example["observation"]["image_primary"]
    assert read(config, example).vectors == {}


def test_proprio_is_found() -> None:
    config, example = tiny_config(), tiny_example()
    config["model"]["observation_tokenizers"]["state"] = PROPRIO
    example["observation"]["proprio"] = np.zeros((1, 2, 9), np.float32)
    assert read(config, example).proprio == {"state": 9}


def set_observation(key: str, value: Any) -> Callable[[dict, dict], None]:
    return lambda config, example: example["observation"].update({key: value})


def set_task(key: str, value: Any) -> Callable[[dict, dict], None]:
    return lambda config, example: example["task"].update({key: value})


REFUSED: dict[str, tuple[Callable[[dict, dict], Any], str]] = {
    "no observation": (lambda config, example: example.pop("observation"), "observation"),
    "no task": (lambda config, example: example.pop("task"), "task"),
    "no timestep mask": (
        lambda config, example: example["observation"].pop("timestep_pad_mask"),
        "timestep_pad_mask",
    ),
    "window beyond max_horizon": (set_observation("timestep_pad_mask", np.ones((1, 5), bool)), "max_horizon"),
    "image of another window": (
        set_observation("image_primary", np.zeros((1, 3, 32, 32, 3), np.uint8)),
        "image_primary",
    ),
    "image of floats": (
        set_observation("image_primary", np.zeros((1, 2, 32, 32, 3), np.float32)),
        "image_primary",
    ),
    "image of 4 channels": (
        set_observation("image_wrist", np.zeros((1, 2, 16, 16, 4), np.uint8)),
        "image_wrist",
    ),
    "image a word": (set_observation("image_wrist", "frame"), "image_wrist"),
    "goal of another size": (set_task("image_primary", np.zeros((1, 16, 32, 3), np.uint8)), "differ in size"),
    "stack of two sizes": (
        lambda config, example: kwargs(config, "primary").update(obs_stack_keys=["image_.*"]),
        "differ in size",
    ),
    "no image at all": (
        lambda config, example: [example["observation"].pop(key) for key in ("image_primary", "image_wrist")],
        "no tokenizer",
    ),
    "no image where one must be": (
        lambda config, example: kwargs(config, "wrist").update(proper_pad_mask=False, obs_stack_keys=["x"]),
        "no key matches",
    ),
    "no goal that matches": (
        lambda config, example: kwargs(config, "primary").update(task_stack_keys=["goal"]),
        "no goal key",
    ),
    "goal without frames": (
        lambda config, example: (
            kwargs(config, "primary").update(task_stack_keys=["image_above"]),
            example["task"].update(image_above=np.zeros((1, 32, 32, 3), np.uint8)),
        ),
        "give no frames",
    ),
    "depth": (
        lambda config, example: (
            kwargs(config, "wrist").update(obs_stack_keys=["depth"]),
            example["observation"].update(depth_wrist=np.zeros((1, 2, 16, 16, 1), np.float32)),
        ),
        "depth_wrist",
    ),
    "broken pattern": (
        lambda config, example: kwargs(config, "primary").update(obs_stack_keys=["image_("]),
        "regular expression",
    ),
    "instruction as doubles": (set_task("language_instruction", np.zeros((1, 512))), "float32"),
    "instruction as a grid": (
        set_task("language_instruction", np.zeros((1, 2, 2, 8), np.float32)),
        "(batch, tokens, values)",
    ),
    "ids for another language model": (
        lambda config, example: config["model"]["task_tokenizers"]["language"]["kwargs"].update(
            encoder="distilbert"
        ),
        "distilbert",
    ),
    "ids for no language model": (
        lambda config, example: config["model"]["task_tokenizers"]["language"]["kwargs"].update(encoder=None),
        "got None",
    ),
    "ids beside a text processor of vectors": (
        lambda config, example: config["text_processor"]["kwargs"].update(encode_with_model=True),
        "text_processor",
    ),
    "ids beside another text processor": (
        lambda config, example: config["text_processor"].update(name="MuseEmbedding", kwargs={}),
        "MuseEmbedding",
    ),
    "ids with positions": (
        lambda config, example: example["task"]["language_instruction"].update(
            position_ids=np.zeros((1, LENGTH), np.int64)
        ),
        "position_ids",
    ),
    "film on nothing": (lambda config, example: film(config, ["target"]), "target"),
    "film on token ids": (lambda config, example: film(config, ["language_instruction"]), "float32"),
    "film on integers": (
        lambda config, example: (film(config, ["goal"]), example["task"].update(goal=np.zeros((1, 3), int))),
        "goal",
    ),
    "film on arrays that do not fit together": (
        lambda config, example: (
            film(config, ["a", "b"]),
            example["task"].update(a=np.zeros((1, 3), np.float32), b=np.zeros((1, 2, 3), np.float32)),
        ),
        "differ in the last axis alone",
    ),
    "a window for a U-Net": (
        lambda config, example: config["model"]["heads"]["action"].update(
            name="UNetDDPMActionHead",
            kwargs={"readout_key": "readout_action", "action_dim": 7, "action_horizon": 4, "use_map": False},
        ),
        "expected a window of 1, got 2",
    ),
    "instruction without mask": (
        set_task("language_instruction", {"input_ids": np.zeros((1, 6), np.int64)}),
        "attention_mask",
    ),
    "instruction of floats": (
        set_task("language_instruction", {"input_ids": np.zeros((1, 6)), "attention_mask": np.zeros((1, 6))}),
        "integers",
    ),
    "values of another key": (
        lambda config, example: (
            config["model"]["observation_tokenizers"].update(
                state={**PROPRIO, "kwargs": {"obs_keys": ["timestep_p"]}}
            ),
        ),
        "only the key 'proprio'",
    ),
    "values of doubles": (
        lambda config, example: (
            config["model"]["observation_tokenizers"].update(state=PROPRIO),
            example["observation"].update(proprio=np.zeros((1, 2, 3))),
        ),
        "proprio",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(name: str) -> None:
    edit, said = REFUSED[name]
    config, example = tiny_config(), tiny_example()
    edit(config, example)
    with pytest.raises(CheckpointError) as caught:
        read(config, example)
    assert "example_batch.msgpack" in str(caught.value)
    assert said in str(caught.value)
