"""The files of a replay: CSV tables and a bag, written so that the same replay gives the same bytes."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.rosbag2.errors import WriterError

from octo_ros.bags.log import Episode, ReplayLog
from octo_ros.bags.messages import (
    OUTPUTS,
    action_message,
    chunk_message,
    decision_message,
    trajectory_message,
)
from octo_ros.bags.reader import TYPESTORE
from octo_ros.bags.recorded import Comparison
from octo_ros.errors import BagError
from octo_ros.safety.decision import Decision
from octo_ros.safety.robot import Robot
from octo_ros.types import ACTION_AXES, Action

BAG_VERSION = 9
"""Version of the rosbag2 format that is written: Jazzy's."""

ACTIONS, DECISIONS, BAG = "actions.csv", "decisions.csv", "bag"


def new_bag(out: Path) -> Writer:
    """A writer of a new MCAP bag, to be entered as a context; BagError where `out` exists."""
    try:
        return Writer(out, version=BAG_VERSION, storage_plugin=StoragePlugin.MCAP)
    except WriterError as error:
        raise BagError(f"{out}: cannot write a bag: {error}") from error


class Output:
    """Takes actions, decisions and commands as they come; a context manager.

    Args:
        directory: an existing, empty directory.
        robot: whose joints are commanded.
        data_rate_hz: spacing of a chunk's steps [Hz].
        period_s: time from command to command, in which a hold is to be reached [s].
    """

    def __init__(self, directory: Path, robot: Robot, data_rate_hz: float, period_s: float) -> None:
        self._directory, self._robot = directory, robot
        self._data_rate_hz, self._period_s = data_rate_hz, period_s

    def __enter__(self) -> Output:
        self._file = _open_table(self._directory / DECISIONS)
        self._decisions = csv.writer(self._file, lineterminator="\n")
        self._decisions.writerow(_decision_columns(self._robot))
        self._writer = new_bag(self._directory / BAG)
        self._writer.open()
        self._connections = {
            topic: self._writer.add_connection(topic, kind, typestore=TYPESTORE)
            for topic, kind in OUTPUTS.items()
        }
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._file.close()
        self._writer.__exit__(kind, error, at)

    def action(self, action: Action, now_ns: int) -> None:
        """Writes an action and its chunk to the bag, at the time it was made [ns]."""
        frame = self._robot.workspace.frame
        self._write("/octo/action", now_ns, action_message(action, frame))
        self._write("/octo/action_chunk", now_ns, chunk_message(action, frame, self._data_rate_hz))

    def decision(self, decision: Decision, episode: Episode | None) -> None:
        """Writes a decision to the table and to the bag."""
        self._decisions.writerow(_decision_row(decision, episode, len(self._robot.joint_names)))
        self._write("/octo/safety_decision", decision.stamp_ns, decision_message(decision, self._robot))

    def command(self, decision: Decision) -> None:
        """Writes the command of a decision to the bag."""
        message = trajectory_message(decision, self._robot.joint_names, self._period_s)
        self._write("/octo/joint_trajectory", decision.stamp_ns, message)

    def _write(self, topic: str, now_ns: int, message: Any) -> None:
        data = TYPESTORE.serialize_cdr(message, OUTPUTS[topic])
        self._writer.write(self._connections[topic], now_ns, data)


def write_actions(directory: Path, log: ReplayLog, comparison: Comparison | None) -> None:
    """Writes the table of actions: network units, physical units, and the recorded action of the step."""
    axes = list(ACTION_AXES)
    columns = ["stamp_ns", "episode", "instruction", *(f"normalized_{axis}" for axis in axes), *axes]
    if comparison is not None:
        columns += [f"recorded_{axis}" for axis in axes]
    with _open_table(directory / ACTIONS) as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(columns)
        for i, step in enumerate(log.steps):
            instruction = log.episodes[step.episode].instruction
            row = [
                step.stamp_ns,
                step.episode,
                instruction,
                *map(str, step.normalized),
                *_numbers(step.physical),
            ]
            if comparison is not None:
                matched = comparison.matched[i]
                row += _numbers(comparison.recorded[i]) if matched else [""] * len(axes)
            table.writerow(row)


def _open_table(path: Path) -> TextIO:
    return path.open("w", encoding="utf-8", newline="")


def _decision_columns(robot: Robot) -> list[str]:
    return [
        *("stamp_ns", "episode", "status", "state", "is_command"),
        *robot.joint_names,
        *(
            "tool_x",
            "tool_y",
            "tool_z",
            "twist_vx",
            "twist_vy",
            "twist_vz",
            "twist_wx",
            "twist_wy",
            "twist_wz",
        ),
        *("gripper", "refusals"),
    ]


def _decision_row(decision: Decision, episode: Episode | None, joints: int) -> list[Any]:
    seen = len(decision.joint_positions) == joints
    where = [*decision.joint_positions, *decision.tool_position] if seen else None
    return [
        decision.stamp_ns,
        "" if episode is None else episode.index,
        decision.status.value,
        decision.state.value,
        int(decision.is_command),
        *([""] * (joints + 3) if where is None else _numbers(where)),
        *_numbers(decision.tool_twist),
        repr(float(decision.gripper)),
        decision.reasons(),
    ]


def _numbers(values: Iterable[float] | np.ndarray) -> list[str]:
    """Shortest texts that give the same float64 again."""
    return [repr(float(value)) for value in values]
