"""Recorded demonstrations: what is in the bag, at which rate, and that it is the seed's."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

pytest.importorskip("octo_ros.sim.scene", reason="robosuite is not installed (the extra 'sim')")
pytest.importorskip("rosbags", reason="rosbags is not installed (the extra 'replay')")

from octo_ros.bags.reader import Bag
from octo_ros.cli import main
from octo_ros.errors import BagError, ParameterError
from octo_ros.image_messages import stamp_ns, to_rgb
from octo_ros.resources import robot_urdf, share_path
from octo_ros.safety.robot import Robot
from octo_ros.sim.cell import Cell
from octo_ros.sim.recording import record
from octo_ros.types import ACTION_AXES

SMALL = {"primary": 48, "wrist": 32}


def recorded(out, **options):
    """Records; skips where nothing can be rendered."""
    try:
        return record(out, "panda", **{"episodes": 1, "task": "reach the red cube", **SMALL, **options})
    except ParameterError as error:
        if "cannot render" not in str(error):
            raise
        pytest.skip(str(error))


def contents(path):
    """Topic to log times and messages."""
    read = defaultdict(list)
    with Bag(path) as bag:
        for item in bag.records(list(bag.topics)):
            read[item.topic].append((item.log_ns, bag.decode(item)))
    return read


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    """Two episodes: a reach and a lift."""
    out = tmp_path_factory.mktemp("recording") / "bag"
    told = []
    summary = recorded(out, episodes=4, task="all", seed=2, progress=lambda *done: told.append(done))
    assert told == [(0, 4), (1, 4), (2, 4), (3, 4)]
    return summary, contents(out)


def test_episodes_are_marked_in_turn_with_their_words(bag):
    summary, read = bag
    assert all(result.success for result in summary.results)
    assert [message.data for _, message in read["/octo/episode"]] == [
        text
        for words in ("reach the blue cube", "lift the red cube", "lift the green cube", "lift the blue cube")
        for text in (f"begin {words}", "end success")
    ]
    begins = [at for at, message in read["/octo/episode"] if message.data.startswith("begin")]
    assert [at for at, _ in read["/octo/instruction"]] == begins


def test_joint_states_come_at_100_hz_and_pictures_and_actions_at_10(bag):
    summary, read = bag
    steps = sum(result.steps for result in summary.results)
    assert len(read["/octo/action"]) == len(read["/recorded/action"]) == steps
    for camera in ("primary", "wrist"):
        assert len(read[f"/camera/{camera}/image_raw"]) == steps + len(summary.results)
        assert len(read[f"/camera/{camera}/camera_info"]) == steps + len(summary.results)
    for topic, period_ns in (("/joint_states", 10_000_000), ("/camera/primary/image_raw", 100_000_000)):
        gaps = np.diff([at for at, _ in read[topic]])
        assert sorted(set(gaps.tolist())) == [period_ns, 1_000_000_000]
        assert (gaps == 1_000_000_000).sum() == len(summary.results) - 1


def test_the_tools_pose_is_that_of_the_joints_by_the_urdf(bag):
    robot = Robot.from_file(robot_urdf("panda"), collision=False)
    _, read = bag
    pairs = list(zip(read["/joint_states"], read["/octo/tool_pose"], strict=True))
    for (at, joints), (_, pose) in pairs[::50]:
        assert tuple(joints.name) == robot.joint_names
        assert stamp_ns(joints.header) == stamp_ns(pose.header) == at
        assert pose.header.frame_id == robot.workspace.frame
        position, _ = robot.tool_pose(np.array(joints.position))
        spot = pose.pose.position
        np.testing.assert_allclose([spot.x, spot.y, spot.z], position, atol=1e-5)


def test_pictures_are_read_by_the_nodes_own_reader(bag):
    _, read = bag
    for camera, size in (("primary", 48), ("wrist", 32)):
        at, message = read[f"/camera/{camera}/image_raw"][3]
        assert stamp_ns(message.header) == at
        assert to_rgb(message).shape == (size, size, 3)
        info = read[f"/camera/{camera}/camera_info"][3][1]
        assert (info.width, info.k[2], info.header.frame_id) == (size, size / 2, message.header.frame_id)


def test_the_gripper_closes_by_command_and_then_by_measure(bag):
    _, read = bag
    begins = [at for at, message in read["/octo/episode"] if message.data.startswith("begin lift the red")]
    ends = [at for at, message in read["/octo/episode"] if message.data.startswith("end")]
    begin, end = begins[0], min(at for at in ends if at > begins[0])
    commands = [(at, m.data) for at, m in read["/octo/gripper_command"] if begin <= at <= end]
    openings = [opening for _, opening in commands]
    assert openings[:2] == [1.0, 0.0]
    assert openings[-1] == 0.0  # the noise may make it open and close again before
    measured = {at: message.data for at, message in read["/gripper_state"]}
    assert measured[commands[1][0]] > 0.9
    assert 0.2 < measured[end] < 0.8


def test_an_action_is_the_intended_one_and_a_little_noise(bag):
    _, read = bag
    done = np.array([message.position for _, message in read["/octo/action"]])
    meant = np.array([message.data for _, message in read["/recorded/action"]])
    assert tuple(read["/octo/action"][0][1].name) == ACTION_AXES
    assert done.shape == meant.shape == (len(done), 7)
    assert 0.0 < np.abs(done - meant)[:, :6].max() < 0.03
    np.testing.assert_array_equal(done[:, 6], meant[:, 6])


def test_the_same_seed_gives_the_same_messages(tmp_path):
    one, other = (recorded(tmp_path / name, seed=4) for name in ("one", "other"))
    assert one.results == other.results
    first, second = contents(one.out), contents(other.out)
    for topic in ("/joint_states", "/recorded/action", "/camera/wrist/image_raw"):
        for (at, message), (again, same) in zip(first[topic], second[topic], strict=True):
            assert (at, repr(message)) == (again, repr(same))


def test_other_words_have_the_same_pictures_and_another_action(tmp_path):
    read = contents(recorded(tmp_path / "bag", other_words=2, task="lift the red cube", episodes=2).out)
    told = [message.data for _, message in read["/octo/episode"]]
    assert len(told) == 12
    assert [words for words in told if words.startswith("end")] == ["end success"] * 6
    spans = list(
        zip(
            [at for at, message in read["/octo/episode"] if message.data.startswith("begin")],
            [at for at, message in read["/octo/episode"] if message.data.startswith("end")],
            strict=True,
        )
    )
    assert sorted({words.split()[3] for words in told[:6:2]}) == ["blue", "green", "red"]

    def within(topic: str, number: int) -> list:
        begin, end = spans[number]
        return [(at - begin, message) for at, message in read[topic] if begin <= at <= end]

    for copy in (1, 2):
        pictures, same = (within("/camera/wrist/image_raw", number) for number in (0, copy))
        assert 5 < len(same) < len(pictures)  # until the fingers close
        for (at, message), (again, other) in zip(pictures, same, strict=False):
            assert at == again
            np.testing.assert_array_equal(message.data, other.data)
            assert stamp_ns(other.header) == again + spans[copy][0]
        one, another = (
            np.array([message.data for _, message in within("/recorded/action", number)])
            for number in (0, copy)
        )
        assert len(another) == len(same) - 1
        assert np.abs(one[: len(another)] - another)[:, :2].max() > 0.005
        assert np.all(another[:, 6] == 1.0)


def test_a_student_acts_and_the_expert_says_what_it_would_have_done(tmp_path):
    from octo_ros.sim.expert import Expert
    from octo_ros.sim.tasks import CellTask

    summary = recorded(tmp_path / "bag", student=share_path("demo/bundle"), max_steps=4)
    assert (summary.results[0].steps, summary.results[0].success) == (4, False)
    read = contents(summary.out)
    assert [message.data for _, message in read["/octo/episode"]][-1] == "end failure"
    done = np.array([message.position for _, message in read["/octo/action"]])
    said = np.array([message.data for _, message in read["/recorded/action"]])
    assert np.abs(done - said)[:, :3].max() > 0.003
    expert = Expert(CellTask("reach", "red"), 0)
    expert.act(Cell("panda").reset(0))
    np.testing.assert_allclose(said[0], expert.intended, atol=1e-9)


def test_jpeg_pictures_go_below_compressed_and_are_much_smaller(tmp_path):
    raw, jpeg = (recorded(tmp_path / images, images=images, primary=128) for images in ("raw", "jpeg"))
    assert jpeg.size < 0.5 * raw.size
    read = contents(jpeg.out)
    assert "/camera/primary/image_raw" not in read
    exact = to_rgb(contents(raw.out)["/camera/primary/image_raw"][0][1]).astype(float)
    close = to_rgb(read["/camera/primary/image_raw/compressed"][0][1]).astype(float)
    assert np.abs(exact - close).mean() < 3.0


def test_the_summary_says_what_was_recorded(tmp_path):
    text = str(recorded(tmp_path / "bag"))
    assert "1 episodes, 1 successful" in text
    assert "a second" in text
    assert "MB an episode" in text


@pytest.mark.parametrize(
    ("options", "error", "expected"),
    [
        ({"task": "juggle"}, ParameterError, "task: expected"),
        ({"images": "bmp"}, ParameterError, "expected raw or jpeg"),
        ({"episodes": 0}, ParameterError, "1 episode or more"),
        ({"seed": -1}, ParameterError, "seed from 0"),
        ({"other_words": 3}, ParameterError, "other_words: expected 0 to 2, got 3"),
    ],
)
def test_a_mistake_is_told_and_leaves_nothing(tmp_path, options, error, expected):
    with pytest.raises(error, match=expected):
        recorded(tmp_path / "bag", **options)
    assert not (tmp_path / "bag").exists()


def test_where_nothing_can_be_rendered_no_bag_is_begun(tmp_path, monkeypatch):
    import mujoco

    monkeypatch.delattr(mujoco, "GLContext", raising=False)
    with pytest.raises(ParameterError, match="cannot render off screen; install libegl1"):
        record(tmp_path / "bag", "panda", episodes=1)
    assert not (tmp_path / "bag").exists()


def test_a_bag_that_is_there_is_not_touched(tmp_path):
    (tmp_path / "bag").mkdir()
    with pytest.raises(BagError, match="exists"):
        recorded(tmp_path / "bag")


def test_the_verb_refuses_a_task_in_one_line(tmp_path, capsys):
    assert main(["record", str(tmp_path / "bag"), "--task", "juggle"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("octo_ros: task: expected all")
    assert error.count("\n") == 1
