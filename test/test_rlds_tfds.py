"""TensorFlow Datasets itself, as Octo's training uses it, reads what is written here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_rlds_dataset import made

from octo_ros.rlds.dataset import read_episodes, write_dataset

SCRIPT = """
import sys
import numpy as np
import tensorflow_datasets as tfds

found = {}
for how, builder in (
    ("directory", tfds.builder_from_directory(sys.argv[1] + "/mine/1.0.0")),
    ("name", tfds.builder("mine", data_dir=sys.argv[1])),
):
    for split in builder.info.splits:
        for number, episode in enumerate(builder.as_dataset(split=split)):
            steps = list(episode["steps"].as_numpy_iterator())
            where = f"{how}/{split}/{int(episode['episode_metadata']['episode_id'])}"
            for key in ("action", "is_first", "is_last", "is_terminal", "reward", "discount"):
                found[f"{where}/{key}"] = np.array([step[key] for step in steps])
            found[f"{where}/words"] = np.array([step["language_instruction"].decode() for step in steps])
            for key in steps[0]["observation"]:
                if key != "natural_language_instruction":
                    found[f"{where}/{key}"] = np.array([step["observation"][key] for step in steps])
np.savez(sys.argv[2], **found)
"""


def interpreter() -> str:
    """A Python that has TensorFlow Datasets: OCTO_TFDS_PYTHON, else this one; skips where neither has."""
    python = os.environ.get("OCTO_TFDS_PYTHON", sys.executable)
    check = (
        "import importlib.util as u; assert u.find_spec('tensorflow') and u.find_spec('tensorflow_datasets')"
    )
    if subprocess.run([python, "-c", check], capture_output=True).returncode:
        pytest.skip("TensorFlow Datasets is not installed; OCTO_TFDS_PYTHON may name a Python that has it")
    return python


@pytest.mark.parametrize("encoding", ["png", "jpeg"])
def test_tfds_reads_every_value(tmp_path, encoding):
    from octo_ros.rlds.frames import Encoding

    python = interpreter()
    episodes = [made(i, steps=3 + i, instruction=f"task {i % 2}") for i in range(8)]
    write_dataset(tmp_path, "mine", episodes, encoding=Encoding(encoding))
    out = Path(tmp_path / "found.npz")
    environment = {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "",
        "NO_GCE_CHECK": "true",
        "TFDS_DATA_DIR": str(tmp_path),
    }
    done = subprocess.run(
        [python, "-c", SCRIPT, str(tmp_path), str(out)],
        capture_output=True, text=True, env=environment, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = np.load(out)
    compared = 0
    for split in ("train", "val"):
        for episode in read_episodes(tmp_path, split):
            for how in ("directory", "name"):
                where = f"{how}/{split}/{episode.index}"
                steps = len(episode)
                np.testing.assert_array_equal(found[f"{where}/action"], episode.action)
                np.testing.assert_array_equal(found[f"{where}/state"], episode.state)
                assert found[f"{where}/words"].tolist() == [episode.instruction] * steps
                assert found[f"{where}/is_first"].tolist() == [True] + [False] * (steps - 1)
                assert found[f"{where}/is_last"].tolist() == [False] * (steps - 1) + [True]
                for camera, frames in episode.images.items():
                    off = np.abs(found[f"{where}/image_{camera}"].astype(int) - np.asarray(frames))
                    assert off.max() <= (0 if encoding == "png" else 8)  # decoders of JPEG round apart
                compared += 1
    assert compared == 16
