"""sim_cell_node: the simulated cell as a robot under ROS 2: cameras, joint states, gripper, words, success.

It follows the safety filter's commands and knows nothing of the policy. `~/reset` begins an episode:
cubes are scattered by the next seed, and the task's words go out on octo/instruction with the first
pictures of them; the parameters `task` and `seed` say which. When an episode ends the words are
withdrawn, so that the policy stops and the filter can be reset.
"""

from __future__ import annotations

import sys
import time

from geometry_msgs.msg import PoseStamped
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64, String
from std_srvs.srv import Trigger

from octo_ros.errors import ParameterError
from octo_ros.nodes import sim_messages, spin
from octo_ros.nodes.followed_commands import followed_commands, positions
from octo_ros.nodes.messages import time_message, time_ns
from octo_ros.nodes.newest import Newest
from octo_ros.nodes.parameters import OF_EVERY_NODE, declare, read
from octo_ros.nodes.qos import LATCHED, NEWEST
from octo_ros.nodes.sim_lockstep import Lockstep
from octo_ros.nodes.sim_pace import Pace
from octo_ros.nodes.sim_parameters import (
    OF_THE_NEXT_EPISODE,
    PARAMETERS,
    SEEDS,
    check,
    make_cell,
    timing,
)
from octo_ros.nodes.sim_pictures import Pictures
from octo_ros.nodes.sim_takeover import Takeover
from octo_ros.nodes.sim_trial import Trial
from octo_ros.sim.cell import CONTROL_S
from octo_ros.sim.state import CellState
from octo_ros.sim.tasks import chosen_tasks, task_for_seed
from octo_ros.types import NANOSECONDS

try:  # not among the wheels of ROS 2 on the package index
    from tf2_msgs.msg import TFMessage
except ImportError:
    TFMessage = None

TURN_S, POLL_S = 0.04, 0.002
"""How long the cell goes on, or waits, before the executor has its turn; how often it looks meanwhile [s]."""

