"""policy_node: camera frames and an instruction in, normalized 7-value actions out.

ROS runs on the executor's thread. The policy belongs to the worker's thread: converting frames,
inference, a new task and a reset all happen there, one after the other, so no callback waits for
them. The worker publishes an action itself, in the node's turn: waking the executor for it takes
longer than the publishing.
"""

from __future__ import annotations

import dataclasses
import sys
from collections import deque
from functools import partial

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from octo_ros.errors import OctoRosError
from octo_ros.image_messages import to_rgb
from octo_ros.nodes import memory, spin
from octo_ros.nodes.camera_frame import CameraFrame
from octo_ros.nodes.cameras import CameraSubscriptions, chosen_cameras
from octo_ros.nodes.inference_worker import InferenceWorker, Outcome
from octo_ros.nodes.lifecycle import ManagedNode
from octo_ros.nodes.messages import (
    NORMALIZED_AXES,
    action_message,
    chunk_message,
    time_message,
    time_ns,
)
from octo_ros.nodes.policy_monitor import PolicyMonitor, announce
from octo_ros.nodes.policy_parameters import PARAMETERS, open_policy
from octo_ros.nodes.qos import LATCHED, quiet
from octo_ros.policy.frames import FrameSync
from octo_ros.policy.pacing import FollowingPacer
from octo_ros.types import NANOSECONDS, Action, Observation, Task


