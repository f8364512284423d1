"""Writes the reference checkpoints and answers of this folder with the official JAX code.

    PYTHONPATH=<checkout of octo-models/octo at 241fb35> python write_references.py <folder> [name ...]

in an environment with jax 0.4.20, flax 0.7.5, transformers 4.34, distrax 0.1.5 and einops. Weights and
inputs are random; what is kept small is small, so that every module and option appears at least once.
Where the official code fixes large sizes, the weights are made by `seeded_weights.py`; they and the
example batch are then not written.
"""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import flax
import jax
import numpy as np
import transformers
from flax.traverse_util import flatten_dict, unflatten_dict
from octo.model.octo_module import OctoModule

sys.path.insert(0, str(Path(__file__).parents[2]))
from references import REFERENCES, text  # noqa: E402
from seeded_weights import seeded_weights  # noqa: E402

CASES = ("plain", "first_step", "masked")


def inputs(reference: dict[str, Any], case: str, rng: np.random.Generator) -> tuple[dict, dict]:
    """Random observations and task; "first_step" pads the first timestep, "masked" drops the last camera
    and the instruction."""
    window = reference["window"]
    observation: dict[str, Any] = {
        f"image_{name}": rng.integers(0, 256, (1, window, *size, 3), dtype=np.uint8)
        for name, size in reference["sizes"].items()
    }
    if reference["proprio"]:
        observation["proprio"] = rng.normal(scale=1.5, size=(1, window, reference["proprio"])).astype(
            np.float32
        )
    observation["timestep"] = np.arange(window, dtype=np.int32)[None]
    observation["pad_mask_dict"] = {key: np.ones((1, window), bool) for key in observation}
    observation["timestep_pad_mask"] = np.ones((1, window), bool)
    task: dict[str, Any] = {
        f"image_{name}": rng.integers(0, 256, (1, *size, 3), dtype=np.uint8)
        for name, size in reference["sizes"].items()
    }
    task["pad_mask_dict"] = {key: np.ones(1, bool) for key in task}
    if reference["length"]:
        real = reference["length"] // 2 + CASES.index(case)
        mask = (np.arange(reference["length"]) < real).astype(np.int64)[None]
        ids = rng.integers(2, reference["t5"]["vocab_size"], mask.shape) * mask
        task["language_instruction"] = {"input_ids": ids, "attention_mask": mask}
        task["pad_mask_dict"]["language_instruction"] = np.array([case != "masked"])
    for key, shape in reference.get("vectors", {}).items():
        task[key] = rng.normal(size=(1, *shape)).astype(np.float32)
        task["pad_mask_dict"][key] = np.array([case != "masked" or key != "language_instruction"])
    if case == "first_step":
        observation["timestep_pad_mask"][0, 0] = False
    if case == "masked":
        observation["pad_mask_dict"][f"image_{list(reference['sizes'])[-1]}"][:] = False
    return observation, task


def answer(octo: OctoModule, params: Any, kwargs: dict[str, Any], observation: dict, task: dict) -> dict:
    """What the official code says, with the noise that it drew."""
    outputs = octo.apply(
        {"params": params}, observation, task, observation["timestep_pad_mask"], train=False,
        method="octo_transformer",
    )  # fmt: skip
    key = jax.random.PRNGKey(5)
    action_head = octo.bind({"params": params}).heads["action"]
    actions = action_head.predict_action(outputs, rng=key, train=False, embodiment_action_dim=7)
    if kwargs.get("timesteps"):  # the U-Net's head answers for every timestep
        actions = actions[:, -1]
    result = {"readout": outputs[kwargs["readout_key"]].tokens, "action_normalized": actions}
    if "task" in outputs:
        result["task_tokens"] = outputs["task"].tokens
    window = observation["timestep_pad_mask"].shape[1]
    steps = getattr(action_head, "diffusion_steps", getattr(action_head, "timesteps", 0))
    if steps:
        shape = (1, window, action_head.action_horizon * 7)
        draws = []
        for _ in range(1 + steps):
            key, drawn = jax.random.split(key)
            draws.append(np.asarray(jax.random.normal(drawn, shape)))
        result["noise_init"], result["noise_steps"] = draws[0], np.stack(draws[1:])
    if hasattr(action_head, "vocab_size"):
        logits = action_head(outputs, train=False)
        gumbel = np.zeros(logits.shape, np.float32)
        gumbel[:, -1] = jax.random.gumbel(key, (1, *logits[:, -1].shape))[0]
        chosen = np.argmax(logits[:, -1] + gumbel[:, -1], axis=-1)
        assert np.array_equal(actions, action_head.action_tokenizer.decode(chosen))
        result["noise_gumbel"] = gumbel
        result["action_argmax"] = action_head.predict_action(outputs, argmax=True, train=False)
    return result


