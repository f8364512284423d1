"""Demonstrations of the scripted expert as a rosbag2: the topics that the cell's node publishes.

Written by the rosbags library, without ROS. One bag holds all episodes, on one clock, with a pause
between them; the same seed gives the same messages.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rosbags.rosbag2 import Writer

from octo_ros import load_policy
from octo_ros.bags.build import numbers, restamped, text
from octo_ros.bags.output import new_bag
from octo_ros.bags.reader import TYPESTORE
from octo_ros.errors import BagError, ParameterError
from octo_ros.policy.options import ActOptions
from octo_ros.safety.decision import Decision
from octo_ros.sim.bag_messages import Encode, Messages, topics
from octo_ros.sim.cell import Cell
from octo_ros.sim.episode import (
    MAX_STEPS,
    EpisodeResult,
    Listener,
    Seen,
    expert_policy,
    run_episode,
    student_policy,
    watched,
)
from octo_ros.sim.expert import Expert
from octo_ros.sim.state import CellState
from octo_ros.sim.take import RECORDED, Take, other_tasks
from octo_ros.sim.tasks import COLORS, CellTask, chosen_tasks, task_for_seed
from octo_ros.types import NANOSECONDS

START_NS = NANOSECONDS
"""Time of the first episode's start [ns]; a stamp of 0 would mean none."""

PAUSE_NS = NANOSECONDS
"""Time between episodes [ns]."""


@dataclass(frozen=True)
class RecordingSummary:
    """What was recorded.

    Attributes:
        out: the bag.
        results: one for each episode, in order.
        size: of the bag on disk [byte].
        wall_s: time it took, the cell's start left out [s].
    """

    out: Path
    results: tuple[EpisodeResult, ...]
    size: int
    wall_s: float

    def __str__(self) -> str:
        episodes, steps = len(self.results), sum(result.steps for result in self.results)
        done = sum(result.success for result in self.results)
        frames, limited = sum(result.frames for result in self.results), sum(r.limited for r in self.results)
        return "\n".join(
            [
                f"{self.out}: {episodes} episodes, {done} successful, {steps} steps at 10 Hz",
                f"  frames   {frames}, {frames / self.wall_s:.1f} a second",
                f"  limited  {limited} actions ({limited / steps:.1%}) by the safety filter",
                f"  size     {self.size / 1e6:.1f} MB, {self.size / episodes / 1e6:.2f} MB an episode",
            ]
        )


def record(
    out: str | Path,
    robot: str,
    *,
    episodes: int,
    seed: int = 0,
    task: str = "all",
    images: str = "raw",
    other_words: int = 0,
    student: str | Path | None = None,
    max_steps: int = MAX_STEPS,
    primary: int = 256,
    wrist: int = 128,
    progress: Callable[[int, int], None] | None = None,
) -> RecordingSummary:
    """Runs the expert through the safety filter and writes the bag.

    With `other_words` each episode is followed by copies of its approach with the words of other colours, in
    which the recorded actions are what the expert would do for those: the same pictures, so that
    only the words tell what to do, and a cube's place is learned from every picture that shows it.

    With `student` that policy acts, and the expert only says what it would have done: demonstrations of the
    way out of where a policy gets itself (DAgger, Ross et al. 2011).

    Args:
        out: the bag's directory, not there yet.
        robot: "panda" or "ur5e".
        seed: of the first episode; the next ones count on.
        task: "all", a verb, or an instruction; consecutive episodes go through what it stands for.
        images: "raw" for sensor_msgs/Image, "jpeg" for CompressedImage below "/compressed".
        other_words: copies of each episode, one for each other colour at most.
        student: bundle of the policy that acts, None to let the expert act.
        max_steps: actions after which an episode has failed.
        primary, wrist: sides of the pictures [pixel].
        progress: called with the episodes done and their number.

    Raises:
        ParameterError: an unknown robot, task or kind of image, or a number out of range.
        BagError: `out` exists.
        BundleError: the student cannot be loaded.
        ModuleNotFoundError: robosuite is not installed.
    """
    out, tasks = Path(out), chosen_tasks(task)
    if episodes < 1 or seed < 0:
        raise ParameterError(f"record: expected 1 episode or more and a seed from 0, got {episodes}, {seed}")
    if not 0 <= other_words < len(COLORS):
        raise ParameterError(f"record: other_words: expected 0 to {len(COLORS) - 1}, got {other_words}")
    encode = Encode(images)
    if out.exists():
        raise BagError(f"{out}: exists; name a bag that is not there yet")
    learned = None if student is None else load_policy(student, options=ActOptions(seed=seed), threads=1)
    cell = Cell(robot, primary=primary, wrist=wrist)
    started, results = time.perf_counter(), []
    try:
        _ = cell.cameras  # refuses before there is a bag
        with new_bag(out) as writer:
            recorder = Recorder(writer, cell, encode, other_words)
            for number in range(episodes):
                if progress is not None:
                    progress(number, episodes)
                chosen = task_for_seed(tasks, seed + number)
                recorder.expert = Expert(chosen, seed + number)
                acts = expert_policy(recorder.expert)
                if learned is not None:
                    acts = watched(student_policy(learned, chosen), recorder.expert)
                results.append(
                    run_episode(cell, chosen, acts, seed + number, max_steps=max_steps, listener=recorder)
                )
    finally:
        cell.close()
    wall_s = time.perf_counter() - started
    size = sum(path.stat().st_size for path in out.iterdir())
    return RecordingSummary(out, tuple(results), size, wall_s)


