"""From the streams of a recording to everything of its episodes but the pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from octo_ros.errors import BagError, ParameterError
from octo_ros.rlds.actions import LARGEST_TURN, pose_differences, tool_states
from octo_ros.rlds.alignment import Misfit, aligned, check_drift, check_finite, time_line
from octo_ros.rlds.options import RATE_HZ, BagOptions
from octo_ros.rlds.series import Series
from octo_ros.rlds.streams import Streams
from octo_ros.rlds.windows import Window
from octo_ros.safety.robot import Robot
from octo_ros.types import ACTION_AXES, NANOSECONDS

OPENING_SLACK = 0.05
"""How far beyond [0, 1] a gripper's opening may be, as calibrations leave it; it is cut to the range."""

RATE_SLACK = 0.05
"""Share by which recorded actions may come faster or slower than the rate given."""


@dataclass(frozen=True)
class Plan:
    """An episode without its pictures.

    Attributes:
        window: where it lies.
        rate_hz: of its steps [Hz].
        action: (T, 7) float32. state: (T, k) float32 or None.
        frames: camera to the place of each step's frame (T,) among its topic's messages.
        alignment_s: stream to the furthest that a message used is from its step [s].
    """

    window: Window
    rate_hz: float
    action: np.ndarray
    state: np.ndarray | None
    frames: Mapping[str, np.ndarray]
    alignment_s: Mapping[str, float]


class RecordedPlanner:
    """Steps are the actions in the bag, one each; frames and states are those nearest to them.

    The state is the recorded one, else that of the tool where there are joint states and a robot.
    """

    def __init__(
        self, streams: Streams, actions: Series, options: BagOptions, robot: Robot | None, where: str
    ) -> None:
        """BagError where the actions are not of seven values; ParameterError where they have another rate."""
        self._streams, self._bound_s, self._robot = streams, options.max_alignment_s, robot
        self._actions = actions
        names = ("recorded_state", "joint_states", "gripper_state")
        self._of_state = [streams.vectors[name] for name in names if name in streams.vectors]
        width = self._actions.values.shape[1]
        if width != len(ACTION_AXES):
            raise BagError(f"{where}: {actions.name}: expected {len(ACTION_AXES)} values, got {width}")
        spacing_s = np.diff(self._actions.times_ns) / NANOSECONDS
        period_s = float(np.median(spacing_s)) if len(spacing_s) else 0.0
        if not period_s:
            raise BagError(f"{where}: {actions.name}: expected two or more at different times, got fewer")
        self.rate_hz = 1.0 / period_s if options.rate_hz is None else options.rate_hz
        if abs(self.rate_hz * period_s - 1.0) > RATE_SLACK:
            raise ParameterError(
                f"rate: {actions.name}: steps have a rate of their own, {1.0 / period_s:.2f} Hz in {where}, "
                f"and cannot be cut into others; got {options.rate_hz:g} Hz"
            )

    def plan(self, window: Window) -> Plan:
        """The episode of a window; Misfit where there is none."""
        index = self._actions.within(window.start_ns, window.end_ns)
        if not len(index):
            raise Misfit(f"{self._actions.name}: no message in it")
        times_ns, action = self._actions.times_ns[index], self._actions.values[index]
        self._check_spacing(times_ns)
        streams = [*self._streams.camera_times.values(), *self._of_state]
        indices, worst = aligned(streams, times_ns, self._bound_s)
        check_drift(streams, times_ns, self._bound_s)
        parts = {stream.name: stream.values[indices[stream.name]] for stream in self._of_state}
        check_finite({self._actions.name: action, **parts})
        state = self._state(parts)
        return Plan(
            window,
            self.rate_hz,
            action.astype(np.float32),
            None if state is None else state.astype(np.float32),
            _frames(self._streams, indices),
            worst,
        )

    def _state(self, parts: dict[str, np.ndarray]) -> np.ndarray | None:
        """(T, k) of its parts by the streams' names, or None where there are none."""
        if self._robot is not None and "joint states" in parts:
            parts["joint states"] = tool_states(*self._robot.tool_poses(parts["joint states"]))
        elif "recorded state" not in parts:
            return None
        return np.column_stack(list(parts.values()))

    def _check_spacing(self, times_ns: np.ndarray) -> None:
        off_s = np.abs(np.diff(times_ns) / NANOSECONDS - 1.0 / self.rate_hz)
        if len(off_s) and off_s.max() > self._bound_s:
            step = int(np.argmax(off_s))
            gap_s = (times_ns[step + 1] - times_ns[step]) / NANOSECONDS
            raise Misfit(
                f"{self._actions.name}: {gap_s:.3f} s from step {step} to the next, "
                f"expected {1.0 / self.rate_hz:.3f} s, bound {self._bound_s:g} s off"
            )