class PolicyNode(ManagedNode):
    """The managed node that runs a bundle's policy at a fixed rate."""

    def __init__(self) -> None:
        super().__init__("policy_node", PARAMETERS)
        self._worker: InferenceWorker | None = None
        self._policy = None
        self._jumps = None

    # Lifecycle.

    def configure(self) -> None:
        values = self._values = self.values()
        self._policy = open_policy(values)
        self._manifest = self._policy.manifest
        _ = self._policy.statistics  # a data set that must be named is an error now, not at the first task
        cameras = chosen_cameras(self._manifest, values["cameras"])
        self._frames = FrameSync(
            cameras,
            round(values["pairing_tolerance_s"] * NANOSECONDS),
            round(values["max_frame_age_s"] * NANOSECONDS),
        )
        self._period_ns = round(NANOSECONDS / values["rate_hz"])
        self._pacer = FollowingPacer(self._frames, self._period_ns)
        self._monitor = PolicyMonitor()
        self._running = False
        self._generation = 0  # results of an older one are not published
        self._instruction = values["instruction"].strip()
        self._goal: Image | None = None
        self._task_error = ""
        if self._instruction:
            self._policy.set_task(Task(self._instruction))
        self._has_task = bool(self._instruction)
        self._outcomes: deque[Outcome] = deque()
        self._connect(values, cameras)
        period_s = self._period_ns / NANOSECONDS
        announce(self.get_logger(), self._policy, cameras, self._policy.warm_up(), period_s)
        memory.keep_out_of_collection()

    def activate(self) -> None:
        self._cameras.follow_publishers()
        self._frames.clear()
        self._monitor.clear()
        self._restart_history()
        self._running = True

    def deactivate(self) -> None:
        self._running = False
        self._generation += 1

    def release(self) -> None:
        if self._jumps is not None:
            self._jumps.unregister()
        if self._worker is not None:
            self._worker.close()
        if self._policy is not None:
            self._policy.close()
        self._jumps = self._worker = self._policy = None

    def _connect(self, values: dict, cameras: tuple[str, ...]) -> None:
        kind, suffix = (Image, "") if values["image_transport"] == "raw" else (CompressedImage, "/compressed")
        topics = {camera: f"camera/{camera}/image_raw{suffix}" for camera in cameras}
        self._cameras = CameraSubscriptions(self, kind, topics, self._on_frame)
        # A latched instruction reaches only a latched subscription, and any other only a volatile one.
        self.subscribe(String, "octo/instruction", self._on_instruction, 1)
        self.subscribe(String, "octo/instruction", self._on_instruction, LATCHED, event_callbacks=quiet())
        if self._manifest.goal_camera() is not None:
            self.subscribe(Image, "octo/goal_image", self._on_goal, qos_profile_sensor_data)
        self._actions = self.publisher(JointState, "octo/action", 1)
        self._chunks = self.publisher(JointTrajectory, "octo/action_chunk", 1)
        self._diagnostics = self.reporter(DiagnosticArray, "/diagnostics", 10)
        self.serve("start", self._start)
        self.serve("stop", self._stop)
        self.serve("reset_history", self._reset_history)
        self._wake = self.waker(self._collect)
        self._worker = InferenceWorker(self._finished, self._policy.prepare)
        self._ticks = self.timer(self._period_ns / NANOSECONDS, self._tick)
        self.timer(1.0, self._diagnose, steady=True)
        back = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True)
        self._jumps = self.get_clock().create_jump_callback(back, post_callback=self._on_jump)

    # Inputs.

    def _on_frame(self, camera: str, message: Image | CompressedImage) -> None:
        frame, now_ns = CameraFrame(camera, message), self.now_ns()
        self._frames.push(camera, time_ns(message.header.stamp), frame)
        self._pacer.came(now_ns)
        if self._acting() and not self._worker.busy:
            self._infer(self._pacer.arrived(now_ns), now_ns)
            if self._pacer.waits:  # for another camera
                self._worker.ahead(partial(frame.prepared, self._policy))

    def _on_instruction(self, message: String) -> None:
        instruction = message.data.strip()
        if instruction != self._instruction:
            self._instruction = instruction
            self._order_task()

    def _on_goal(self, message: Image) -> None:
        self._goal = message
        self._order_task()

    def _on_jump(self, _: TimeJump) -> None:
        self.get_logger().warning("the clock jumped back: frames and history are dropped")
        self._frames.clear()
        self._restart_history()

    def _order_task(self) -> None:
        """Gives the worker the present instruction and goal; with neither, nothing is published."""
        if not self._instruction and self._goal is None:
            self._has_task, self._task_error = False, ""
            self._generation += 1
            self.get_logger().info("the instruction was withdrawn: no actions until there is one")
            return
        self._worker.order("task", partial(self._set_task, self._instruction, self._goal))

    def _set_task(self, instruction: str, goal: Image | None) -> None:
        goals = {} if goal is None else {self._manifest.goal_camera(): to_rgb(goal)}
        self._policy.set_task(Task(instruction or None, goals))

    # The policy, at its rate.

    def _acting(self) -> bool:
        return self.active and self._running and self._has_task

    def _tick(self) -> None:
        self._collect()
        self._begin_period()
        if self._pacer.next_ns != self._ticks.timer_period_ns:
            self._ticks.timer_period_ns = self._pacer.next_ns
            self._ticks.reset()

    def _begin_period(self) -> None:
        """A period is for the frames that are there, else for the first that come in it."""
        if not self._acting():
            self._pacer.skip()
            return
        if self._worker.busy:
            self._pacer.skip()
            self._monitor.count("dropped")
            return
        now_ns = self.now_ns()
        frames, refusal = self._pacer.tick(now_ns)
        if refusal is not None:
            self._monitor.count(refusal.reason, str(refusal))
        self._infer(frames, now_ns)

    def _infer(self, frames: Observation | None, now_ns: int) -> None:
        if frames is not None:
            self._worker.submit("act", partial(self._act, frames), (self._generation, now_ns))

    def _act(self, frames: Observation) -> Action:
        images = {camera: frame.prepared(self._policy) for camera, frame in frames.images.items()}
        return self._policy.act(dataclasses.replace(frames, images=images))

    def _finished(self, outcome: Outcome) -> None:
        """Takes up an outcome on the worker's thread where it may, else hands it to the executor's."""
        self._outcomes.append(outcome)
        if len(self._outcomes) > 1 or outcome.name != "act" or outcome.error is not None:
            self._wake()
            return
        try:
            self.in_turn(self._collect, lambda: self._worker is None or self._worker.closed)
        except Exception as error:
            self._outcomes.append(Outcome("publish", None, None, error, 0.0))
            self._wake()

    def _collect(self) -> None:
        while self._outcomes:
            outcome = self._outcomes.popleft()
            if outcome.error is not None and not isinstance(outcome.error, OctoRosError):
                self.fail(outcome.error)
                return
            if outcome.name == "task":
                self._take_up_task(outcome)
            elif outcome.name == "act":
                self._take_up_action(outcome)

    def _take_up_task(self, outcome: Outcome) -> None:
        self._task_error = "" if outcome.error is None else str(outcome.error)
        self._has_task = outcome.error is None and bool(self._instruction or self._goal)
        if outcome.error is not None:
            self.get_logger().error(
                f"instruction refused, no actions until there is another: {outcome.error}"
            )
        else:
            self.get_logger().info(f"task: {self._instruction or '(goal image)'}")

    def _take_up_action(self, outcome: Outcome) -> None:
        generation, tick_ns = outcome.tag
        now_ns = self.now_ns()
        self._monitor.inferred(outcome.seconds)
        if outcome.error is not None:
            self._monitor.count("failed", str(outcome.error))
            self.get_logger().error(f"no action: {outcome.error}", throttle_duration_sec=5.0)
        elif generation != self._generation:
            self._monitor.count("cancelled")
        elif now_ns - tick_ns > self._period_ns:
            self._monitor.count("late")
        else:
            self._publish(outcome.value)

    def _publish(self, action: Action) -> None:
        frame, rate_hz = self._values["base_frame"], self._values["data_rate_hz"]
        self._actions.publish(action_message(action, frame, self._values["publish_physical"]))
        self._monitor.published(action.stamp_ns, self.now_ns())
        self._chunks.publish(chunk_message(action.stamp_ns, action.chunk, NORMALIZED_AXES, frame, rate_hz))

    # Services and diagnostics.

    def _start(self) -> tuple[bool, str]:
        if not self.active:
            return False, "the node is not active"
        self._running = True
        return True, "started"

    def _stop(self) -> tuple[bool, str]:
        self._running = False
        self._generation += 1
        return True, "stopped: no actions until ~/start"

    def _reset_history(self) -> tuple[bool, str]:
        self._restart_history()
        return True, "the next frames start a new history"

    def _restart_history(self) -> None:
        self._generation += 1
        self._worker.order("reset", self._policy.reset)

    def _waiting(self) -> str:
        if not self.active:
            return "inactive"
        if not self._running:
            return "stopped by ~/stop"
        return "" if self._has_task else "no instruction and no goal image"

    def _diagnose(self) -> None:
        self._cameras.follow_publishers()
        now_ns = self.now_ns()
        status = self._monitor.status(
            now_ns, self._policy, self._instruction, self._waiting(), self._task_error
        )
        array = DiagnosticArray(status=[status])
        array.header.stamp = time_message(now_ns)
        self._diagnostics.publish(array)


def main(args: list[str] | None = None) -> int:
    """Runs the node until a signal; returns the exit status."""
    memory.keep_freed_memory()
    return spin.run(PolicyNode, args)


if __name__ == "__main__":
    sys.exit(main())
