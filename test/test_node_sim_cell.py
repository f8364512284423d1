"""The simulated cell as a ROS node: topics, rates, episodes, and an expert through the real filter."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from geometry_msgs.msg import PoseStamped
from node_cell import ACTIVATE, CONFIGURE, processes
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Bool, Float64, Float64MultiArray, String
from transforms3d.quaternions import quat2mat

from octo_ros.image_messages import stamp_ns, to_rgb
from octo_ros.nodes.followed_commands import positions
from octo_ros.nodes.messages import time_message, time_ns
from octo_ros.nodes.sim_takeover import Takeover
from octo_ros.resources import robot_urdf
from octo_ros.safety.robot import Robot
from octo_ros.types import ACTION_AXES

FILTER, SIM = "safety_filter_node", "sim_cell_node"
NAMES = Robot.from_file(robot_urdf("panda"), collision=False).joint_names


@pytest.fixture(scope="module")
def simulator():
    """What the node needs beside ROS."""
    pytest.importorskip("octo_ros.sim.scene", reason="robosuite is not installed (the extra 'sim')")
    from octo_ros.errors import ParameterError
    from octo_ros.sim.cell import Cell

    with_cameras = Cell("panda")
    try:
        with_cameras.images()
    except ParameterError as error:
        pytest.skip(str(error))
    finally:
        with_cameras.close()
    return with_cameras


def test_a_first_command_is_followed_only_where_the_arm_is_and_the_next_wherever():
    takeover, arm = Takeover(0.02), np.zeros(2)
    assert not takeover.accepts(np.array([0.0, 0.03]), arm)
    assert takeover.refused == 1
    assert takeover.accepts(np.array([0.0, 0.019]), arm)
    assert takeover.accepts(np.array([0.0, 0.5]), arm)
    takeover.reset()
    assert not takeover.accepts(np.array([0.0, 0.5]), arm)


@pytest.mark.parametrize("command", [[0.0], [0.0, np.nan], [0.0, 0.0, 0.0]])
def test_a_malformed_command_is_never_followed(command):
    takeover = Takeover(0.02)
    assert takeover.accepts(np.zeros(2), np.zeros(2))
    assert not takeover.accepts(np.array(command), np.zeros(2))


def test_positions_are_read_from_either_message_in_the_robots_order():
    from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

    point = JointTrajectoryPoint(positions=[1.0, 2.0])
    message = JointTrajectory(joint_names=["b", "a"], points=[point])
    assert positions(message, ("a", "b")).tolist() == [2.0, 1.0]
    assert np.isnan(positions(message, ("a", "c"))).tolist() == [False, True]
    assert np.isnan(positions(JointTrajectory(), ("a",))).all()
    assert positions(Float64MultiArray(data=[3.0, 4.0]), ("a", "b")).tolist() == [3.0, 4.0]


@pytest.mark.parametrize(
    ("mistake", "expected"),
    [
        ("command_mode:=twist", "command_mode: 'twist' cannot be followed"),
        ("robot:=fr3", "robot: expected one of panda, ur5e, got 'fr3'"),
        ("task:=juggle", "task: expected all"),
        ("image_rate_hz:=33.0", "image_rate_hz: expected a whole part of 100 Hz"),
        ("episode_s:=0.0", "episode_s: expected"),
        ("publish_clock:=false -p real_time_factor:=2.0", "real_time_factor: expected 1.0"),
        ("publish_clock:=false -p lockstep_s:=1.0", "lockstep_s: expected 0.0"),
    ],
)
def test_a_mistake_ends_the_node_with_one_line(mistake, expected):
    command = [sys.executable, "-m", f"octo_ros.nodes.{SIM}", "--ros-args", "-p", *mistake.split()]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert expected in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.fixture(scope="module")
def seen(cell):
    """Everything the node publishes, and the node of the one that listens."""
    kinds = {
        "joint_states": JointState, "gripper_state": Float64, "octo/tool_pose": PoseStamped,
        "octo/episode": String, "octo/success": Bool, "/clock": Clock,
        "camera/primary/image_raw": Image, "camera/wrist/image_raw": Image,
        "camera/primary/camera_info": CameraInfo, "camera/wrist/camera_info": CameraInfo,
    }  # fmt: skip
    return {topic: cell.record(kind, topic) for topic, kind in kinds.items()}


def test_everything_comes_at_its_rate_stamped_by_the_simulated_clock(simulator, cell, seen, logs):
    with processes(logs, sim_cell_node={"primary_size": 64, "wrist_size": 32}) as nodes:
        assert cell.wait(lambda: len(seen["camera/wrist/image_raw"]) > 3, 30.0), nodes[SIM].output()
        for received in seen.values():
            received.clear()
        cell.spin(3.0)
        stamps = np.array([stamp_ns(message.header) for message in seen["joint_states"]])
        assert set(np.diff(stamps)) == {10_000_000}
        assert len(stamps) > 200
        pictures = [stamp_ns(message.header) for message in seen["camera/primary/image_raw"]]
        assert set(np.diff(pictures)) == {100_000_000}
        assert set(pictures) <= {*stamps.tolist(), pictures[0], pictures[-1]}
        clock = [message.clock.sec * 10**9 + message.clock.nanosec for message in seen["/clock"]]
        assert set(np.diff(clock)) <= {10_000_000, 20_000_000, 30_000_000}
        assert to_rgb(seen["camera/primary/image_raw"][0]).shape == (64, 64, 3)
        assert to_rgb(seen["camera/wrist/image_raw"][0]).shape == (32, 32, 3)
        assert seen["camera/wrist/camera_info"][0].width == 32
        assert tuple(seen["joint_states"][0].name) == NAMES
        assert seen["octo/tool_pose"][0].header.frame_id == "panda_link0"
        assert seen["gripper_state"][0].data > 0.9
        assert nodes[SIM].stop() == 0
        assert "Traceback" not in nodes[SIM].output()


def test_joint_states_do_not_wait_for_pictures_on_the_systems_clock(simulator, cell, logs):
    """The safety filter holds the arm where joint states are older than 0.1 s."""
    ages = []
    cell.create_subscription(
        JointState, "joint_states",
        lambda message: ages.append(cell.get_clock().now().nanoseconds - stamp_ns(message.header)), 1000,
    )  # fmt: skip
    with processes(logs, sim_cell_node={"publish_clock": False}) as nodes:
        assert cell.wait(lambda: len(ages) > 100, 30.0), nodes[SIM].output()
        ages.clear()
        cell.spin(4.0)
    assert len(ages) > 200
    assert np.percentile(ages, 99) / 1e9 < 0.1


def test_resets_begin_episodes_in_turn_and_withdraw_the_words_at_their_end(simulator, cell, seen, logs):
    given = {"image_rate_hz": 0.0, "task": "reach", "seed": 1, "episode_s": 1.0}
    with processes(logs, sim_cell_node=given) as nodes:
        seen["octo/episode"].clear()
        assert cell.trigger("sim_cell_node/reset") == (True, "seed 1: reach the green cube")
        assert cell.hear_latched(String, "octo/instruction").data == "reach the green cube"
        assert cell.trigger("sim_cell_node/reset") == (True, "seed 2: reach the blue cube")
        assert cell.wait(lambda: len(seen["octo/episode"]) == 4, 10.0), nodes[SIM].output()
        assert [message.data for message in seen["octo/episode"]] == [
            "begin reach the green cube", "end abort", "begin reach the blue cube", "end failure",
        ]  # fmt: skip
        assert cell.hear_latched(String, "octo/instruction").data == ""
        assert cell.hear_latched(Bool, "octo/success").data is False


def test_the_operator_says_what_comes_next_and_hears_which_cube_was_approached(simulator, cell, seen, logs):
    with processes(logs, sim_cell_node={"image_rate_hz": 0.0, "episode_s": 0.3}) as nodes:
        seen["octo/episode"].clear()
        assert cell.set(SIM, task="lift the blue cube", seed=11) == ""
        assert cell.trigger(f"{SIM}/reset") == (True, "seed 11: lift the blue cube")
        assert cell.wait(lambda: len(seen["octo/episode"]) == 2, 10.0), nodes[SIM].output()
        assert cell.hear_latched(String, "octo/approached").data == "none"
        assert "task: expected all" in cell.set(SIM, task="juggle", seed=3)
        assert "robot is read when the node starts" in cell.set(SIM, robot="ur5e", seed=3)
        assert cell.set(SIM, seed=-1) != ""
        assert cell.trigger(f"{SIM}/reset") == (True, "seed 12: lift the blue cube")


def test_the_words_go_out_with_the_first_pictures_which_come_late_where_that_is_asked_for(
    simulator, cell, seen, logs
):
    words, lags = cell.record(String, "octo/instruction"), []
    now_ns = lambda: time_ns(seen["/clock"][-1].clock)  # noqa: E731
    cell.create_subscription(
        Image,
        "camera/primary/image_raw",
        lambda message: lags.append(now_ns() - stamp_ns(message.header)),
        10,
    )
    given = {"primary_size": 64, "wrist_size": 32, "image_delay_s": 0.4}
    with processes(logs, sim_cell_node=given) as nodes:
        assert cell.wait(lambda: len(lags) > 3, 30.0), nodes[SIM].output()
        assert cell.trigger(f"{SIM}/reset")[0]
        begun_ns = now_ns()
        assert cell.wait(lambda: bool(words), 10.0), nodes[SIM].output()
        shown_ns = stamp_ns(seen["camera/wrist/image_raw"][-1].header)
        assert shown_ns >= begun_ns - 20_000_000
        assert now_ns() - begun_ns >= 380_000_000
        assert cell.wait(lambda: len(lags) > 12, 30.0)
    assert all(390_000_000 <= lag <= 500_000_000 for lag in lags[2:]), lags


def test_a_clock_in_lockstep_waits_for_actions_and_for_commands(simulator, cell, seen, logs):
    words = cell.record(String, "octo/instruction")
    commands = cell.create_publisher(Float64MultiArray, "octo/joint_position_command", 1)
    now_ns = lambda: time_ns(seen["/clock"][-1].clock)  # noqa: E731
    given = {"primary_size": 64, "wrist_size": 32, "lockstep_s": 30.0, "command_mode": "joint_position"}
    with processes(logs, sim_cell_node=given) as nodes:
        assert cell.wait(lambda: bool(seen["camera/wrist/image_raw"]), 30.0), nodes[SIM].output()
        assert cell.trigger(f"{SIM}/reset")[0]
        assert cell.wait(lambda: bool(words), 10.0)

        def passes(seconds: float) -> float:
            """Simulated time that passes in a real one [s]."""
            begun_ns = now_ns()
            cell.spin(seconds)
            return (now_ns() - begun_ns) / 1e9

        def act(stamp_ns: int) -> None:
            action = JointState(name=list(ACTION_AXES), position=[0.0] * 7)
            action.header.stamp = time_message(stamp_ns)
            cell._actions.publish(action)

        assert passes(2.0) <= 0.3  # slowly, before the first action
        act(stamp_ns(seen["camera/wrist/image_raw"][-1].header))
        assert passes(2.0) <= 0.3  # until the next pictures have to be answered
        act(now_ns() + 10_000_000_000)
        assert cell.wait(lambda: passes(0.1) > 0.05, 10.0), nodes[SIM].output()
        commands.publish(Float64MultiArray(data=list(seen["joint_states"][-1].position)))
        cell.spin(1.0)
        stood_ns = now_ns()
        cell.spin(0.5)
        assert now_ns() == stood_ns
    cell.destroy_publisher(commands)


def test_commands_that_do_not_begin_at_the_arm_are_not_followed(simulator, cell, seen, logs):
    commands = cell.create_publisher(Float64MultiArray, "octo/joint_position_command", 1)
    given = {"image_rate_hz": 0.0, "command_mode": "joint_position"}
    with processes(logs, sim_cell_node=given) as nodes:
        seen["joint_states"].clear()
        assert cell.wait(lambda: len(seen["joint_states"]) > 10, 30.0), nodes[SIM].output()

        def pull(offset: float) -> float:
            """Commands the first joint that far from where it is; returns how far it went [rad]."""
            start = np.array(seen["joint_states"][-1].position)
            for _ in range(40):
                commands.publish(Float64MultiArray(data=[start[0] + offset, *start[1:]]))
                cell.spin(0.02)
            return seen["joint_states"][-1].position[0] - start[0]

        assert abs(pull(0.2)) < 0.002
        assert pull(0.015) == pytest.approx(0.015, abs=0.003)
        assert pull(0.2) == pytest.approx(0.2, abs=0.01)
        assert "reset the safety filter" in nodes[SIM].output()
    cell.destroy_publisher(commands)


class Eyes:
    """The state as topics tell it, with the cubes where the seed put them, or the fingers took them."""

    def __init__(self, seen: dict, start) -> None:
        self._seen, self._start = seen, start
        self._held: str | None = None

    def stamp_ns(self) -> int:
        return stamp_ns(self._seen["octo/tool_pose"][-1].header)

    def state(self):
        from octo_ros.sim.state import CellState

        pose = self._seen["octo/tool_pose"][-1].pose
        position = np.array([pose.position.x, pose.position.y, pose.position.z])
        turn = pose.orientation
        rotation = quat2mat([turn.w, turn.x, turn.y, turn.z])
        opening, joints = self._seen["gripper_state"][-1].data, np.zeros(7)
        yaw = float(np.arctan2(rotation[1, 1], rotation[0, 1]))
        self._carry(position, opening)
        return CellState(0, joints, joints, position, rotation, position, yaw, opening, self._start.cubes)

    def _carry(self, position: np.ndarray, opening: float) -> None:
        """A cube between closed fingers goes where they go."""
        closed = 0.2 < opening < 0.65
        if closed and self._held is None:
            near = {
                color: np.abs(position - cube.position).max() for color, cube in self._start.cubes.items()
            }
            self._held = min(near, key=near.get) if min(near.values()) < 0.02 else None
        if not closed:
            self._held = None
        if self._held is not None:
            self._start.cubes[self._held].position[:] = position


@pytest.mark.parametrize("simulated_clock", [True, False], ids=["sim_time", "system_time"])
def test_an_expert_lifts_the_cube_through_the_real_safety_filter(
    simulator, cell, seen, logs, bundle, simulated_clock
):
    from octo_ros.sim.expert import Expert
    from octo_ros.sim.tasks import CellTask

    seed, task = 3, CellTask("lift", "red")
    patient = {"action_timeout_s": 1.0, "max_action_age_s": 1.0, "max_joint_state_age_s": 0.5}
    given = {
        SIM: {"task": "'lift the red cube'", "seed": seed, "publish_clock": simulated_clock},
        FILTER: {
            "bundle": bundle, "urdf_file": robot_urdf("panda"), "data_rate_hz": 10.0,
            "use_sim_time": simulated_clock, **patient,
        },
    }  # fmt: skip
    eyes = Eyes(seen, simulator.reset(seed))
    with processes(logs, **given) as nodes:
        for received in seen.values():
            received.clear()
        assert cell.change(FILTER, CONFIGURE), nodes[FILTER].output()
        assert cell.change(FILTER, ACTIVATE), nodes[FILTER].output()
        assert cell.trigger("sim_cell_node/reset") == (True, f"seed {seed}: lift the red cube")
        assert cell.wait(lambda: cell.trigger(f"{FILTER}/reset")[0]), nodes[FILTER].output()
        cell.spin(0.3)
        expert, last_ns, actions = Expert(task, seed), 0, 0
        ended = lambda: any(m.data.startswith("end") for m in seen["octo/episode"])  # noqa: E731
        while not ended() and actions < 200:
            assert cell.wait(lambda: eyes.stamp_ns() >= last_ns + 95_000_000, 5.0)  # noqa: B023
            last_ns = eyes.stamp_ns()
            values = expert.act(eyes.state())
            message = JointState(name=list(ACTION_AXES), position=values.tolist())
            message.header.stamp = time_message(last_ns)
            cell._actions.publish(message)
            actions += 1
        told = [message.data for message in seen["octo/episode"]]
        assert told == ["begin lift the red cube", "end success"], nodes[FILTER].output()
        assert cell.hear_latched(Bool, "octo/success").data is True
        assert cell.hear_latched(String, "octo/instruction").data == ""