class PosePlanner:
    """Steps are evenly spaced; actions are the differences of the tool's pose from one to the next."""

    def __init__(self, streams: Streams, options: BagOptions, robot: Robot | None, where: str) -> None:
        """ParameterError without a robot; BagError without joint states, or a way to know the gripper."""
        if robot is None:
            raise ParameterError(
                f"{where}: actions come from joint states here: name the robot (--robot or --urdf)"
            )
        if "joint_states" not in streams.vectors:
            raise BagError(
                f"{where}: no joint states of {', '.join(robot.joint_names)}; map them with "
                f"joint_states=/topic (--topic){''.join(f'; {warning}' for warning in streams.warnings)}"
            )
        self._command = streams.vectors.get("gripper_command")
        self._measured = streams.vectors.get("gripper_state")
        if self._command is None and self._measured is None and options.gripper_start is None:
            raise BagError(
                f"{where}: nothing says how far the gripper is open: no message on gripper_command or "
                "gripper_state; map one (--topic), or say an opening for all steps (--gripper-start)"
            )
        self._streams, self._options, self._robot = streams, options, robot
        self.rate_hz = RATE_HZ if options.rate_hz is None else options.rate_hz

    def plan(self, window: Window) -> Plan:
        """The episode of a window; Misfit where there is none."""
        joint_states = self._streams.vectors["joint_states"]
        streams = [*self._streams.camera_times.values(), joint_states]
        streams += [] if self._measured is None else [self._measured]
        times_ns = time_line(window, streams, self.rate_hz)
        indices, worst = aligned(streams, times_ns, self._options.max_alignment_s)
        check_drift(streams, times_ns, self._options.max_alignment_s)
        joints = joint_states.values[indices[joint_states.name]]
        check_finite({"joint states": joints})
        positions, rotations = self._robot.tool_poses(joints)
        deltas = pose_differences(positions, rotations)
        turn = np.linalg.norm(deltas[:, 3:], axis=1)
        if turn.max() > LARGEST_TURN:
            step = int(np.argmax(turn))
            raise Misfit(
                f"step {step}: roll, pitch and yaw have a norm of {turn[step]:.2f} rad, "
                f"bound {LARGEST_TURN:g} rad"
            )
        commanded, measured = self._openings(times_ns, indices)
        action = np.column_stack((deltas, commanded[1:])).astype(np.float32)
        state = np.column_stack((tool_states(positions, rotations), measured))[:-1].astype(np.float32)
        indices = {name: index[:-1] for name, index in indices.items()}
        return Plan(window, self.rate_hz, action, state, _frames(self._streams, indices), worst)

    def _openings(
        self, times_ns: np.ndarray, indices: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Openings (T + 1,) as commanded and as measured; one stands for the other where that is missing.

        A command holds until the next, since it is sent only when it changes.
        """
        measured = None
        if self._measured is not None:
            measured = _opening(self._measured, indices[self._measured.name])
        if self._command is None and measured is not None:
            return measured, measured
        commanded = np.full(len(times_ns), np.nan)
        if self._command is not None:
            held = self._command.held(times_ns)
            commanded[held >= 0] = _opening(self._command, held[held >= 0])
        unknown = np.isnan(commanded)
        if unknown.any():
            if self._options.gripper_start is None:
                raise Misfit(
                    f"gripper command: none before step {int(unknown.sum())}; "
                    "say how far it was open at the start (--gripper-start)"
                )
            commanded[unknown] = self._options.gripper_start
        return commanded, commanded if measured is None else measured


def _opening(series: Series, index: np.ndarray) -> np.ndarray:
    values = series.values[index, 0]
    check_finite({series.name: values[:, None]})
    if len(values) and (values.min() < -OPENING_SLACK or values.max() > 1.0 + OPENING_SLACK):
        raise Misfit(
            f"{series.name}: expected openings from 0 (closed) to 1 (open), "
            f"got {values.min():g} to {values.max():g}"
        )
    return np.clip(values, 0.0, 1.0)


def _frames(streams: Streams, indices: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {camera: times.order[indices[times.name]] for camera, times in streams.camera_times.items()}
