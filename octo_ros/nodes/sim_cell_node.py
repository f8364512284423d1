"""sim_cell_node: the simulated cell as a robot under ROS 2: cameras, joint states, gripper, words, success.

It follows the safety filter's commands and knows nothing of the policy. `~/reset` begins an episode:
cubes are scattered by the next seed, and the next task's words go out on octo/instruction. When an
episode ends the words are withdrawn, so that the policy stops and the filter can be reset.
"""

from __future__ import annotations

import sys
import time

from geometry_msgs.msg import PoseStamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64, String
from std_srvs.srv import Trigger

from octo_ros.errors import ParameterError
from octo_ros.nodes import sim_messages, spin
from octo_ros.nodes.commands import MODES
from octo_ros.nodes.followed_commands import check_followed, followed_commands, positions
from octo_ros.nodes.messages import time_message
from octo_ros.nodes.parameters import Parameter, declare, read
from octo_ros.nodes.qos import LATCHED
from octo_ros.nodes.sim_pace import Pace
from octo_ros.nodes.sim_pictures import Pictures
from octo_ros.nodes.sim_takeover import Takeover
from octo_ros.sim.arms import ARMS
from octo_ros.sim.cell import CONTROL_S, Cell
from octo_ros.sim.state import CellState
from octo_ros.sim.tasks import CellTask, Judge, chosen_tasks, task_for_seed
from octo_ros.types import NANOSECONDS

try:  # not among the wheels of ROS 2 on the package index
    from tf2_msgs.msg import TFMessage
except ImportError:
    TFMessage = None

PARAMETERS = (
    Parameter("robot", "panda", "the arm", choices=tuple(ARMS)),
    Parameter("command_mode", "joint_trajectory", "which command topic is followed", choices=tuple(MODES)),
    Parameter("task", "all", "all, reach, lift, or an instruction; ~/reset goes through them in turn"),
    Parameter("seed", 0, "of the next episode; counts up with every ~/reset", 0, 2**31 - 1),
    Parameter("image_rate_hz", 10.0, "rate of the pictures [Hz]; 0 renders none", 0.0, 100.0),
    Parameter("primary_size", 256, "side of the primary camera's picture [pixel]", 16, 2048),
    Parameter("wrist_size", 128, "side of the wrist camera's picture [pixel]", 16, 2048),
    Parameter("publish_clock", True, "publish /clock and stamp by it; false: stamp by the system's clock"),
    Parameter("real_time_factor", 1.0, "simulated seconds in a real one", 0.01, 100.0),
    Parameter("episode_s", 30.0, "simulated time after which an episode has failed [s]", 0.1, 3600.0),
    Parameter("takeover_rad", 0.02, "furthest from the arm that commands may begin [rad]", 0.0001, 3.0),
)

JUDGE_STEPS = 10
"""The task's rule is looked at every so many steps of `CONTROL_S`: at 10 Hz, as the policy sees."""

PICTURE_STEPS = 5
"""Steps after which pictures are out, where the clock is simulated: 50 ms, as of a camera."""

