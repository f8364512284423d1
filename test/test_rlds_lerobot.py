"""LeRobot's own library writes and reads what is exported for it; without it, refusals are one error."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from test_rlds_dataset import made

from octo_ros import cli
from octo_ros.errors import ParameterError
from octo_ros.rlds.dataset import read_episodes, write_dataset
from octo_ros.rlds.errors import DatasetError
from octo_ros.rlds.frames import Frames
from octo_ros.rlds.to_lerobot import write_lerobot
from octo_ros.types import ACTION_AXES

SCRIPT = """
import sys
import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from octo_ros.rlds.dataset import read_episodes
from octo_ros.rlds.to_lerobot import write_lerobot

source, out, found, encoding = sys.argv[1:]
write_lerobot(out, read_episodes(source, "all"), encoding=encoding, robot_type="fr3")
dataset = LeRobotDataset("mine", root=out)
steps = [dataset[index] for index in range(len(dataset))]
np.savez(found, **{key: np.stack([np.asarray(step[key]) for step in steps]) for key in steps[0]})
"""


def interpreter() -> str:
    """A Python that has LeRobot: OCTO_LEROBOT_PYTHON, else this one; skips where neither has."""
    python = os.environ.get("OCTO_LEROBOT_PYTHON", sys.executable)
    check = "import importlib.util as u; assert u.find_spec('lerobot')"
    if subprocess.run([python, "-c", check], capture_output=True).returncode:
        pytest.skip("LeRobot is not installed; OCTO_LEROBOT_PYTHON may name a Python that has it")
    return python


def moving(index: int) -> Frames:
    """Pictures that a video codec keeps well: stripes on the move, no two alike."""
    across = np.arange(96)[None, :, None] + np.zeros((64, 1, 3))
    frames = [128 + 100 * np.sin((across + 9 * step) / 12 + index) for step in range(3 + index)]
    return Frames.of(np.asarray(frames).astype(np.uint8))


@pytest.mark.parametrize("encoding", ["png", "video"])
def test_lerobot_reads_every_value(tmp_path, encoding):
    python = interpreter()
    episodes = [made(i, steps=3 + i, instruction=f"task {i % 2}") for i in range(4)]
    if encoding == "video":
        episodes = [
            dataclasses.replace(one, images={camera: moving(i) for camera in one.images})
            for i, one in enumerate(episodes)
        ]
    write_dataset(tmp_path / "rlds", "mine", episodes)
    out, found = tmp_path / "out", tmp_path / "found.npz"
    environment = {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "",
        "HF_HOME": str(tmp_path / "hub"),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    done = subprocess.run(
        [python, "-c", SCRIPT, str(tmp_path / "rlds"), str(out), str(found), encoding],
        capture_output=True, text=True, env=environment, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    info = json.loads((out / "meta/info.json").read_text())
    assert (info["codebase_version"], info["fps"], info["robot_type"]) == ("v3.0", 10, "fr3")
    assert info["features"]["action"] == {"dtype": "float32", "shape": [7], "names": list(ACTION_AXES)}
    steps = np.load(found)
    first = 0
    for number, episode in enumerate(read_episodes(tmp_path / "rlds", "all")):
        part = slice(first, first + len(episode))
        assert steps["episode_index"][part].tolist() == [number] * len(episode)
        assert steps["frame_index"][part].tolist() == list(range(len(episode)))
        assert steps["action"][part].tobytes() == episode.action.tobytes()
        assert steps["observation.state"][part].tobytes() == episode.state.tobytes()
        assert steps["task"][part].tolist() == [episode.instruction] * len(episode)
        for camera, frames in episode.images.items():
            read = steps[f"observation.images.{camera}"][part].transpose(0, 2, 3, 1) * 255.0  # (T, H, W, 3)
            off = np.abs(read[:, None] - np.asarray(frames)[None]).mean(axis=(2, 3, 4))  # (T, T), levels
            assert off.argmin(axis=1).tolist() == list(range(len(episode)))
            assert off.diagonal().max() <= (0.01 if encoding == "png" else 5.0)
        first += len(episode)
    assert first == len(steps["action"]) == info["total_frames"] and info["total_episodes"] == 4


class Recorder:
    """Stands for the library's class where only refusals are tested; its data set is an empty folder."""

    @classmethod
    def create(cls, repo_id, fps, features, *, root, robot_type, use_videos):
        Path(root).mkdir()
        features["action"]["info"] = "the library adds to what it is given"
        return cls()

    def add_frame(self, frame):
        if "break it" in frame["task"]:
            raise ValueError("Feature mismatch\n of many lines\n")

    def save_episode(self):
        pass

    def finalize(self):
        pass


