"""Compares what `ask_official.py` wrote with this project's model of the same checkpoint.

python compare_official.py <checkpoint> <file.npz> [words]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from octo_ros.export.bundle import build_model
from octo_ros.export.checkpoint import read_checkpoint
from octo_ros.export.self_check import policy_example
from octo_ros.train.words import FILE, FOLDER, Encoder

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    checkpoint = read_checkpoint(folder)
    model, config = build_model(checkpoint)
    with np.load(sys.argv[2]) as file:
        said = dict(file)
    instruction = checkpoint.example["task"].get("language_instruction")
    tokens = None
    if instruction is not None:
        ids, mask = instruction["input_ids"], instruction["attention_mask"]
        if len(sys.argv) > 3:
            words = Encoder(folder / FOLDER / FILE, ids.shape[1], model.text.vocabulary, FOLDER)(sys.argv[3])
            ids, mask = words.input_ids, words.attention_mask
            print("token ids are the same:", np.array_equal(ids, said["input_ids"]))
        with torch.no_grad():
            tokens = model.encode_language(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
    inputs = policy_example(model, checkpoint.example, tokens)
    inputs |= {name: said[name] for name in inputs if name in said}
    with torch.no_grad():
        answer = model(**{name: torch.from_numpy(np.array(array)) for name, array in inputs.items()})
    for name in ("readout", "actions"):
        print(f"{name}: largest difference {np.abs(answer[name].numpy() - said[name]).max():.3g}")
