"""Every number the safety filter takes, with its range; a robot's own limits come from its URDF alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from octo_ros.errors import ParameterError

_RANGES = {  # name: (smallest, largest, whether the smallest itself is allowed)
    "joint_margin": (0.0, 1.0, True),
    "box_inset": (0.0, 0.1, True),
    "velocity_scale": (0.0, 0.9, False),
    "max_joint_acceleration": (0.0, 1000.0, False),
    "max_joint_jerk": (0.0, 1e6, False),
    "max_tool_speed": (0.0, 10.0, False),
    "max_tool_rotation_speed": (0.0, 20.0, False),
    "min_clearance": (0.0, 0.5, True),
    "max_tracking_error": (0.0, math.pi, False),
    "action_timeout_s": (0.0, 10.0, False),
    "max_action_age_s": (0.0, 10.0, False),
    "max_action_lead_s": (0.0, 1.0, True),
    "max_joint_state_age_s": (0.0, 10.0, False),
    "frozen_joint_state_s": (0.0, 10.0, False),
    "max_step_s": (0.0, 10.0, False),
    "data_rate_hz": (0.0, 1000.0, False),
}
_CHOICES = {
    "action_frame": ("base", "tool"),
    "rotation_order": ("rpy", "ypr"),
    "reference": ("target", "measured"),
}

TIGHTER_UP = ("joint_margin", "box_inset", "min_clearance")
"""Options whose larger value allows less."""

TIGHTER_DOWN = (
    "velocity_scale", "max_tool_speed", "max_tool_rotation_speed", "max_tracking_error", "action_timeout_s",
    "max_action_age_s", "max_action_lead_s", "max_joint_state_age_s", "frozen_joint_state_s",
)  # fmt: skip
"""Options whose smaller value allows less."""

TIGHTENABLE = (*TIGHTER_UP, *TIGHTER_DOWN, "workspace_min", "workspace_max")
"""Options that may change while the filter runs."""


@dataclass(frozen=True)
class FilterOptions:
    """Options of the filter; ParameterError for a value outside its range.

    Attributes:
        joint_margin: kept from each joint position limit [rad or m].
        box_inset: kept from each wall of the workspace box [m].
        velocity_scale: share of the URDF's joint velocity that is used, at most 0.9.
        max_joint_acceleration: of each joint, and with which it brakes [rad/s^2 or m/s^2].
        max_joint_jerk: of each joint in the motion that actions ask for; stops and limits brake at once,
            with no more than max_joint_acceleration [rad/s^3 or m/s^3].
        max_tool_speed: of the tip [m/s].
        max_tool_rotation_speed: of the tip [rad/s].
        min_clearance: distance of links to each other and to declared obstacles [m].
        slide_along_walls: whether motion into a wall of the workspace goes on along it; else all of it ends.
        max_tracking_error: between commanded and measured joints, beyond which the filter stops [rad or m].
        action_timeout_s: without an accepted action for this long the filter stops [s].
        max_action_age_s: age by stamp beyond which an action is rejected [s].
        max_action_lead_s: how far in the future a stamp may lie [s].
        max_joint_state_age_s: age by stamp beyond which a joint state is stale [s].
        frozen_joint_state_s: commanded motion after which joint states that never changed hold the arm [s].
        max_step_s: longest time one command may cover [s].
        data_rate_hz: rate at which the data set's per-step deltas were recorded [Hz].
        action_frame: axes of a delta, "base" (the workspace frame's) or "tool".
        rotation_order: "rpy" turns roll first, about fixed axes; "ypr" turns yaw first.
        reference: a delta is added to the previous "target" or to the "measured" tool pose.
        workspace_min: (3,) lower corner that tightens the URDF's box, or None [m].
        workspace_max: (3,) upper corner that tightens the URDF's box, or None [m].
    """

    joint_margin: float = 0.05
    box_inset: float = 0.005
    velocity_scale: float = 0.9
    max_joint_acceleration: float = 10.0
    max_joint_jerk: float = 500.0
    max_tool_speed: float = 0.25
    max_tool_rotation_speed: float = 0.5
    min_clearance: float = 0.02
    slide_along_walls: bool = True
    max_tracking_error: float = 0.2
    action_timeout_s: float = 0.3
    max_action_age_s: float = 0.2
    max_action_lead_s: float = 0.05
    max_joint_state_age_s: float = 0.1
    frozen_joint_state_s: float = 0.5
    max_step_s: float = 0.5
    data_rate_hz: float = 5.0
    action_frame: str = "base"
    rotation_order: str = "rpy"
    reference: str = "target"
    workspace_min: tuple[float, float, float] | None = None
    workspace_max: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        for name, (low, high, low_allowed) in _RANGES.items():
            value = _number(name, getattr(self, name))
            if not (low < value <= high or (low_allowed and value == low)):
                least = f"at least {low:g}" if low_allowed else f"above {low:g}"
                raise ParameterError(f"{name}: expected {least} and at most {high:g}, got {value:g}")
            object.__setattr__(self, name, value)
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise ParameterError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")
        if not isinstance(self.slide_along_walls, bool):
            raise ParameterError(f"slide_along_walls: expected true or false, got {self.slide_along_walls!r}")
        for name in ("workspace_min", "workspace_max"):
            corner = getattr(self, name)
            if corner is not None:
                object.__setattr__(self, name, _corner(name, corner))

    def check_tightens(self, before: FilterOptions) -> None:
        """ParameterError, naming the option, where these options allow anything that `before` did not."""
        for field in fields(self):
            name = field.name
            old, new = getattr(before, name), getattr(self, name)
            if name in TIGHTER_UP or name in TIGHTER_DOWN:
                sign = 1 if name in TIGHTER_UP else -1
                if sign * (new - old) < 0:
                    raise ParameterError(
                        f"{name}: may only be tightened while running, from {old:g}; got {new:g}"
                    )
            elif name in ("workspace_min", "workspace_max"):
                _check_corner_tightens(name, old, new)
            elif new != old:
                raise ParameterError(f"{name}: may not change while running, from {old!r} to {new!r}")


def _check_corner_tightens(name: str, old: tuple | None, new: tuple | None) -> None:
    """An unset corner is the URDF's, which every corner that can be set tightens."""
    if old is None or new == old:
        return
    sign = 1 if name == "workspace_min" else -1
    if new is None or any(sign * (after - before) < 0 for before, after in zip(old, new, strict=True)):
        raise ParameterError(f"{name}: may only be tightened while running, from {old}; got {new}")


def _number(name: str, value: object) -> float:
    """`value` as a finite float."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise ParameterError(f"{name}: expected a number, got {value!r}") from None
    if isinstance(value, (bool, str)) or not math.isfinite(number):
        raise ParameterError(f"{name}: expected a finite number, got {value!r}")
    return number


def _corner(name: str, value: object) -> tuple[float, float, float]:
    """`value` as three finite floats."""
    try:
        items = tuple(value)  # type: ignore[arg-type]
    except TypeError:
        items = ()
    if isinstance(value, str) or len(items) != 3:
        raise ParameterError(f"{name}: expected 3 numbers, got {value!r}")
    return tuple(_number(name, item) for item in items)  # type: ignore[return-value]