def flat(observation: dict[str, Any], task: dict[str, Any]) -> dict[str, np.ndarray]:
    """The inputs under the keys of the npz files."""
    arrays = {}
    for name, group in (("obs", observation), ("task", task)):
        arrays.update({f"{name}/{key}": value for key, value in group.items() if not isinstance(value, dict)})
        arrays.update({f"{name}_pad/{key}": value for key, value in group["pad_mask_dict"].items()})
    instruction = task.get("language_instruction", {})
    if isinstance(instruction, dict):
        arrays.update({f"task/language_instruction/{key}": value for key, value in instruction.items()})
    return arrays


def write(name: str, directory: Path) -> None:
    """Writes one reference: the checkpoint and its cases."""
    reference = REFERENCES[name]
    rng = np.random.default_rng(list(REFERENCES).index(name))
    if reference["t5"]:
        t5 = transformers.T5Config(**reference["t5"])
        transformers.AutoConfig.from_pretrained = staticmethod(lambda *args, **kwargs: t5)
    observation, task = inputs(reference, "plain", rng)
    octo = OctoModule.create(**copy.deepcopy(reference["model"]))
    mask = observation["timestep_pad_mask"]
    params = octo.init(jax.random.PRNGKey(0), observation, task, mask, train=False)["params"]
    checkpoint = directory / name / "checkpoint"
    checkpoint.mkdir(parents=True)
    if reference.get("seeded"):
        shapes = {path: array.shape for path, array in flatten_dict(params, sep="/").items()}
        params = unflatten_dict(seeded_weights(shapes), sep="/")
    else:
        params = jax.tree_map(
            lambda array: np.asarray(array) + rng.normal(scale=0.05, size=array.shape).astype(np.float32),
            params,
        )
        (checkpoint / "7" / "default").mkdir(parents=True)
        weights = flax.serialization.msgpack_serialize(params)
        (checkpoint / "7" / "default" / "checkpoint").write_bytes(weights)
        example = {"observation": observation, "task": task}
        packed = flax.serialization.msgpack_serialize(example)
        (checkpoint / "example_batch.msgpack").write_bytes(packed)
    processor = reference.get("text")
    if reference["length"]:
        kwargs = {"tokenizer_name": "t5-small", "tokenizer_kwargs": {"max_length": reference["length"]}}
        processor = text("HFTokenizer", **kwargs)
    config = {"model": reference["model"], "text_processor": processor, "window_size": reference["window"]}
    (checkpoint / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    action = {"mean": [0.01] * 7, "std": [0.1] * 7, "mask": [True] * 6 + [False]}
    (checkpoint / "dataset_statistics.json").write_text(json.dumps({"action": action}) + "\n")
    for case in CASES:
        observation, task = inputs(reference, case, rng)
        said = answer(octo, params, reference["model"]["heads"]["action"]["kwargs"], observation, task)
        np.savez_compressed(directory / name / f"{case}.npz", **flat(observation, task), **said)


if __name__ == "__main__":
    for reference_name in sys.argv[2:] or REFERENCES:
        write(reference_name, Path(sys.argv[1]))
