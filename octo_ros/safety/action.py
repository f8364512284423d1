"""What an action must be before anything is done with it."""

from __future__ import annotations

import numpy as np

from octo_ros.safety.decision import Refusal, ToolDelta
from octo_ros.safety.watchdog import is_stamp


def malformed(action: ToolDelta) -> Refusal | None:
    """Which part of an action cannot be used, or None."""
    if not isinstance(action, ToolDelta) or not is_stamp(action.stamp_ns):
        return Refusal("action with a usable stamp", 0.0, 1.0, "")
    for name, value, shape in (
        ("translation", action.translation, (3,)),
        ("rotation", action.rotation, (3,)),
        ("gripper", action.gripper, ()),
    ):
        try:
            array = np.asarray(value, dtype=float)
        except (TypeError, ValueError, OverflowError):
            return Refusal(f"action {name}, numbers", 0.0, float(np.prod(shape)), "")
        if array.shape != shape:
            return Refusal(f"action {name}, numbers", float(array.size), float(np.prod(shape)), "")
        if not np.isfinite(array).all():
            finite = float(np.isfinite(array).sum())
            return Refusal(f"action {name}, finite numbers", finite, float(array.size), "")
    return None


def gripper_opening(action: ToolDelta) -> tuple[float, tuple[Refusal, ...]]:
    """The opening that an action asks for in [0, 1], and a refusal where it asked for more."""
    asked = float(action.gripper)
    opening = min(max(asked, 0.0), 1.0)
    if opening == asked:
        return opening, ()
    return opening, (Refusal("gripper opening", asked, opening, ""),)
