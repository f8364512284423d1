"""Bag to RLDS to bag to RLDS: nothing is lost; and the verb that does it."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rosbags", reason="the rosbags library is not installed")

from bag_maker import contents, episodes, write_bag
from test_rlds_dataset import assert_same, made
from test_rlds_from_bag import MARKERS, ROBOT, marked, recording

from octo_ros import cli
from octo_ros.bags.reader import Bag, Topic
from octo_ros.errors import ParameterError
from octo_ros.resources import share_path
from octo_ros.rlds.dataset import read_episodes, write_dataset
from octo_ros.rlds.errors import DatasetError
from octo_ros.rlds.from_bag import BagEpisodes
from octo_ros.rlds.options import BagOptions
from octo_ros.rlds.to_bag import write_bag as write_episodes

DEMO = share_path("demo/bag")


def by_place(folder):
    """Episodes of all splits, in the order of the recording."""
    return sorted(read_episodes(folder, "all"), key=lambda episode: episode.index)


def without_markers(bag):
    """Topic, log time and bytes of all messages that the demo's bag could have too."""
    return [entry for entry in contents(bag) if entry[0] != MARKERS]


def assert_same_data(one, two):
    """All but where the episodes come from."""
    assert len(one) == len(two) > 0
    for a, b in zip(one, two, strict=True):
        assert a.action.tobytes() == b.action.tobytes() and a.instruction == b.instruction
        assert (a.state is None) == (b.state is None) and a.success == b.success
        assert a.state is None or a.state.tobytes() == b.state.tobytes()
        assert list(a.images) == list(b.images) and a.rate_hz == pytest.approx(b.rate_hz)
        for camera in a.images:
            np.testing.assert_array_equal(np.asarray(a.images[camera]), np.asarray(b.images[camera]))


def test_the_demo_bag_there_and_back(tmp_path):
    write_dataset(tmp_path / "one", "demo", BagEpisodes(DEMO))
    first = by_place(tmp_path / "one")
    write_episodes(tmp_path / "bag", first)
    write_dataset(tmp_path / "two", "demo", BagEpisodes(tmp_path / "bag"))
    assert_same_data(first, by_place(tmp_path / "two"))
    with Bag(DEMO) as before, Bag(tmp_path / "bag") as after:
        assert {**before.topics, MARKERS: Topic("std_msgs/msg/String", 24)} == after.topics
    original, back = contents(DEMO), without_markers(tmp_path / "bag")
    assert [entry[:2] for entry in original] == [entry[:2] for entry in back]
    for (topic, _, one), (_, _, two) in zip(original, back, strict=True):
        assert one == two or topic.startswith("/recorded/")  # these were rounded to float32


def test_episodes_of_poses_there_and_back(tmp_path):
    entries = recording(9.0, wrist=True) + marked(
        (0.0, 2.0, "success"), (3.0, 5.0, "failure"), (6.0, 8.0, "unknown")
    )
    bag = write_bag(tmp_path / "bag", entries)
    write_dataset(tmp_path / "one", "cell", BagEpisodes(bag, ROBOT, BagOptions(keep_failures=True)))
    first = by_place(tmp_path / "one")
    write_episodes(tmp_path / "back", first)
    again = BagEpisodes(tmp_path / "back", None, BagOptions(keep_failures=True))
    write_dataset(tmp_path / "two", "cell", again)
    assert_same_data(first, by_place(tmp_path / "two"))
    assert [episode.success for episode in first] == [True, False, None] and not again.rejected


def test_bridge_data_as_a_bag_is_the_shared_bag(tmp_path, shared):
    write_episodes(tmp_path / "bag", read_episodes(shared / "bridge_debug"), rate_hz=5.0)
    assert without_markers(tmp_path / "bag") == contents(shared / "bags/bridge_train")


def test_the_same_episodes_give_the_same_files(tmp_path):
    for name in ("one", "two"):
        write_dataset(tmp_path / name, "mine", [made(i) for i in range(5)])
        write_episodes(tmp_path / f"{name}_bag", [made(i) for i in range(5)])
    for path in (tmp_path / "one/mine/1.0.0").iterdir():
        assert path.read_bytes() == (tmp_path / "two/mine/1.0.0" / path.name).read_bytes()
    assert contents(tmp_path / "one_bag") == contents(tmp_path / "two_bag")


