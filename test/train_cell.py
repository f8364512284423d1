"""Small episodes and models for the tests of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed (extra 'export')")
pytest.importorskip("msgpack", reason="msgpack is not installed (extra 'export')")

from octo_ros.train.batches import SampleOptions  # noqa: E402
from octo_ros.train.episodes import PreparedEpisode  # noqa: E402
from octo_ros.train.options import TrainOptions  # noqa: E402
from octo_ros.train.sizes import ModelSize  # noqa: E402
from octo_ros.train.train import Outcome, Scratch, train  # noqa: E402

SIZE = ModelSize(
    32, 2, 2, 64, (32, 32, 32, 32), 32, image=32, wrist=32, hidden=32, blocks=1, draws=8, length=8
)
INSTRUCTIONS = ("pick up the red block", "close the drawer")
AS_THEY_ARE = SampleOptions(augmentations={})


def make_episode(seed: int, steps: int = 6, **changes: Any) -> PreparedEpisode:
    """Random frames of 40 x 48 pixels from two cameras, random actions, and a state of 3 values."""
    rng = np.random.default_rng(seed)
    action = rng.normal(scale=0.02, size=(steps, 7)).astype(np.float32)
    action[:, 6] = np.arange(steps) > steps // 2
    parts = {
        "cameras": {
            name: rng.integers(0, 256, (steps, 40, 48, 3), dtype=np.uint8) for name in ("primary", "wrist")
        },
        "action": action,
        "state": rng.normal(size=(steps, 3)).astype(np.float32),
        "instruction": INSTRUCTIONS[seed % 2],
    }
    return PreparedEpisode(**{**parts, **changes})


def make_options(**changes: Any) -> TrainOptions:
    """A few steps on the CPU."""
    few = {"steps": 4, "batch": 3, "workers": 0, "validation": 4, "warmup": 1, "save_every": 100}
    return TrainOptions(**{**few, **changes})


def train_small(folder: Path, options: TrainOptions, model: Any = None, **more: Any) -> Outcome:
    """Trains on two episodes."""
    episodes = more.pop("episodes", [make_episode(0), make_episode(1)])
    return train(episodes, folder, Scratch(SIZE) if model is None else model, options, name="two", **more)


def weights(folder: Path, step: int | None = None) -> dict[str, np.ndarray]:
    """A checkpoint's weights by their official names."""
    from octo_ros.export.checkpoint import read_checkpoint

    return dict(read_checkpoint(folder, step).parameters)