@pytest.fixture
def library(monkeypatch):
    """LeRobot as `Recorder`."""
    module = ModuleType("lerobot.datasets.lerobot_dataset")
    module.LeRobotDataset = Recorder
    for name in ("lerobot", "lerobot.datasets"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)


SMALL = {"primary": Frames.of([np.zeros((6, 6, 3), np.uint8)] * 4)}


@pytest.mark.parametrize(
    ("episodes", "options", "said"),
    [
        ([made(1)], {"encoding": "jpeg"}, "expected one of png, video for LeRobot, got 'jpeg'"),
        ([made(1)], {"encoding": "video"}, "primary: expected frames of 64 pixels or more .* got 12 x 16"),
        ([made(1, rate_hz=0.0)], {}, "does not say its rate"),
        ([made(1, rate_hz=0.0)], {"rate_hz": float("nan")}, "got nan"),
        ([made(1, rate_hz=0.5)], {}, "whole frames in a second; .* got 0.5 Hz"),
        ([made(1), made(2, rate_hz=5.0)], {}, r"episode 2 of bag: .* first episode's 10 Hz .* got 5 Hz"),
        ([made(1), made(2, images=SMALL)], {}, r"primary \(12, 16, 3\).* got 10 Hz .*primary \(6, 6, 3\)"),
        ([made(1), made(2, state=None)], {}, r"observation.state \(5,\)"),
        (
            [made(1, instruction=" "), made(2, success=False)],
            {},
            "1 left out: no instruction.*1 left out: it",
        ),
        ([], {}, "no episode to write; there is none"),
        (
            [made(1), made(2, instruction="break it")],
            {},
            "cannot be written: Feature mismatch of many lines$",
        ),
    ],
)
def test_what_lerobot_cannot_hold_is_told_and_nothing_is_left(tmp_path, library, episodes, options, said):
    with pytest.raises((ParameterError, DatasetError), match=said):
        write_lerobot(tmp_path / "out", episodes, **options)
    assert list(tmp_path.iterdir()) == []


def test_failures_are_left_out_unless_asked_for_and_a_rate_beside_a_whole_one_is_taken(tmp_path, library):
    episodes = [made(1, rate_hz=9.95), made(2, success=False, rate_hz=10.05), made(3, instruction="")]
    kept, rejected = write_lerobot(tmp_path / "one", episodes)
    assert [(one.index, one.rate_hz) for one in kept] == [(1, 10)]
    assert [one.index for one in rejected] == [2, 3]
    kept, rejected = write_lerobot(tmp_path / "two", episodes, keep_failures=True)
    assert [one.index for one in kept] == [1, 2] and [one.index for one in rejected] == [3]
    (tmp_path / "two/file").touch()
    with pytest.raises(DatasetError, match="not empty"):
        write_lerobot(tmp_path / "two", episodes)


def run(*arguments):
    return cli.main(["convert", *map(str, arguments)])


def test_the_verb_writes_it(tmp_path, library, capsys):
    pytest.importorskip("rosbags", reason="the rosbags library is not installed")
    write_dataset(tmp_path / "rlds", "mine", [made(i, success=i != 1) for i in range(3)])
    assert run(tmp_path / "rlds", tmp_path / "out", "--to", "lerobot", "--robot", "fr3") == 0
    out = capsys.readouterr().out
    assert "rejected: it ended in failure" in out and "a LeRobotDataset of 2 episodes" in out
    assert (tmp_path / "out").is_dir()


def test_without_the_library_the_verb_says_what_to_install(tmp_path, monkeypatch, capsys):
    pytest.importorskip("rosbags", reason="the rosbags library is not installed")
    monkeypatch.setitem(sys.modules, "lerobot", None)
    write_dataset(tmp_path / "rlds", "mine", [made(1)])
    assert run(tmp_path / "rlds", tmp_path / "out", "--to", "lerobot") == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("octo_ros: ") and "extra 'lerobot'" in line
    assert not (tmp_path / "out").exists()


def test_bags_are_no_source_for_it(tmp_path, capsys):
    pytest.importorskip("rosbags", reason="the rosbags library is not installed")
    (tmp_path / "bag.mcap").touch()
    assert run(tmp_path / "bag.mcap", tmp_path / "out", "--to", "lerobot") == 1
    assert "--to lerobot: expected an RLDS data set, got bags" in capsys.readouterr().err
