"""What a replay writes, and that it writes the same again, byte for byte."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("rosbags", reason="the rosbags library is not installed")
pytest.importorskip("matplotlib", reason="matplotlib is not installed")

from bag_maker import (
    FRAMES,
    INSTRUCTIONS,
    START_NS,
    episodes,
    write_bag,
)
from replay_cell import make_bundle, outputs, table, values
from rosbags.rosbag2 import CompressionMode, StoragePlugin

from octo_ros.bags.reader import Bag
from octo_ros.bags.replay import replay
from octo_ros.resources import robot_urdf
from octo_ros.safety.robot import Robot
from octo_ros.types import ACTION_AXES, NANOSECONDS


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    return write_bag(tmp_path_factory.mktemp("bag") / "bag", episodes())


@pytest.fixture(scope="module")
def done(tmp_path_factory, bag, bundle):
    """One replay that several tests look at: summary and directory."""
    out = tmp_path_factory.mktemp("replay") / "out"
    return replay(bag, bundle, "fr3", out), out


@pytest.fixture(scope="module")
def robot():
    return Robot.from_file(robot_urdf("fr3"))


# What comes out.


def test_every_frame_becomes_an_action_beside_its_recorded_one(done):
    summary, out = done
    rows = table(out, "actions.csv")
    assert summary.actions == summary.commands == len(rows) == 10
    assert [row["instruction"] for row in rows] == ["put block 0 away"] * 5 + ["put block 1 away"] * 5
    assert [int(row["episode"]) for row in rows] == [0] * 5 + [1] * 5
    assert [int(row["stamp_ns"]) - START_NS for row in rows[:5]] == [i * 200_000_000 for i in range(5)]
    expected = [0.03, -0.01, 0.002, 0.0, 0.1, -0.1, 1.0]
    np.testing.assert_array_equal(values(rows[8], [f"recorded_{axis}" for axis in ACTION_AXES]), expected)
    error = np.mean(
        [
            abs(values(row, ACTION_AXES) - values(row, [f"recorded_{axis}" for axis in ACTION_AXES]))
            for row in rows
        ],
        axis=0,
    )
    np.testing.assert_allclose(list(summary.error.values()), error, rtol=1e-12)


def test_the_actions_are_the_policys(done, bag, bundle):
    """The replay adds nothing: the same frames through the policy alone give the same actions."""
    import octo_ros
    from octo_ros.image_messages import stamp_ns, to_rgb
    from octo_ros.policy.options import ActOptions
    from octo_ros.types import Observation, Task

    rows = table(done[1], "actions.csv")
    expected = []
    with octo_ros.load_policy(bundle, options=ActOptions(seed=0)) as policy, Bag(bag) as opened:
        for record in opened.records([FRAMES, INSTRUCTIONS]):
            message = opened.decode(record)
            if record.topic == INSTRUCTIONS:
                policy.set_task(Task(message.data))
                policy.reset()
            else:
                expected.append(
                    policy.act(Observation(stamp_ns(message.header), {"primary": to_rgb(message)}))
                )
    for row, action in zip(rows, expected, strict=True):
        normalized = np.float32([row[f"normalized_{axis}"] for axis in ACTION_AXES])
        np.testing.assert_array_equal(normalized, action.normalized)
        np.testing.assert_array_equal(values(row, ACTION_AXES), action.physical)


def of_bag(out, topic):
    """Log time [ns] and message of everything on a topic of the replay's bag."""
    with Bag(out / "bag") as opened:
        return [(record.log_ns, opened.decode(record)) for record in opened.records([topic])]


def test_the_arm_starts_where_it_is_and_stops_when_the_frames_do(done, robot):
    summary, out = done
    rows = table(out, "decisions.csv")
    first_of_second = next(row for row in rows if row["episode"] == "1")
    for row in (rows[0], first_of_second):
        assert (row["status"], row["state"], row["is_command"]) == ("ok", "active", "1")
        np.testing.assert_allclose(values(row, robot.joint_names), robot.home, atol=1e-12)
    stopped = [row for row in rows if row["status"] == "stopped"]
    last_frame_ns = START_NS + 800_000_000
    delay_s = (int(stopped[0]["stamp_ns"]) - last_frame_ns) / NANOSECONDS
    assert 0.3 < delay_s <= 0.3 + 0.1 + 0.01  # timeout, the tick that acted on the frame, one command
    assert summary.stops == 1
    assert "time since the last accepted action" in stopped[0]["refusals"]
    twists = [f"twist_{axis}" for axis in ("vx", "vy", "vz", "wx", "wy", "wz")]
    assert np.all(values(stopped[-1], twists) == 0.0)
    np.testing.assert_array_equal(
        values(stopped[-1], robot.joint_names), values(stopped[-2], robot.joint_names)
    )


