"""Writes the training references of this folder with the official code.

    PYTHONPATH=<checkout of octo-models/octo at 241fb35> python write_references.py

in an environment with jax 0.4.20, flax 0.7.5, optax 0.2.2, transformers 4.34, tensorflow 2.15, distrax 0.1.5
and einops. The checkpoints and the observations are those of `../official` and of the shared folder beside
the project; what is written here are the actions, masks and random draws of one batch, the official loss and
norms of its gradients.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import flax
import jax
import numpy as np
import optax
import tensorflow as tf
import transformers

for absent in ("dlimp", "ml_collections"):  # what reads data sets; nothing of it is called here
    sys.modules.setdefault(absent, mock.MagicMock())
from octo.data import traj_transforms  # noqa: E402
from octo.model.octo_module import OctoModule  # noqa: E402
from octo.utils.train_utils import create_lr_schedule  # noqa: E402

HERE = Path(__file__).parent
OFFICIAL = HERE.parent / "official"
SHARED = HERE.parents[3] / "shared" / "reference"
sys.path.insert(0, str(OFFICIAL))
from references import REFERENCES  # noqa: E402

LOSSES = {
    "v15_language_goal": (SHARED, ("goal", "language_first_step"), 3),
    "l1_proprio": (SHARED, ("language", "other"), None),
    "token_learner_bins_per_step": (OFFICIAL, ("plain", "first_step"), None),
    "long_instruction_observation_readout": (OFFICIAL, ("plain", "first_step"), None),
    "old_attention_stacked_cameras": (OFFICIAL, ("plain", "first_step"), None),
}
"""Checkpoint, to where it lies, the cases that make the batch, and diffusion samples if they are changed."""


def group(cases: list[Any], prefix: str) -> dict[str, Any]:
    """The arrays of all cases under a prefix, one after another on the batch axis, nested."""
    tree: dict[str, Any] = {}
    for key in cases[0].files:
        if key.startswith(prefix):
            *path, leaf = key.removeprefix(prefix).split("/")
            node = tree
            for part in path:
                node = node.setdefault(part, {})
            node[leaf] = np.concatenate([case[key] for case in cases])
    return tree


def write_loss(name: str) -> None:
    """One batch through the official loss."""
    folder, names, samples = LOSSES[name]
    checkpoint = folder / name / "checkpoint"
    config = json.loads((checkpoint / "config.json").read_text())
    kwargs = config["model"]["heads"]["action"]["kwargs"]
    if samples is not None:
        kwargs["n_diffusion_samples"] = samples
    t5 = checkpoint / "t5_config.json"
    sizes = json.loads(t5.read_text()) if t5.is_file() else REFERENCES[name]["t5"]
    if sizes:
        t5_config = transformers.T5Config(**sizes)
        transformers.AutoConfig.from_pretrained = staticmethod(lambda *args, **kwargs: t5_config)
    (weights,) = checkpoint.glob("*/default/checkpoint")
    params = flax.serialization.msgpack_restore(weights.read_bytes())
    cases = [np.load(folder / name / f"{case}.npz") for case in names]
    observation = group(cases, "obs/") | {"pad_mask_dict": group(cases, "obs_pad/")}
    task = group(cases, "task/") | {"pad_mask_dict": group(cases, "task_pad/")}
    mask = observation["timestep_pad_mask"]
    rng = np.random.default_rng(len(name))
    horizon = kwargs.get("action_horizon", 1)
    bins = "Bins" in name or "bins" in name
    actions = rng.normal(scale=3.0, size=(*mask.shape, horizon, 7)).astype(np.float32)
    if bins:
        actions = rng.uniform(-0.1, 1.1, size=actions.shape).astype(np.float32)
    action_mask = rng.uniform(size=actions.shape) < 0.8
    module = OctoModule.create(**config["model"])
    draws: dict[str, np.ndarray] = {}
    randint, normal = jax.random.randint, jax.random.normal

    def recorded(function: Any, key: str) -> Any:
        def draw(*args: Any, **kwargs: Any) -> Any:
            drawn = function(*args, **kwargs)
            if not isinstance(drawn, jax.core.Tracer):  # flax looks at the shapes of initial weights
                draws.setdefault(key, np.asarray(drawn))
            return drawn

        return draw

    def loss(params: Any) -> Any:
        bound = module.bind({"params": params}, rngs={"dropout": jax.random.PRNGKey(3)})
        outputs = bound.octo_transformer(observation, task, mask, train=False)
        with (
            mock.patch.object(jax.random, "randint", recorded(randint, "time")),
            mock.patch.object(jax.random, "normal", recorded(normal, "noise")),
        ):
            return bound.heads["action"].loss(outputs, actions, mask, action_mask, train=False)

    (value, metrics), gradients = jax.value_and_grad(loss, has_aux=True)(params)
    norms = {f"norm/{key}": optax.global_norm(tree) for key, tree in gradients.items()}
    if "diffusion_model" not in gradients["heads_action"]:
        draws.clear()
    np.savez_compressed(
        HERE / f"loss_{name}.npz", cases=np.array(names), actions=actions, action_pad_mask=action_mask,
        samples=np.array(kwargs.get("n_diffusion_samples", 1)), loss=value, mse=metrics["mse"],
        **norms, **draws,
    )  # fmt: skip
    print(name, float(value), {key: float(norm) for key, norm in norms.items()}, list(draws))


def write_windows() -> None:
    """Chunks of an episode of 6 steps; its values are their own indices."""
    arrays = {}
    steps = 6
    for window, horizon in ((1, 1), (2, 4), (3, 8)):
        for goal in ("last", "relabelled"):
            task = {} if goal == "last" else {"timestep": tf.constant([2, 1, 5, 3, 4, 5])}
            traj = {
                "action": tf.range(steps, dtype=tf.float32)[:, None] * tf.ones((1, 7)),
                "observation": {"index": tf.range(steps)},
                "task": task,
                "action_pad_mask": tf.ones((steps, 7), tf.bool),
            }
            chunk = traj_transforms.chunk_act_obs(traj, window, horizon)
            key = f"{window}_{horizon}_{goal}"
            arrays[f"{key}/observation"] = chunk["observation"]["index"].numpy()
            arrays[f"{key}/timestep_pad_mask"] = chunk["observation"]["timestep_pad_mask"].numpy()
            arrays[f"{key}/action"] = chunk["action"].numpy()[..., 0]
            arrays[f"{key}/action_pad_mask"] = chunk["action_pad_mask"].numpy()[..., 0]
    np.savez_compressed(HERE / "windows.npz", **arrays)


def write_augmentations() -> None:
    """The operations that the official augmentation is made of, each on one small picture."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
    image[:4, :4] = image[:4, :4, :1]  # grey: no hue
    real = tf.image.convert_image_dtype(image, tf.float32)
    box = [[0.05, 0.1, 0.97, 0.98]]
    made = {
        "random_resized_crop": tf.image.crop_and_resize(real[None], box, [0], (12, 12))[0],
        "random_brightness": tf.image.adjust_brightness(real, -0.07),
        "random_contrast": tf.image.adjust_contrast(real, 1.08),
        "random_saturation": tf.image.adjust_saturation(real, 1.09),
        "random_hue": tf.image.adjust_hue(real, 0.04),
    }
    made = {key: value.numpy() for key, value in made.items()}
    np.savez_compressed(HERE / "augmentations.npz", image=image, box=np.array(box[0]), **made)


def write_schedules() -> None:
    """Learning rates at some steps."""
    steps = np.array([0, 1, 5, 9, 10, 11, 50, 99, 100, 150])
    common = {"init_value": 0.0, "peak_value": 3e-4, "warmup_steps": 10}
    made = {
        "cosine": create_lr_schedule("cosine", **common, decay_steps=100, end_value=0.0),
        "rsqrt": create_lr_schedule("rsqrt", **common, timescale=1000),
        "constant": create_lr_schedule("constant", **common),
    }
    rates = {name: np.array([float(rate(step)) for step in steps]) for name, rate in made.items()}
    np.savez_compressed(HERE / "schedules.npz", steps=steps, **rates)


if __name__ == "__main__":
    write_windows()
    write_augmentations()
    write_schedules()
    for reference in sys.argv[1:] or LOSSES:
        write_loss(reference)