def test_what_a_bag_cannot_hold_is_told(tmp_path):
    with pytest.raises(ParameterError, match="does not say its rate"):
        write_episodes(tmp_path / "bag", [made(1, rate_hz=0.0)])
    with pytest.raises(ParameterError, match=r"camera '0': .* name it by a key"):
        write_episodes(tmp_path / "bag", [made(1, images={"0": made(1).images["primary"]})])
    kept, rejected = write_episodes(tmp_path / "some", [made(1), made(2, instruction=" ")])
    assert len(kept) == 1 and "no instruction" in rejected[0].reason and rejected[0].index == 2
    with pytest.raises(DatasetError, match="episode with an instruction"):
        write_episodes(tmp_path / "bag", [made(2, instruction=" ")])
    with pytest.raises(DatasetError, match="not empty"):
        write_episodes(tmp_path / "some", [made(1)])
    assert [path.name for path in tmp_path.iterdir()] == ["some"]


def run(*arguments):
    return cli.main(["convert", *map(str, arguments)])


def test_the_verb_converts_in_both_directions(tmp_path, capsys):
    bag = write_bag(tmp_path / "cell", recording(5.0) + marked((0.0, 2.0, "success"), (2.5, 4.0, "abort")))
    other = write_bag(
        tmp_path / "more", recording(5.0) + marked((0.0, 2.0, "success"), (2.5, 4.0, "failure"))
    )
    assert run(bag, other, tmp_path / "data", "--robot", "fr3", "--name", "cell", "--rate", 5) == 0
    out = capsys.readouterr().out
    assert "rejected: the operator aborted it" in out and "rejected: it ended in failure" in out
    assert out.count("kept") == 2 and "1 train, 1 val episodes, 20 steps; 2 episodes rejected" in out
    assert "camera primary: +0 ppm" in out
    assert run(tmp_path / "data", tmp_path / "back") == 0
    assert "a rosbag2 of 2 episodes" in capsys.readouterr().out
    assert_same_data(list(read_episodes(tmp_path / "data", "all")), list(BagEpisodes(tmp_path / "back")))
    assert run(tmp_path / "data", tmp_path / "val", "--split", "val") == 0
    assert len(list(BagEpisodes(tmp_path / "val"))) == 1


def test_jpeg_and_urdf_by_the_verb(tmp_path):
    bag = write_bag(tmp_path / "cell", recording(2.0) + marked((0.0, 2.0, "success")))
    urdf = share_path("urdf/fr3.urdf")
    options = ("--urdf", urdf, "--name", "cell", "--encoding", "jpeg", "--quality", 80)
    assert run(bag, tmp_path / "data", *options) == 0
    (episode,) = read_episodes(tmp_path / "data")
    assert episode.images["primary"].data[0].startswith(b"\xff\xd8\xff") and len(episode) == 20


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["BAG", "OUT"], "--name"),
        (["BAG", "OUT", "--name", "Two Words"], "name: expected lower-case"),
        (["BAG", "OUT", "--name", "x", "--topic", "primary"], "--topic: expected NAME=VALUE"),
        (["BAG", "OUT", "--name", "x", "--robot", "fr9"], "fr9"),
        (["BAG", "OUT", "--name", "x", "--rate", "7"], "5.00 Hz"),
        (["BAG", "OUT", "--name", "x", "--actions", "poses"], "name the robot"),
        (["BAG", "EMPTY", "OUT", "--name", "x"], "is no bag"),
        (["EMPTY", "OUT"], "no dataset_info.json"),
        (["OUT", "OUT"], "no such folder"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(tmp_path, capsys, arguments, said):
    (tmp_path / "empty").mkdir()
    write_bag(tmp_path / "bag", episodes())
    places = {"BAG": tmp_path / "bag", "OUT": tmp_path / "out", "EMPTY": tmp_path / "empty"}
    assert run(*(places.get(argument, argument) for argument in arguments)) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("octo_ros: ") and said in line
    assert not (tmp_path / "out").exists()


def test_where_no_episode_fits_the_reasons_are_shown_and_nothing_is_written(tmp_path, capsys):
    bag = write_bag(tmp_path / "cell", recording(2.0) + marked((0.0, 1.0, "abort")))
    assert run(bag, tmp_path / "data", "--robot", "fr3", "--name", "cell") == 1
    captured = capsys.readouterr()
    assert "the operator aborted it" in captured.out and "at least one episode" in captured.err
    assert not (tmp_path / "data").exists()


def test_assert_same_sees_a_difference():
    with pytest.raises(AssertionError):
        assert_same(made(1), made(2))