def test_the_bag_holds_a_command_for_every_hundredth_of_a_second(done, robot):
    """The joints speed up and slow down gently, between actions and at their end."""
    stamps, joints = [], []
    for log_ns, message in of_bag(done[1], "/octo/joint_trajectory"):
        if log_ns < START_NS + 1_300_000_000:
            assert message.joint_names == list(robot.joint_names)
            stamps.append(log_ns)
            joints.append(message.points[0].positions)
    stamps_s = (np.array(stamps) - stamps[0]) / NANOSECONDS
    assert stamps_s[-1] > 1.25
    assert np.diff(stamps_s).max() <= 0.01 + 1e-9
    assert np.diff(stamps_s).min() > 0.0
    velocity = np.diff(joints, axis=0) / np.diff(stamps_s)[:, None]
    assert np.abs(velocity).max() > 0.05
    acceleration = np.diff(velocity, axis=0) / np.diff(stamps_s)[1:, None]
    assert np.abs(acceleration).max() <= 10.0 * (1.0 + 1e-6)
    assert np.abs(velocity[-3:]).max() == 0.0


def test_the_tables_hold_the_bags_numbers(done, robot):
    """Every decision in the table is in the bag, with its command where it is one; floats are exact."""
    summary, out = done
    rows = table(out, "decisions.csv")
    with Bag(out / "bag") as opened:
        messages = {topic: [] for topic in opened.topics}
        for record in opened.records():
            messages[record.topic].append((record.log_ns, opened.decode(record)))
    decisions = messages["/octo/safety_decision"]
    assert [log_ns for log_ns, _ in decisions] == [int(row["stamp_ns"]) for row in rows]
    commands = dict(messages["/octo/joint_trajectory"])
    assert len(commands) == len(messages["/octo/joint_trajectory"])
    for row in rows:
        if row["is_command"] == "1":
            positions = commands[int(row["stamp_ns"])].points[0].positions
            assert [repr(float(q)) for q in positions] == [row[name] for name in robot.joint_names]
    assert len(messages["/octo/action"]) == len(messages["/octo/action_chunk"]) == summary.actions
    assert messages["/octo/action"][0][1].header.frame_id == robot.workspace.frame
    assert len(messages["/octo/action_chunk"][0][1].points) == 4


def test_the_summary_is_written_and_printed(done):
    summary, out = done
    written = json.loads((out / "summary.json").read_text())
    assert written["format"] == "octo_ros replay"
    assert written["actions"] == 10
    assert written["setting"]["notice"] == "test"
    text = str(summary)
    for part in (
        "NOTICE     test",
        "primary 10; episodes: 2",
        "actions    10",
        "report.html",
        "camera wrist: not in",
    ):
        assert part in text


def test_progress_reaches_the_end(tmp_path, bag, bundle):
    calls = []
    replay(bag, bundle, "fr3", tmp_path / "out", progress=lambda done, total: calls.append((done, total)))
    assert calls == [(i, 22) for i in range(1, 23)]


# The same again.


def test_the_same_replay_gives_the_same_bytes(tmp_path, done, bag, bundle):
    replay(bag, bundle, "fr3", tmp_path / "again")
    assert outputs(tmp_path / "again") == outputs(done[1])
    files = [sorted(path.name for path in out.rglob("*")) for out in (tmp_path / "again", done[1])]
    assert files[0] == files[1]
    for name in ("bag.mcap", "metadata.yaml"):
        assert (tmp_path / "again" / "bag" / name).read_bytes() == (done[1] / "bag" / name).read_bytes()


def test_another_seed_gives_other_actions(tmp_path, done, bag, bundle):
    replay(bag, bundle, "fr3", tmp_path / "other", seed=1)
    assert (tmp_path / "other" / "actions.csv").read_bytes() != (done[1] / "actions.csv").read_bytes()


@pytest.mark.parametrize(
    ("storage", "compression"),
    [
        (StoragePlugin.SQLITE3, CompressionMode.NONE),
        (StoragePlugin.SQLITE3, CompressionMode.FILE),
        (StoragePlugin.MCAP, CompressionMode.STORAGE),
        (StoragePlugin.MCAP, CompressionMode.MESSAGE),
    ],
)
def test_the_storage_changes_nothing(tmp_path, done, bundle, storage, compression):
    other = write_bag(tmp_path / "bag", episodes(), storage, compression)
    replay(other, bundle, "fr3", tmp_path / "out")
    assert outputs(tmp_path / "out") == outputs(done[1])


def test_real_episodes_repeat(shared, tmp_path, bundle):
    """BridgeData episodes: every one of 250 frames is acted on, twice the same."""
    bag = shared / "bags" / "bridge_train"
    summaries = [replay(bag, bundle, "ur5e", tmp_path / name) for name in ("one", "two")]
    assert outputs(tmp_path / "one") == outputs(tmp_path / "two")
    for summary in summaries:
        assert (summary.actions, summary.episodes, summary.compared) == (250, 25, 250)
        assert summary.frames == {"primary": 250}
        assert summary.stops == 24
