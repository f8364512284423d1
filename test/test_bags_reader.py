"""Bags are read in every storage, and whatever is wrong with one is a BagError that says where."""

from __future__ import annotations

import pytest

pytest.importorskip("rosbags", reason="the rosbags library is not installed")

from bag_maker import (
    FRAMES,
    INSTRUCTIONS,
    JOINTS,
    START_NS,
    contents,
    episodes,
    joint_state,
    picture,
    words,
    write_bag,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.rosbag2 import CompressionMode, StoragePlugin

from octo_ros.bags.reader import TYPESTORE, Bag
from octo_ros.errors import BagError

STORAGES = [
    (StoragePlugin.MCAP, CompressionMode.NONE),
    (StoragePlugin.MCAP, CompressionMode.STORAGE),
    (StoragePlugin.MCAP, CompressionMode.FILE),
    (StoragePlugin.MCAP, CompressionMode.MESSAGE),
    (StoragePlugin.SQLITE3, CompressionMode.NONE),
    (StoragePlugin.SQLITE3, CompressionMode.FILE),
    (StoragePlugin.SQLITE3, CompressionMode.MESSAGE),
]


@pytest.fixture
def bag(tmp_path):
    return write_bag(tmp_path / "bag", episodes())


@pytest.mark.parametrize(("storage", "compression"), STORAGES)
def test_every_storage_gives_the_same_messages(tmp_path, bag, storage, compression):
    other = write_bag(tmp_path / "other", episodes(), storage, compression)
    assert sorted(contents(other)) == sorted(contents(bag))


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_a_single_file_is_a_bag(tmp_path, storage):
    path = write_bag(tmp_path / "bag", episodes(), storage)
    (file,) = [file for file in path.iterdir() if file.suffix != ".yaml"]
    assert contents(file) == contents(path)


def test_topics_have_type_and_count(bag):
    with Bag(bag) as opened:
        assert list(opened.topics) == sorted(opened.topics)
        assert opened.topics[FRAMES].type == "sensor_msgs/msg/Image"
        assert opened.topics[FRAMES].count == 10


def test_records_come_by_log_time_and_only_of_the_topics_asked_for(bag):
    with Bag(bag) as opened:
        records = list(opened.records([FRAMES, INSTRUCTIONS]))
        assert {record.topic for record in records} == {FRAMES, INSTRUCTIONS}
        times = [record.log_ns for record in records]
        assert times == sorted(times)
        message = opened.decode(records[1])
        assert (message.height, message.width, message.encoding) == (24, 32, "rgb8")
        with pytest.raises(BagError, match=r"no topic /nowhere; it has .*/octo/instruction"):
            next(opened.records(["/nowhere"]))


def test_a_missing_bag_is_named(tmp_path):
    with pytest.raises(BagError, match="no such bag"):
        Bag(tmp_path / "absent")


def test_a_directory_without_metadata_says_how_to_make_it(bag):
    (bag / "metadata.yaml").unlink()
    with pytest.raises(BagError, match=r"without metadata.yaml; `ros2 bag reindex`"):
        Bag(bag)


def test_another_file_is_no_bag(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(BagError, match=r"ending in .mcap or .db3"):
        Bag(tmp_path / "notes.txt")


def test_an_unknown_storage_is_named(bag):
    metadata = bag / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace("storage_identifier: mcap", "storage_identifier: tape"))
    with pytest.raises(BagError, match="tape"):
        Bag(bag)


@pytest.mark.parametrize("text", ["", "- 1\n", "rosbag2_bagfile_information: {version: 5}\n", "{:"])
def test_a_metadata_file_that_is_not_one(bag, text):
    (bag / "metadata.yaml").write_text(text)
    with pytest.raises(BagError, match="cannot open the bag"):
        Bag(bag)


def test_a_missing_storage_file_is_named(bag):
    (bag / "bag.mcap").unlink()
    with pytest.raises(BagError, match=r"bag\.mcap"):
        Bag(bag)


def test_bytes_that_are_not_the_type(tmp_path):
    path = write_bag(
        tmp_path / "bag", [(FRAMES, START_NS, ("sensor_msgs/msg/Image", b"\x00\x01\x00\x00\x01"))]
    )
    with Bag(path) as opened:
        (record,) = opened.records()
        with pytest.raises(
            BagError, match=rf"{FRAMES} at {START_NS} ns: 5 bytes are not a sensor_msgs/msg/Image"
        ):
            opened.decode(record)


@pytest.mark.parametrize("left_over", [0, 4, 8, 12])
def test_what_fast_dds_leaves_behind_a_message_is_ignored(tmp_path, left_over):
    state = joint_state(START_NS, ["a", "b", "c"], [1.0, 2.0, 3.0])
    data = bytes(TYPESTORE.serialize_cdr(state, state.__msgtype__)) + b"\x5a" * left_over
    path = write_bag(tmp_path / "bag", [(JOINTS, START_NS, (state.__msgtype__, data))])
    with Bag(path) as opened:
        (record,) = opened.records()
        message = opened.decode(record)
    assert message.name == ["a", "b", "c"]
    assert message.position.tolist() == [1.0, 2.0, 3.0]


def test_log_times_may_go_back_a_little_but_not_by_more_than_a_second(tmp_path):
    """A split bag's files overlap a little; a bag put together from two recordings is refused."""
    first = [(INSTRUCTIONS, START_NS + 2_000_000_000, words("a"))]
    for back_ns, fits in ((500_000_000, True), (1_500_000_000, False)):
        second = [(INSTRUCTIONS, START_NS + 2_000_000_000 - back_ns, words("b"))]
        path = _two_files(tmp_path / str(back_ns), first, second)
        if fits:
            assert [log_ns for _, log_ns, _ in contents(path)] == [START_NS + 2_000_000_000] * 2
        else:
            with pytest.raises(BagError, match=r"log times go back by 1\.500 s at message 2"):
                contents(path)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_a_damaged_file_is_read_or_is_a_bag_error(tmp_path_factory, data):
    """Cutting a bag's file anywhere, or overwriting bytes of it, raises nothing but BagError."""
    storage = data.draw(st.sampled_from([StoragePlugin.MCAP, StoragePlugin.SQLITE3]))
    path = write_bag(tmp_path_factory.mktemp("damaged") / "bag", episodes(count=1, frames=2), storage)
    (file,) = [file for file in path.iterdir() if file.suffix != ".yaml"]
    content = bytearray(file.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        del content[at:]
    else:
        noise = data.draw(st.binary(min_size=1, max_size=64))
        content[at : at + len(noise)] = noise
    file.write_bytes(content)
    try:
        with Bag(path) as opened:
            for record in opened.records():
                opened.decode(record)
    except BagError as error:
        assert str(path) in str(error)


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_file_is_a_bag_error(tmp_path, storage, share):
    entries = [(FRAMES, START_NS + i, picture(START_NS, i)) for i in range(40)]
    path = write_bag(tmp_path / "bag", entries, storage)
    (file,) = [file for file in path.iterdir() if file.suffix != ".yaml"]
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(BagError, match=str(path)):
        contents(path)


def _two_files(path, first, second):
    """One bag whose metadata names the files of two."""
    import yaml

    one, two = write_bag(path / "one", first), write_bag(path / "two", second)
    (two / "two.mcap").rename(one / "two.mcap")
    metadata = yaml.safe_load((one / "metadata.yaml").read_text())
    body = metadata["rosbag2_bagfile_information"]
    body["relative_file_paths"] = ["one.mcap", "two.mcap"]
    body["message_count"] = body["topics_with_message_count"][0]["message_count"] = 2
    (one / "metadata.yaml").write_text(yaml.safe_dump(metadata))
    return one
