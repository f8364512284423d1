"""RLDS data sets: official data are read, what is written is read, and damage is one error."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest

from octo_ros.errors import ParameterError
from octo_ros.rlds import writer
from octo_ros.rlds.dataset import Episode, count_episodes, known_keys, read_episodes, write_dataset
from octo_ros.rlds.errors import DatasetError
from octo_ros.rlds.example import encode_example
from octo_ros.rlds.features import Leaf, read_features, write_features
from octo_ros.rlds.frames import Encoding, Frames
from octo_ros.rlds.info import Info, Split, find_dataset, read_info
from octo_ros.rlds.keys import Keys
from octo_ros.rlds.layout import Layout
from octo_ros.rlds.tfrecord import RecordWriter


def made(index: int, steps: int = 4, instruction: str = "lift it", **changes) -> Episode:
    """An episode of random numbers and pictures, two cameras of different sizes."""
    random = np.random.default_rng(index)
    frames = {
        camera: Frames.of(random.integers(0, 256, (steps, *size, 3), dtype=np.uint8))
        for camera, size in (("primary", (12, 16)), ("wrist", (8, 8)))
    }
    action = random.normal(size=(steps, 7)).astype(np.float32)
    state = random.normal(size=(steps, 5)).astype(np.float32)
    episode = Episode(frames, action, state, instruction, 10.0, True, "bag", index)
    return dataclasses.replace(episode, **changes)


def assert_same(one: Episode, two: Episode, pixels: int = 0) -> None:
    for part in ("action", "state"):
        a, b = getattr(one, part), getattr(two, part)
        assert (a is None) == (b is None) and (
            a is None or (a.dtype == b.dtype and a.tobytes() == b.tobytes())
        )
    for part in ("instruction", "rate_hz", "success", "source", "index"):
        assert getattr(one, part) == getattr(two, part)
    assert list(one.images) == list(two.images)
    for camera in one.images:
        a, b = np.asarray(one.images[camera]), np.asarray(two.images[camera])
        assert np.abs(a.astype(int) - b).max() <= pixels


def test_bridge_data_is_read_by_its_own_keys(shared):
    episodes = list(read_episodes(shared / "bridge_debug"))
    assert len(episodes) == 25 == count_episodes(shared / "bridge_debug")
    first = episodes[0]
    assert list(first.images) == ["primary"] and np.asarray(first.images["primary"]).shape == (10, 64, 64, 3)
    assert first.action.shape == first.state.shape == (10, 7) and first.action.dtype == np.float32
    assert first.instruction == "put cup from counter or drying rack into sink"
    np.testing.assert_allclose(first.state[0, :3], [0.23381479, 0.11244296, 0.17504855], rtol=1e-6)
    assert first.source.startswith("/nfs/") and first.index == 5 and first.success is None
    keys = known_keys(shared / "bridge_debug").with_names({"primary": "image_0", "second": "image_1"})
    (two, *_) = read_episodes(shared / "bridge_debug", keys=keys)
    assert list(two.images) == ["primary", "second"]
    (four, *_) = read_episodes(shared / "bridge_debug", keys=Keys())
    assert sorted(four.images) == ["0", "1", "2", "3"]


def test_what_is_written_is_read_to_the_bit(tmp_path):
    episodes = [made(i, steps=i + 1, success=(True, False, None)[i % 3]) for i in range(9)]
    written = write_dataset(tmp_path, "mine", iter(episodes), validation=0.2)
    assert written.splits == {"train": 7, "val": 2}
    assert written.folder == tmp_path / "mine" / "1.0.0"
    assert sorted(path.name for path in written.folder.iterdir()) == [
        "dataset_info.json",
        "dataset_statistics.json",
        "features.json",
        "mine-train.tfrecord-00000-of-00001",
        "mine-val.tfrecord-00000-of-00001",
    ]
    read = sorted(read_episodes(tmp_path, "all"), key=lambda episode: episode.index)
    for one, two in zip(read, episodes, strict=True):
        assert_same(one, two)
    train = [episode.index for episode in read_episodes(tmp_path / "mine", "train")]
    assert train == sorted(train) and len(train) == 7


def test_each_step_has_the_official_keys_and_flags(tmp_path):
    write_dataset(tmp_path, "mine", [made(1), made(2, success=False)], validation=0.0)
    features = read_features(find_dataset(tmp_path))
    below_steps = {path for path in features if path.startswith("steps/")}
    assert below_steps == {
        *(f"steps/{key}" for key in ("action", "is_first", "is_last", "is_terminal", "reward", "discount")),
        "steps/language_instruction",
        *(f"steps/observation/{key}" for key in ("image_primary", "image_wrist", "state")),
        "steps/observation/natural_language_instruction",
    }
    assert features["steps/observation/image_wrist"] == Leaf("image", (8, 8, 3), "uint8", "png")
    layout = Layout(made(1), Encoding())
    done, failed = layout.example(made(1)), layout.example(made(1, success=False))
    assert done["steps/is_first"].tolist() == [True, False, False, False]
    assert done["steps/is_last"].tolist() == done["steps/is_terminal"].tolist() == [False, False, False, True]
    assert done["steps/reward"].tolist() == [0, 0, 0, 1] and failed["steps/reward"].tolist() == [0] * 4
    assert done["steps/discount"].tolist() == [1] * 4


def test_the_official_features_file_is_understood(shared):
    features = read_features(find_dataset(shared / "bridge_debug"))
    assert features["steps/action"].shape == (7,) and features["steps/is_last"].dtype == "bool"
    assert features["steps/observation/image_3"].encoding == "jpeg"
    assert features["episode_metadata/episode_id"].dtype == "int32"
    info = read_info(find_dataset(shared / "bridge_debug"))
    assert info.splits["train"].shard_lengths == (25,)


def test_features_written_are_features_read(tmp_path, shared):
    features = read_features(find_dataset(shared / "bridge_debug"))
    write_features(tmp_path, features)
    assert read_features(tmp_path) == features
    official = json.loads((find_dataset(shared / "bridge_debug") / "features.json").read_text())
    assert json.loads((tmp_path / "features.json").read_text()) == official


def test_jpeg_is_smaller_and_near_and_is_not_encoded_twice(tmp_path, shared):
    episodes = list(read_episodes(shared / "bridge_debug"))[:2]
    kept = write_dataset(tmp_path / "kept", "kept", episodes, encoding=Encoding("jpeg", 50))
    for one, two in zip(sorted_by_index(kept.folder), sorted(episodes, key=place), strict=True):
        assert one.images["primary"].data == two.images["primary"].data  # JPEG before, the same bytes after
    lossless = write_dataset(tmp_path / "lossless", "lossless", episodes)
    sizes, errors = [], []
    for quality in (50, 95):
        again = list(read_episodes(lossless.folder, "all"))
        written = write_dataset(tmp_path / str(quality), "x", again, encoding=Encoding("jpeg", quality))
        read = sorted_by_index(written.folder)[0].images["primary"]
        assert all(data.startswith(b"\xff\xd8\xff") for data in read.data)
        sizes.append(sum(map(len, read.data)))
        before = np.asarray(min(episodes, key=place).images["primary"])
        errors.append(np.abs(np.asarray(read).astype(int) - before).mean())
    png = sum(map(len, sorted_by_index(lossless.folder)[0].images["primary"].data))
    assert sizes[0] < sizes[1] < png and errors[1] < 2.0 < errors[0] < 10.0


def place(episode):
    """Where an episode of the official data comes from, which tells any two of them apart."""
    return episode.source, episode.index


def sorted_by_index(folder):
    return sorted(read_episodes(folder, "all"), key=place)


def test_many_episodes_go_to_several_files(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "SHARD_BYTES", 8000)
    episodes = [made(i, success=None) for i in range(10)]
    written = write_dataset(tmp_path, "mine", episodes, validation=0.0)
    files = sorted(path.name for path in written.folder.glob("*.tfrecord-*"))
    assert len(files) > 2
    assert files == [f"mine-train.tfrecord-{i:05d}-of-{len(files):05d}" for i in range(len(files))]
    assert sum(read_info(written.folder).splits["train"].shard_lengths) == 10
    assert [episode.index for episode in read_episodes(tmp_path)] == list(range(10))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"state": None}, "state of 5 values; got .* and None"),
        ({"images": {"primary": made(1).images["primary"]}}, "expected the first episode's frames"),
        ({"images": {**made(1).images, "wrist": made(1).images["primary"]}}, r"\(12, 16, 3\)"),
    ],
    ids=["no state", "one camera", "another size"],
)
def test_episodes_that_differ_leave_nothing_behind(tmp_path, changes, said):
    with pytest.raises(DatasetError, match=said):
        write_dataset(tmp_path / "data", "mine", [made(1), made(1, **changes)])
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_source_leaves_nothing_behind(tmp_path):
    def broken():
        yield made(1)
        raise DatasetError("the source broke")

    with pytest.raises(DatasetError, match="the source broke"):
        write_dataset(tmp_path / "data", "mine", broken())
    with pytest.raises(DatasetError, match="at least one episode"):
        write_dataset(tmp_path / "data", "mine", [])
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_taken_is_kept(tmp_path):
    written = write_dataset(tmp_path, "mine", [made(1)])
    before = {path.name: path.read_bytes() for path in written.folder.iterdir()}
    with pytest.raises(DatasetError, match="not empty"):
        write_dataset(tmp_path, "mine", [made(2)])
    assert {path.name: path.read_bytes() for path in written.folder.iterdir()} == before
    write_dataset(tmp_path, "mine", [made(2)], version="1.1.0")
    with pytest.raises(DatasetError, match="expected one data set, got mine/1.0.0, mine/1.1.0"):
        read_episodes(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"name": "My Set"}, "name: expected lower-case"),
        ({"version": "1.0"}, "version"),
        ({"validation": 0.8}, "validation"),
    ],
)
def test_arguments_out_of_range(tmp_path, arguments, said):
    with pytest.raises(ParameterError, match=said):
        write_dataset(tmp_path, **({"name": "mine", "episodes": [made(1)]} | arguments))
    with pytest.raises(ParameterError, match="quality"):
        Encoding("jpeg", 0)
    with pytest.raises(ParameterError, match="encoding"):
        Encoding("webp")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"action": np.zeros((4, 6), np.float32)}, r"action: expected \(4, 7\) float32, got \(4, 6\)"),
        ({"action": np.zeros((4, 7))}, "float64"),
        ({"action": np.full((4, 7), np.nan, np.float32)}, "not finite at step 0"),
        ({"state": np.zeros((3, 5), np.float32)}, "state"),
        ({"images": {}}, "one camera"),
        ({"action": np.zeros((3, 7), np.float32), "state": None}, "expected 3 frames, got 4"),
    ],
)
def test_an_episode_of_wrong_shapes_cannot_be_made(changes, said):
    with pytest.raises(DatasetError, match=said):
        made(1, **changes)


@pytest.fixture
def folder(tmp_path):
    return write_dataset(tmp_path / "data", "mine", [made(i) for i in range(4)]).folder


def test_no_data_set_is_named(tmp_path, folder):
    with pytest.raises(DatasetError, match="no such folder"):
        read_episodes(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="no dataset_info.json here"):
        read_episodes(tmp_path / "empty")
    with pytest.raises(DatasetError, match="no split 'test'; it has train, val"):
        read_episodes(folder, "test")


@pytest.mark.parametrize("file", ["dataset_info.json", "features.json"])
@pytest.mark.parametrize("text", ["", "[1, 2]", '{"name": 3}', "{}", '{"featuresDict": {"features": 7}}'])
def test_a_file_of_another_form_is_named(folder, file, text):
    (folder / file).write_text(text)
    with pytest.raises(DatasetError, match=file):
        read_episodes(folder)


def test_a_missing_file_of_records_is_named(folder):
    (folder / "mine-val.tfrecord-00000-of-00001").unlink()
    assert len(list(read_episodes(folder, "train"))) == 3
    with pytest.raises(DatasetError, match="mine-val.tfrecord-00000-of-00001: no such file"):
        read_episodes(folder, "all")


def test_a_file_cut_between_records_is_told_by_its_count(folder):
    path = folder / "mine-train.tfrecord-00000-of-00001"
    path.write_bytes(b"")
    with pytest.raises(DatasetError, match="says 3 episodes, the file holds 0"):
        list(read_episodes(folder))
    shutil.copyfile(folder / "mine-val.tfrecord-00000-of-00001", path)
    with pytest.raises(DatasetError, match="says 3 episodes, the file holds 1"):
        list(read_episodes(folder))


def rewritten(folder, **changes):
    """Puts one record with some features replaced (None: removed) in place of the training data."""
    example = Layout(made(1), Encoding()).example(made(1)) | changes
    with RecordWriter(folder / "mine-train.tfrecord-00000-of-00001") as out:
        out.write(encode_example({name: value for name, value in example.items() if value is not None}))
    return read_episodes(folder)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"steps/action": None}, "steps/action: expected 7 values in each step, got none"),
        ({"steps/action": np.zeros(27, np.float32)}, "steps/action: expected 7 values in each step, got 27"),
        ({"steps/action": np.zeros(21, np.float32)}, r"state: expected \(3, 5\) float32, got \(4, 5\)"),
        ({"steps/action": [b"seven"]}, "got none that are numbers"),
        ({"steps/observation/image_wrist": [b"a"]}, "camera wrist: expected 4 frames, got 1"),
        ({"steps/observation/image_wrist": np.zeros(4)}, "image_wrist: expected bytes, got numbers"),
        ({"steps/language_instruction": [b"\xff\xfe"]}, "language_instruction: expected text"),
    ],
)
def test_a_record_that_does_not_fit_its_features_is_told_with_its_place(folder, changes, said):
    with pytest.raises(DatasetError, match=said):
        list(rewritten(folder, **changes))


def test_a_picture_that_is_none_is_told_when_it_is_looked_at(folder):
    episodes = rewritten(folder, **{"steps/observation/image_wrist": [b"", b"no", b"picture", b"at all"]})
    episode = next(episodes)
    for step in range(4):
        with pytest.raises(DatasetError, match=f"image_wrist: frame {step}: .* no PNG or JPEG"):
            episode.images["wrist"][step]


def test_a_key_that_is_not_there_lists_those_that_are(folder):
    with pytest.raises(DatasetError, match="front: expected a image .*/image_front, got missing; .*_primary"):
        read_episodes(folder, keys=Keys().with_names({"front": "image_front"}))
    with pytest.raises(DatasetError, match="state: expected a tensor .*got text"):
        read_episodes(folder, keys=Keys(state="language_instruction"))
    (first, *_) = read_episodes(folder, keys=Keys(state="", instruction=""))
    assert first.state is None and first.instruction == ""


@pytest.mark.parametrize("encoding", ["bytes", "zlib"])
def test_packed_tensors_are_read(folder, encoding):
    import zlib

    features = dict(read_features(folder))
    features["steps/observation/state"] = Leaf("tensor", (5,), "float64", encoding)
    write_features(folder, features)
    rows = made(1).state.astype("<f8")
    packed = [zlib.compress(row.tobytes()) if encoding == "zlib" else row.tobytes() for row in rows]
    (episode,) = [next(rewritten(folder, **{"steps/observation/state": packed}))]
    assert episode.state.tobytes() == made(1).state.tobytes()
    with pytest.raises(DatasetError, match=f"cannot be unpacked as {encoding}|expected 5 values"):
        list(rewritten(folder, **{"steps/observation/state": [b"abc"] * 4}))


def test_names_of_files_follow_the_template():
    info = Info(
        "mine", "1.0.0", {"train": Split((1, 2), 0), "old": Split((1,), 0, "{SPLIT}-{SHARD_INDEX}.rec")}
    )
    assert info.files("train") == ["mine-train.tfrecord-00000-of-00002", "mine-train.tfrecord-00001-of-00002"]
    assert info.files("old") == ["old-00000.rec"]
