"""Lets the official code load a checkpoint that was trained here, and writes what it answers.

    cd <checkpoint>
    PYTHONPATH=<checkout of octo-models/octo at 241fb35> python ask_official.py <file.npz> [words]

in the environment of `write_references.py`. From inside the checkpoint's folder the official code finds the
small tokenizer and language encoder of a model from scratch by their names. `compare_official.py` compares.
"""

from __future__ import annotations

import sys
from unittest import mock

import jax
import numpy as np

for absent in ("dlimp", "ml_collections"):  # what reads data sets; nothing of it is called here
    sys.modules.setdefault(absent, mock.MagicMock())
from octo.model.octo_model import OctoModel  # noqa: E402

if __name__ == "__main__":
    model = OctoModel.load_pretrained(".")
    observation, task = model.example_batch["observation"], dict(model.example_batch["task"])
    if len(sys.argv) > 2:
        ids = model.text_processor.encode([sys.argv[2]])
        task["language_instruction"] = {key: np.asarray(value) for key, value in ids.items()}
    mask = observation["timestep_pad_mask"]
    outputs = model.run_transformer(observation, task, mask, train=False)
    key = jax.random.PRNGKey(5)
    actions = model.sample_actions(observation, task, rng=key, train=False)
    head = model.module.bind({"params": model.params}).heads["action"]
    result = {"readout": outputs["readout_action"].tokens, "actions": actions}
    if hasattr(head, "diffusion_steps"):
        draws = []
        for _ in range(1 + head.diffusion_steps):
            key, drawn = jax.random.split(key)
            draws.append(np.asarray(jax.random.normal(drawn, (*mask.shape, head.action_horizon * 7))))
        result["noise_init"], result["noise_steps"] = draws[0], np.stack(draws[1:])
    if "language_instruction" in task:
        result["input_ids"] = task["language_instruction"]["input_ids"]
    np.savez(sys.argv[1], **result)
    print({name: value.shape for name, value in result.items()})
