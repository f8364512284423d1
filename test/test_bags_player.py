"""Messages come one by one for playing; the first episodes of a bag can be cut out."""

from __future__ import annotations

import pytest

pytest.importorskip("rosbags", reason="the rosbags library is not installed")

from bag_maker import FRAMES, INSTRUCTIONS, RECORDED, START_NS, contents, episodes, write_bag

from octo_ros.bags.player import copy_episodes, messages
from octo_ros.errors import BagError, ParameterError


@pytest.fixture
def bag(tmp_path):
    return write_bag(tmp_path / "bag", episodes(count=3))


def test_messages_come_decoded_in_order(bag):
    played = list(messages(bag, (FRAMES, INSTRUCTIONS)))
    assert [message.data for topic, _, message in played if topic == INSTRUCTIONS] == [
        "put block 0 away",
        "put block 1 away",
        "put block 2 away",
    ]
    assert [stamp for _, stamp, _ in played] == sorted(stamp for _, stamp, _ in played)
    assert played[1][2].data.shape == (24 * 32 * 3,)


def test_messages_of_a_topic_the_bag_lacks(bag):
    with pytest.raises(BagError, match="no topic /nowhere"):
        list(messages(bag, ("/nowhere",)))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_first_episodes_are_copied_byte_for_byte(tmp_path, bag, count):
    assert copy_episodes(bag, tmp_path / "cut", count) == count
    cut = contents(tmp_path / "cut")
    assert cut == contents(bag)[: len(cut)]
    assert sum(topic == INSTRUCTIONS for topic, _, _ in cut) == count
    assert sum(topic == FRAMES for topic, _, _ in cut) == 5 * count


def test_fewer_episodes_than_asked_for_are_counted(tmp_path, bag):
    assert copy_episodes(bag, tmp_path / "cut", 9) == 3
    assert contents(tmp_path / "cut") == contents(bag)


def test_what_lies_before_the_first_episode_is_left_out(tmp_path):
    early = [(RECORDED, START_NS - 5, message) for _, _, message in episodes()[2:3]]
    path = write_bag(tmp_path / "bag", [*early, *episodes(count=1)])
    copy_episodes(path, tmp_path / "cut", 1)
    assert min(log_ns for _, log_ns, _ in contents(tmp_path / "cut")) == START_NS


def test_bad_requests_are_refused(tmp_path, bag):
    with pytest.raises(ParameterError, match="at least 1 episode, got 0"):
        copy_episodes(bag, tmp_path / "cut", 0)
    with pytest.raises(BagError, match="no topic /elsewhere"):
        copy_episodes(bag, tmp_path / "cut", 1, instructions="/elsewhere")
    (tmp_path / "cut").mkdir()
    with pytest.raises(BagError, match="cannot write a bag"):
        copy_episodes(bag, tmp_path / "cut", 1)
    empty = write_bag(tmp_path / "empty", [], topics={INSTRUCTIONS: "std_msgs/msg/String"})
    with pytest.raises(BagError, match="expected messages that start an episode"):
        copy_episodes(empty, tmp_path / "none", 1)