MARKERS = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class SimCell(Node):
    """The simulated cell and its episodes."""

    def __init__(self) -> None:
        super().__init__("sim_cell_node")
        declare(self, PARAMETERS)
        self._values = values = read(self, PARAMETERS)
        check(values)
        pictures = timing(values)
        self._cell = make_cell(values)
        self._names, self._frame = self._cell.robot.joint_names, self._cell.robot.workspace.frame
        self._tip = self._cell.robot.workspace.tip
        self._state, self._steps, self._now_ns = self._cell.state(), 0, 0
        self._trial: Trial | None = None  # the episode that runs
        self._words = ""  # its words, until they are out
        self._begun_ns = self._shown_ns = 0  # when it began, and what the newest pictures show
        self._takeover = Takeover(values["takeover_rad"])
        self._lockstep = Lockstep(values["lockstep_s"])
        self._publish_all()
        self._pictures = None if pictures is None else Pictures(self, self._cell, pictures, values["cameras"])
        self._commands = followed_commands(self, values["command_mode"])
        self._actions = Newest(self, JointState, "octo/action", NEWEST) if values["lockstep_s"] else None
        self._openings = Newest(self, Float64, "octo/gripper_command", LATCHED)
        self._command, self._opening = None, None
        self.create_service(Trigger, "~/reset", self._on_reset)
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self._pace = Pace(CONTROL_S, values["real_time_factor"], time.monotonic())
        self.create_timer(0.001, self._advance, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self.get_logger().info(f"{self._cell.arm.model} on a table; ~/reset begins an episode")

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
        self._joints_out = self.create_publisher(JointState, "joint_states", 10)
        self._gripper_out = self.create_publisher(Float64, "gripper_state", 10)
        self._tool_out = self.create_publisher(PoseStamped, "octo/tool_pose", 10)
        self._tf_out = self.create_publisher(TFMessage, "/tf", 10) if TFMessage else None
        self._words_out = self.create_publisher(String, "octo/instruction", LATCHED)
        self._episode_out = self.create_publisher(String, "octo/episode", MARKERS)
        self._success_out = self.create_publisher(Bool, "octo/success", LATCHED)
        self._approached_out = self.create_publisher(String, "octo/approached", LATCHED)

    # The operator's part.

    def _on_set_parameters(self, parameters: list[RosParameter]) -> SetParametersResult:
        try:
            for parameter in parameters:
                name = parameter.name
                if name not in OF_THE_NEXT_EPISODE and not name.startswith(OF_EVERY_NODE):
                    raise ParameterError(f"{name} is read when the node starts")
                if name == "task":
                    chosen_tasks(parameter.value)
        except ParameterError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._trial is not None:
            self._end("abort")
        seed = self.get_parameter("seed").value
        task = task_for_seed(chosen_tasks(self.get_parameter("task").value), seed)
        self.set_parameters([RosParameter("seed", value=(seed + 1) % SEEDS)])
        self._state = self._cell.reset(seed)
        self._takeover.reset()
        self._listen()  # what was meant for the scene before
        self._command, self._opening = None, 1.0
        if self._pictures is not None:
            self._pictures.forget()
        self._trial, self._words = Trial(task, self._values["episode_s"]), task.instruction
        self._begun_ns = self._now_ns
        self._success_out.publish(Bool(data=False))
        self._approached_out.publish(String(data=""))
        self._episode_out.publish(String(data=f"begin {task.instruction}"))
        self._say()
        response.success, response.message = True, f"seed {seed}: {task.instruction}"
        self.get_logger().info(f"episode begins: {response.message}")
        return response

    def _say(self) -> None:
        """The words go out, once there are pictures of the episode."""
        if self._words and (self._pictures is None or self._shown_ns > self._begun_ns):
            self._words_out.publish(String(data=self._words))
            self._words = ""
            self._lockstep.begin()

    def _end(self, how: str) -> None:
        """The episode is over; the words are withdrawn."""
        self._lockstep.end()
        self._approached_out.publish(String(data=self._trial.approached(self._state)))
        self._episode_out.publish(String(data=f"end {how}"))
        self._words_out.publish(String(data=""))
        self.get_logger().info(f"episode ends: {how} after {self._trial.seconds:.1f} s")
        self._trial, self._words = None, ""

    # Time goes on.

    def _advance(self) -> None:
        """Steps as they fall due, for a turn: handing over to the executor costs as much as a step."""
        until_s = time.monotonic() + TURN_S
        while (now_s := time.monotonic()) < until_s:
            for _ in range(self._pace.due(now_s)):
                if not self._waited(until_s):
                    self._pace.hold(time.monotonic())
                    return
                self._step()
            now_s = time.monotonic()
            time.sleep(min(self._pace.left_s(now_s), max(until_s - now_s, 0.0)))

    def _waited(self, until_s: float) -> bool:
        """Takes what came since the last step, and waits for what has to come; whether it came in time."""
        self._listen()
        while self._lockstep.waits(self._now_ns, time.monotonic()):
            if time.monotonic() >= until_s:
                return False
            time.sleep(POLL_S)
            self._listen()
        if self._lockstep.lost:
            patience = f"{self._values['lockstep_s']:g} s, for which the clock waited"
            self.get_logger().error(f"no {self._lockstep.lost} came within {patience}")
            self._end("abort")
        return True

    def _listen(self) -> None:
        """Takes what came since the last step."""
        command = self._commands.take()
        if command is not None:
            self._command = command
            self._lockstep.commanded()
        action = None if self._actions is None else self._actions.take()
        if action is not None:
            self._lockstep.answered(time_ns(action.header.stamp))
        opening = self._openings.take()
        if opening is not None and 0.0 <= opening.data <= 1.0:
            self._opening = opening.data
        elif opening is not None:
            self.get_logger().error(f"octo/gripper_command: expected a value in [0, 1], got {opening.data}")

    def _step(self) -> None:
        self._cell.advance(self._followed(), self._opening)
        self._state = self._cell.state()
        self._lockstep.stepped()
        self._steps += 1
        self._now_ns = self._stamp_ns()
        if self._clock_out is not None:
            self._clock_out.publish(ClockMessage(clock=time_message(self._now_ns)))
        self._tell()
        self._show()
        self._say()
        ending = self._trial.step(self._state) if self._trial is not None else ""
        if ending == "success":
            self._success_out.publish(Bool(data=True))
        if ending:
            self._end(ending)

    def _show(self) -> None:
        """Pictures, where they are due."""
        if self._pictures is not None:
            self._pictures.step(self._steps, self._now_ns)
            if self._pictures.shown_ns != self._shown_ns:
                self._shown_ns = self._pictures.shown_ns
                self._lockstep.showed(self._shown_ns, self._now_ns)

    def _followed(self):
        """(n,) joints of the newest command, None where there is none, or it does not begin at the arm."""
        if self._command is None:
            return None
        joints, self._command = positions(self._command, self._names), None
        if self._takeover.accepts(joints, self._state.joints):
            return joints
        if self._takeover.refused == 1:
            self.get_logger().warning("commands do not begin where the arm is: reset the safety filter")
        return None

    def _stamp_ns(self) -> int:
        if self._clock_out is None:
            return self.get_clock().now().nanoseconds
        return NANOSECONDS + round(self._steps * CONTROL_S * NANOSECONDS)

    def _tell(self) -> None:
        state: CellState = self._state
        self._joints_out.publish(sim_messages.joint_state(state, self._names, self._now_ns))
        pose = sim_messages.tool_pose(state, self._frame, self._now_ns)
        self._tool_out.publish(pose)
        if self._tf_out is not None:
            self._tf_out.publish(TFMessage(transforms=[sim_messages.transform(pose, self._tip)]))
        self._gripper_out.publish(Float64(data=state.opening))


def main(args: list[str] | None = None) -> int:
    """Runs the node until a signal; returns the exit status."""
    return spin.run(SimCell, args)


if __name__ == "__main__":
    sys.exit(main())