class Recorder(Listener):
    """Writes what happens in episodes, each after the last on one clock.

    Args:
        writer: an open bag without topics.
        cell: whose episodes they are.
        encode: how pictures are written.
        other_words: copies of each episode's approach, see `record`.

    Attributes:
        expert: who acts in the next episode; to be set before it begins.
    """

    expert: Expert

    def __init__(self, writer: Writer, cell: Cell, encode: Encode, other_words: int = 0) -> None:
        self._writer, self._cell, self._other_words = writer, cell, other_words
        self._take = Take()
        self._messages = Messages(cell.robot, encode)
        self._connections = {
            topic: writer.add_connection(topic, kind, typestore=TYPESTORE)
            for topic, kind in topics(encode).items()
        }
        self._gripper = 1.0  # last commanded
        self._begin_ns = START_NS
        self._now_ns = START_NS

    def begin(self, task: CellTask, state: CellState) -> None:
        self._take = Take(task, other_tasks(task, self._begin_ns)[: self._other_words])
        self._stamp(state)
        self._write("/octo/instruction", text(task.instruction))
        self._write("/octo/episode", text(f"begin {task.instruction}"))
        self._robot(state)
        self._write("/octo/gripper_command", self._messages.number(1.0))  # as the cell begins
        self._gripper = 1.0

    def step(self, seen: Seen, action: np.ndarray) -> None:
        self._show(seen)
        self._take.look(seen.state, self.expert.phase)
        self._write("/octo/action", self._messages.action(action, self._now_ns))
        self._write(RECORDED, numbers(self.expert.intended))

    def tick(self, state: CellState, decision: Decision | None) -> None:
        self._stamp(state)
        if decision is not None and decision.is_command and decision.gripper != self._gripper:
            self._gripper = decision.gripper
            self._write("/octo/gripper_command", self._messages.number(decision.gripper))
        self._robot(state)

    def end(self, result: EpisodeResult, seen: Seen) -> None:
        self._show(seen)
        how = "success" if result.success else "failure"
        self._write("/octo/episode", text(f"end {how}"))
        self._begin_ns = self._now_ns + PAUSE_NS
        for messages in self._take.copies():
            first_ns = messages[0][0]
            for at_ns, topic, message in messages:
                self._now_ns = self._begin_ns + at_ns - first_ns
                self._put(topic, restamped(message, self._now_ns))
            self._put("/octo/episode", text("end success"))
            self._begin_ns = self._now_ns + PAUSE_NS

    def _stamp(self, state: CellState) -> None:
        self._now_ns = self._begin_ns + state.time_ns

    def _show(self, seen: Seen) -> None:
        for camera, image in seen.images.items():
            self._write(*self._messages.image(camera, image, self._now_ns))
            focal = self._cell.cameras.focal_length(camera)
            self._write(*self._messages.camera_info(camera, image.shape[0], focal, self._now_ns))

    def _robot(self, state: CellState) -> None:
        """Joints, tool and gripper."""
        self._write("/joint_states", self._messages.joint_state(state, self._now_ns))
        self._write("/octo/tool_pose", self._messages.tool_pose(state, self._now_ns))
        self._write("/gripper_state", self._messages.number(state.opening))

    def _write(self, topic: str, message: object) -> None:
        self._take.add(self._now_ns, topic, message)
        self._put(topic, message)

    def _put(self, topic: str, message: object) -> None:
        connection = self._connections[topic]
        self._writer.write(connection, self._now_ns, TYPESTORE.serialize_cdr(message, connection.msgtype))
