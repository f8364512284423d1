"""dataset_statistics.json: against numpy, in Octo's form, and read by what reads a checkpoint's."""

from __future__ import annotations

import json

import numpy as np
import pytest

from octo_ros.export.statistics import read_statistics
from octo_ros.rlds.dataset import Episode, read_episodes, write_dataset
from octo_ros.rlds.errors import DatasetError
from octo_ros.rlds.frames import Frames
from octo_ros.rlds.statistics import StatisticsBuilder, compute_statistics

OFFICIAL = {"mean", "std", "max", "min", "p99", "p01"}


def episode(action, state=None):
    action = np.asarray(action, np.float32)
    frames = Frames.of([np.zeros((2, 2, 3), np.uint8)] * len(action))
    return Episode({"primary": frames}, action, state, "go")


@pytest.mark.parametrize(("vector", "part"), [("action", "action"), ("proprio", "state")])
def test_bridge_data_against_numpy(shared, vector, part):
    episodes = list(read_episodes(shared / "bridge_debug"))
    found = compute_statistics(episodes)
    values = np.concatenate([getattr(one, part) for one in episodes]).astype(np.float64)
    expected = {
        "mean": np.mean(values, 0),
        "std": np.std(values, 0),
        "max": np.max(values, 0),
        "min": np.min(values, 0),
        "p99": np.quantile(values, 0.99, axis=0),
        "p01": np.quantile(values, 0.01, axis=0),
    }
    for key, value in expected.items():
        np.testing.assert_allclose(found[vector][key], value, rtol=1e-12, atol=1e-15, err_msg=key)
    assert (found["num_transitions"], found["num_trajectories"]) == (250, 25)


def test_the_official_names_and_no_others(shared):
    official = json.loads((shared / "reference/l1_proprio/checkpoint/dataset_statistics.json").read_text())
    of_one = official if "action" in official else next(iter(official.values()))
    assert set(of_one["action"]) - {"mask"} == OFFICIAL
    found = compute_statistics([episode(np.eye(7), np.eye(7, 3, dtype=np.float32))])
    assert set(found) == {"action", "proprio", "num_transitions", "num_trajectories"}
    assert set(found["action"]) == set(found["proprio"]) == OFFICIAL | {"mask"}
    assert found["action"]["mask"] == [True] * 6 + [False]
    assert found["proprio"]["mask"] == [True] * 3


def test_the_file_is_read_as_a_checkpoints(tmp_path):
    written = write_dataset(tmp_path, "mine", [episode(np.eye(7)), episode(-np.eye(7))])
    path = written.folder / "dataset_statistics.json"
    body = json.loads(path.read_text())
    assert list(body) == ["mine"]
    assert read_statistics(body, str(path)) == body
    assert body["mine"] == written.statistics and body["mine"]["num_trajectories"] == 2


def test_an_axis_that_never_moves_is_read_too(tmp_path):
    written = write_dataset(tmp_path, "still", [episode(np.full((3, 7), 0.1))])
    body = json.loads((written.folder / "dataset_statistics.json").read_text())
    assert read_statistics(body, "still")["still"]["action"]["std"] == pytest.approx([0.0] * 7, abs=1e-12)


def test_states_of_some_episodes_only_are_refused():
    builder = StatisticsBuilder()
    builder.add(episode(np.eye(7), np.zeros((7, 2), np.float32)))
    with pytest.raises(DatasetError, match="state: expected the same number of values"):
        builder.add(episode(np.eye(7), np.zeros((7, 3), np.float32)))
    with pytest.raises(DatasetError, match="state"):
        builder.add(episode(np.eye(7)))
    with pytest.raises(DatasetError, match="at least one episode"):
        StatisticsBuilder().result()