MARKERS = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class SimCell(Node):
    """The simulated cell and its episodes."""

    def __init__(self) -> None:
        super().__init__("sim_cell_node")
        declare(self, PARAMETERS)
        self._values = values = read(self, PARAMETERS)
        check_followed(values["command_mode"])
        if not values["publish_clock"] and values["real_time_factor"] != 1.0:
            raise ParameterError(
                "real_time_factor: expected 1.0 where publish_clock is false, "
                f"got {values['real_time_factor']}"
            )
        self._tasks = chosen_tasks(values["task"])
        self._image_steps = _image_steps(values["image_rate_hz"])
        self._cell = _cell(values)
        self._names, self._frame = self._cell.robot.joint_names, self._cell.robot.workspace.frame
        self._tip = self._cell.robot.workspace.tip
        self._state = self._cell.state()
        self._steps, self._seed = 0, values["seed"]
        self._task: CellTask | None = None  # of the episode that runs
        self._judge: Judge | None = None
        self._takeover = Takeover(values["takeover_rad"])
        self._publish_all()
        self._command = followed_commands(self, values["command_mode"])
        self._opening: float | None = None
        self.create_subscription(Float64, "octo/gripper_command", self._on_gripper, LATCHED)
        self.create_service(Trigger, "~/reset", self._on_reset)
        self._pace = Pace(CONTROL_S, values["real_time_factor"], time.monotonic())
        self.create_timer(
            max(CONTROL_S / values["real_time_factor"] / 2.0, 0.001), self._advance,
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )  # fmt: skip
        self.get_logger().info(
            f"{self._cell.arm.model} on a table, {len(self._tasks)} tasks; ~/reset begins an episode"
        )

    def destroy_node(self) -> None:
        """Frees the renderers as well."""
        if self._pictures is not None:
            self._pictures.end()
        super().destroy_node()

    def _publish_all(self) -> None:
        """Makes the publishers."""
        self._clock_out = (
            self.create_publisher(ClockMessage, "/clock", 1) if self._values["publish_clock"] else None
        )
        self._joints = self.create_publisher(JointState, "joint_states", 10)
        self._gripper = self.create_publisher(Float64, "gripper_state", 10)
        self._tool = self.create_publisher(PoseStamped, "octo/tool_pose", 10)
        self._tf = self.create_publisher(TFMessage, "/tf", 10) if TFMessage else None
        self._words = self.create_publisher(String, "octo/instruction", LATCHED)
        self._episode = self.create_publisher(String, "octo/episode", MARKERS)
        self._success = self.create_publisher(Bool, "octo/success", LATCHED)
        self._pictures = Pictures(self, self._cell) if self._image_steps else None

    def _on_gripper(self, message: Float64) -> None:
        if 0.0 <= message.data <= 1.0:
            self._opening = message.data
        else:
            self.get_logger().error(f"octo/gripper_command: expected a value in [0, 1], got {message.data}")

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._task is not None:
            self._end("abort")
        seed = self._seed
        self._seed += 1
        self._state = self._cell.reset(seed)
        self._takeover.reset()
        self._command.take()
        self._opening = 1.0
        self._task = task_for_seed(self._tasks, seed)
        self._judge, self._begun = Judge(self._task), self._steps
        self._success.publish(Bool(data=False))
        self._episode.publish(String(data=f"begin {self._task.instruction}"))
        self._words.publish(String(data=self._task.instruction))
        response.success, response.message = True, f"seed {seed}: {self._task.instruction}"
        self.get_logger().info(f"episode begins: {response.message}")
        return response

    def _end(self, how: str) -> None:
        """The episode is over; the words are withdrawn."""
        self._episode.publish(String(data=f"end {how}"))
        self._words.publish(String(data=""))
        seconds = (self._steps - self._begun) * CONTROL_S
        self.get_logger().info(f"episode ends: {how} after {seconds:.1f} s")
        self._task = self._judge = None

    def _advance(self) -> None:
        for _ in range(self._pace.due(time.monotonic())):
            self._step()

    def _step(self) -> None:
        command = self._command.take()
        joints = None if command is None else positions(command, self._names)
        if joints is not None and not self._takeover.accepts(joints, self._state.joints):
            if self._takeover.refused == 1:
                self.get_logger().warning("commands do not begin where the arm is: reset the safety filter")
            joints = None
        self._cell.advance(joints, self._opening)
        self._state = self._cell.state()
        self._steps += 1
        stamp_ns = self._stamp_ns()
        if self._clock_out is not None:
            self._clock_out.publish(ClockMessage(clock=time_message(stamp_ns)))
        self._tell(self._state, stamp_ns)
        if self._pictures is not None:
            self._show(stamp_ns)
        if self._judge is not None and (self._steps - self._begun) % JUDGE_STEPS == 0:
            self._look()

    def _stamp_ns(self) -> int:
        if self._clock_out is None:
            return self.get_clock().now().nanoseconds
        return NANOSECONDS + round(self._steps * CONTROL_S * NANOSECONDS)

    def _tell(self, state: CellState, stamp_ns: int) -> None:
        self._joints.publish(sim_messages.joint_state(state, self._names, stamp_ns))
        pose = sim_messages.tool_pose(state, self._frame, stamp_ns)
        self._tool.publish(pose)
        if self._tf is not None:
            self._tf.publish(TFMessage(transforms=[sim_messages.transform(pose, self._tip)]))
        self._gripper.publish(Float64(data=state.opening))

    def _show(self, stamp_ns: int) -> None:
        """Pictures of this step where they are due. A simulated clock waits for those that are late."""
        since = self._steps % self._image_steps
        if self._clock_out is not None and since == min(PICTURE_STEPS, self._image_steps - 1):
            self._pictures.wait()
        if since == 0:
            self._pictures.offer(self._cell.snapshot(), stamp_ns)

    def _look(self) -> None:
        """Whether the task is done, or its time is over."""
        if self._judge.look(self._state):
            self._success.publish(Bool(data=True))
            self._end("success")
        elif (self._steps - self._begun) * CONTROL_S >= self._values["episode_s"]:
            self._end("failure")


def _cell(values: dict) -> Cell:
    try:
        return Cell(values["robot"], primary=values["primary_size"], wrist=values["wrist_size"])
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "octo_ros":
            raise
        raise ParameterError(
            f"the simulated cell needs the Python package {error.name}: install octo_ros with its extra 'sim'"
        ) from None


def _image_steps(rate_hz: float) -> int:
    """Steps from picture to picture, 0 for none; ParameterError for a rate that 100 Hz is no multiple of."""
    if rate_hz == 0.0:
        return 0
    steps = 1.0 / CONTROL_S / rate_hz
    if steps < 1.0 or abs(steps - round(steps)) > 1e-6:
        raise ParameterError(f"image_rate_hz: expected a whole part of {1.0 / CONTROL_S:g} Hz, got {rate_hz}")
    return round(steps)


def main(args: list[str] | None = None) -> int:
    """Runs the node until a signal; returns the exit status."""
    return spin.run(SimCell, args)


if __name__ == "__main__":
    sys.exit(main())
