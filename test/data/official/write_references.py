"""Writes the reference checkpoints and answers of this folder with the official JAX code.

    PYTHONPATH=<checkout of octo-models/octo at 241fb35> python write_references.py <folder>

in an environment with jax 0.4.20, flax 0.7.5, transformers 4.34, distrax 0.1.5 and einops. Weights and
inputs are random; what is kept small is small, so that every module and option appears at least once.
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
from octo.model.octo_module import OctoModule

CASES = ("plain", "first_step", "masked")
COMPONENTS = "octo.model.components"


def module(place: str, name: str, **kwargs: Any) -> dict[str, Any]:
    """An official module specification."""
    return {"module": place, "name": name, "args": [], "kwargs": kwargs}


def images(encoder: str, keys: list[str] | None, goals: list[str], /, **kwargs: Any) -> dict[str, Any]:
    """An image tokenizer; keys None takes the official default."""
    stacks = {"task_stack_keys": goals, **({} if keys is None else {"obs_stack_keys": keys})}
    mask = {"proper_pad_mask": kwargs.pop("proper_pad_mask")} if "proper_pad_mask" in kwargs else {}
    spec = module(f"{COMPONENTS}.vit_encoders", encoder, **kwargs)
    return module(f"{COMPONENTS}.tokenizers", "ImageTokenizer", encoder=spec, **stacks, **mask)


def values(**kwargs: Any) -> dict[str, Any]:
    """A tokenizer of proprioception."""
    return module(f"{COMPONENTS}.tokenizers", "LowdimObsTokenizer", **kwargs)


def head(name: str, **kwargs: Any) -> dict[str, Any]:
    """The action head."""
    return {"action": module(f"{COMPONENTS}.action_heads", name, **kwargs)}


def trunk(layers: int, heads: int, inner: int) -> dict[str, Any]:
    """Sizes of the transformer."""
    return {"num_layers": layers, "num_attention_heads": heads, "mlp_dim": inner}


LANGUAGE = {"language": module(f"{COMPONENTS}.tokenizers", "LanguageTokenizer", encoder="t5-small")}

REFERENCES: dict[str, dict[str, Any]] = {
    "gated_t5_binned_proprio": {
        "t5": {"vocab_size": 160, "d_model": 24, "d_kv": 6, "d_ff": 40, "num_layers": 2, "num_heads": 4,
               "feed_forward_proj": "gated-gelu"},
        "window": 3, "sizes": {"primary": (64, 96), "wrist": (32, 32)}, "proprio": 5, "length": 10,
        "model": {
            "observation_tokenizers": {
                "wrist": images("PatchEncoder", ["image_wrist"], ["image_wrist"],
                                patch_size=16, num_features=24),
                "primary": images("SmallStem32", ["image_primary"], ["image_.*imary"],
                                  features=[32, 64, 32, 32], num_features=24, img_norm_type="imagenet"),
                "proprio": values(obs_keys=["proprio"], discretize=True, n_bins=32, bin_type="normal"),
            },
            "task_tokenizers": LANGUAGE,
            "heads": head("DiffusionActionHead", readout_key="readout_action", use_map=True, time_dim=16,
                          num_blocks=2, hidden_dim=48, use_layer_norm=False, diffusion_steps=10,
                          max_action=2.0, action_horizon=5),
            "readouts": {"value": 1, "action": 3}, "token_embedding_size": 32, "max_horizon": 4,
            "repeat_task_tokens": True, "use_correct_attention": True, "transformer_kwargs": trunk(2, 4, 48),
        },
    },
    "old_attention_stacked_cameras": {
        "t5": {"vocab_size": 160, "d_model": 24, "d_kv": 8, "d_ff": 40, "num_layers": 3, "num_heads": 3,
               "feed_forward_proj": "relu", "relative_attention_num_buckets": 16},
        "window": 2, "sizes": {"primary": (48, 48), "wrist": (48, 48)}, "proprio": 4, "length": 7,
        "model": {
            "observation_tokenizers": {
                "zeta": images("SmallStem", ["image_.*"], ["image_.*"], patch_size=16, features=[32, 32],
                               kernel_sizes=[3, 5], strides=[2, 4], padding=[1, 2], num_features=16),
                "alpha": values(obs_keys=["prop.*"], discretize=True, n_bins=16, low=-1, high=1),
            },
            "task_tokenizers": LANGUAGE,
            "heads": head("ContinuousActionHead", readout_key="readout_action", action_horizon=3),
            "readouts": {"action": 2}, "token_embedding_size": 24, "max_horizon": 2,
            "transformer_kwargs": trunk(2, 3, 40),
        },
    },
    "goal_only_pooled_observations": {
        "t5": None,
        "window": 2, "sizes": {"primary": (32, 48)}, "proprio": None, "length": None,
        "model": {
            "observation_tokenizers": {
                "primary": images("SmallStem16", None, ["image_primary"],
                                  features=[32, 32, 32, 32], num_features=16),
            },
            "task_tokenizers": {},
            "heads": head("MSEActionHead", readout_key="obs", action_horizon=2),
            "readouts": {"action": 1}, "token_embedding_size": 32, "max_horizon": 3,
            "repeat_task_tokens": True, "use_correct_attention": True, "transformer_kwargs": trunk(1, 2, 40),
        },
    },
    "long_instruction_observation_readout": {
        "t5": {"vocab_size": 160, "d_model": 24, "d_kv": 8, "d_ff": 40, "num_layers": 2, "num_heads": 3,
               "feed_forward_proj": "relu"},
        "window": 2, "sizes": {"primary": (32, 32), "wrist": (32, 32)}, "proprio": 3, "length": 70,
        "model": {
            "observation_tokenizers": {
                "primary": images("PatchEncoder", ["image_primary"], [], patch_size=8, num_features=16,
                                  proper_pad_mask=False),
                "proprio": values(obs_keys=["proprio"]),
                "wrist": images("PatchEncoder", ["image_wrist"], [], patch_size=16, num_features=16),
            },
            "task_tokenizers": LANGUAGE,
            "heads": head("DiffusionActionHead", readout_key="obs_wrist", diffusion_steps=6, hidden_dim=32),
            "readouts": {"action": 1}, "token_embedding_size": 32, "max_horizon": 3,
            "repeat_task_tokens": True, "use_correct_attention": False, "transformer_kwargs": trunk(2, 2, 40),
        },
    },
}  # fmt: skip


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
    result = {"readout": outputs[kwargs["readout_key"]].tokens, "action_normalized": actions}
    if "task" in outputs:
        result["task_tokens"] = outputs["task"].tokens
    if hasattr(action_head, "diffusion_steps"):
        shape = (1, observation["timestep_pad_mask"].shape[1], action_head.action_horizon * 7)
        draws = []
        for _ in range(1 + action_head.diffusion_steps):
            key, drawn = jax.random.split(key)
            draws.append(np.asarray(jax.random.normal(drawn, shape)))
        result["noise_init"], result["noise_steps"] = draws[0], np.stack(draws[1:])
    return result


def flat(observation: dict[str, Any], task: dict[str, Any]) -> dict[str, np.ndarray]:
    """The inputs under the keys of the npz files."""
    arrays = {}
    for name, group in (("obs", observation), ("task", task)):
        arrays.update({f"{name}/{key}": value for key, value in group.items() if not isinstance(value, dict)})
        arrays.update({f"{name}_pad/{key}": value for key, value in group["pad_mask_dict"].items()})
    for key, value in task.get("language_instruction", {}).items():
        arrays[f"task/language_instruction/{key}"] = value
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
    params = jax.tree_map(
        lambda array: np.asarray(array) + rng.normal(scale=0.05, size=array.shape).astype(np.float32), params
    )
    checkpoint = directory / name / "checkpoint"
    (checkpoint / "7" / "default").mkdir(parents=True)
    (checkpoint / "7" / "default" / "checkpoint").write_bytes(flax.serialization.msgpack_serialize(params))
    example = {"observation": observation, "task": task}
    (checkpoint / "example_batch.msgpack").write_bytes(flax.serialization.msgpack_serialize(example))
    text = None
    if reference["length"]:
        kwargs = {"tokenizer_name": "t5-small", "tokenizer_kwargs": {"max_length": reference["length"]}}
        text = module("octo.data.utils.text_processing", "HFTokenizer", **kwargs)
    config = {"model": reference["model"], "text_processor": text, "window_size": reference["window"]}
    (checkpoint / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    action = {"mean": [0.01] * 7, "std": [0.1] * 7, "mask": [True] * 6 + [False]}
    (checkpoint / "dataset_statistics.json").write_text(json.dumps({"action": action}) + "\n")
    for case in CASES:
        observation, task = inputs(reference, case, rng)
        said = answer(octo, params, reference["model"]["heads"]["action"]["kwargs"], observation, task)
        np.savez_compressed(directory / name / f"{case}.npz", **flat(observation, task), **said)


if __name__ == "__main__":
    for reference_name in REFERENCES:
        write(reference_name, Path(sys.argv[1]))
