"""What a step of the safety filter costs: `tick` at 100 Hz with a `step` at 10 Hz, on one core.

Each situation is run for some thousand steps. For comparison, a plain damped least-squares step
(forward kinematics, Jacobian, SVD) without any limit runs in turn with the filter.

    .venv/bin/python bench/safety.py --seconds 30 --rate 100 [--json FILE]
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np  # noqa: E402

from octo_ros.safety.decision import ToolDelta  # noqa: E402
from octo_ros.safety.filter import SafetyFilter  # noqa: E402
from octo_ros.safety.inverse_kinematics import damped_step  # noqa: E402
from octo_ros.safety.options import FilterOptions  # noqa: E402
from octo_ros.safety.robot import Robot  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
NANOSECONDS = 1_000_000_000
Action = tuple[np.ndarray, np.ndarray]  # translation (3,) [m], rotation (3,) [rad]


def wandering() -> Iterator[Action]:
    """Small motions to and fro about the start."""
    for count in range(10**9):
        angle = count / 7.0
        yield (
            np.array([np.cos(angle), np.sin(angle), np.cos(1.7 * angle)]) * 0.015,
            np.full(3, 0.02 * np.sin(angle)),
        )


def always(translation: tuple, rotation: tuple = (0.0, 0.0, 0.0)) -> Callable[[], Iterator[Action]]:
    """One action for ever."""

    def actions() -> Iterator[Action]:
        while True:
            yield np.array(translation), np.array(rotation)

    return actions


def to_and_fro(translation: tuple, rotation: tuple) -> Callable[[], Iterator[Action]]:
    """One action for two seconds, then its opposite."""

    def actions() -> Iterator[Action]:
        for count in range(10**9):
            sign = 1.0 if count // 20 % 2 == 0 else -1.0
            yield sign * np.array(translation), sign * np.array(rotation)

    return actions


STRETCHED = (0.3, -0.9, 0.05, -1.2, -1.5, 0.3)  # elbow of the ur5e
FOLDED = (0.0, -0.9, 0.0, -2.85, 0.0, 1.95, 0.785)  # hand of the fr3 close to its arm
SITUATIONS = {  # name: (robot, joints to start from or None for home, actions, changed options)
    "free motion": ("fr3", None, wandering, {}),
    "free motion, touching allowed": ("fr3", None, wandering, {"min_clearance": 0.0}),
    "pushing at a wall": ("fr3", None, always((0.0, 0.0, -0.05)), {}),
    "pushing into a corner": ("fr3", None, always((0.05, 0.05, 0.05), (0.2, 0.1, 0.0)), {}),
    "near a singularity": ("ur5e", STRETCHED, to_and_fro((0.02, 0.01, 0.01), (0.05, 0.0, 0.1)), {}),
    "turning at joint limits": ("fr3", None, always((0.0, 0.0, 0.0), (0.5, 0.5, 0.5)), {}),
    "holding": ("fr3", None, always((0.0, 0.0, 0.0)), {}),
    "close to other bodies": (
        "fr3", FOLDED, to_and_fro((-0.02, 0.0, 0.01), (0.0, -0.2, 0.0)), {"min_clearance": 0.05},
    ),
}  # fmt: skip


def measured(name: str, seconds: float, rate_hz: float) -> dict[str, float]:
    """Durations [s] of the filter's calls in a situation, and of the plain step at the same joints."""
    robot_name, start, actions, changes = SITUATIONS[name]
    robot = Robot.from_file(ROOT / "urdf" / f"{robot_name}.urdf")
    joints = np.array(robot.home if start is None else start, dtype=float)
    guard = SafetyFilter(robot, FilterOptions(**changes))
    tick_ns, per_action = round(NANOSECONDS / rate_hz), max(round(rate_hz / 10.0), 1)
    now_ns, spent, plain, count = 1000 * NANOSECONDS, [], [], 0
    generator = actions()
    gc.collect()
    gc.freeze()  # as the node does
    guard.observe_joints(robot.joint_names, joints, now_ns, now_ns)
    guard.step(ToolDelta(now_ns, np.zeros(3), np.zeros(3), 0.5), now_ns)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        count += 1
        now_ns += tick_ns
        action = ToolDelta(now_ns, *next(generator), 0.5) if count % per_action == 0 else None
        begun = time.perf_counter()
        guard.observe_joints(robot.joint_names, joints, now_ns, now_ns)
        decision = guard.tick(now_ns) if action is None else guard.step(action, now_ns)
        spent.append(time.perf_counter() - begun)
        if not decision.state.moves:
            raise RuntimeError(f"{name}: the filter stopped: {decision.reasons()}")
        joints = decision.joint_positions
        begun = time.perf_counter()
        robot.tool_pose(joints)
        joints + damped_step(robot.jacobian(joints), np.full(6, 1e-3))
        plain.append(time.perf_counter() - begun)
    spent, plain = np.array(spent[len(spent) // 20 :]), np.array(plain)
    p50, p95, p99 = np.percentile(spent, [50, 95, 99])
    return {
        "steps": len(spent), "p50_s": p50, "p95_s": p95, "p99_s": p99, "max_s": float(spent.max()),
        "mean_s": float(spent.mean()), "core": float(spent.mean() * rate_hz),
        "plain_p50_s": float(np.median(plain)), "of_plain": float(p50 / np.median(plain)),
    }  # fmt: skip


def main() -> int:
    """Runs every situation and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30.0, help="for all situations together")
    parser.add_argument("--rate", type=float, default=100.0, help="of the ticks [Hz]")
    parser.add_argument("--json", type=Path, help="write the result to this file as well")
    options = parser.parse_args()
    print(f"{options.rate:g} Hz{'':26} p50      p95      p99      max  % of a core  of a plain step")
    rows = {}
    for name in SITUATIONS:
        row = rows[name] = measured(name, options.seconds / len(SITUATIONS), options.rate)
        times = "".join(f"{row[key] * 1e3:7.3f}ms" for key in ("p50_s", "p95_s", "p99_s", "max_s"))
        print(f"{name:31}{times} {row['core']:11.1%} {row['of_plain']:12.1f} x", flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps({"rate_hz": options.rate, "situations": rows}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
