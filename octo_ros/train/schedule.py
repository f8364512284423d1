"""Learning rates: a straight warmup from 0, then the official ways down."""

from __future__ import annotations

import math

from octo_ros.errors import ParameterError

SCHEDULES = ("cosine", "rsqrt", "constant")


def learning_rate(
    schedule: str, step: int, peak: float, warmup: int, steps: int, timescale: float = 10000.0
) -> float:
    """The rate of a step, as optax's schedules have it.

    Args:
        schedule: "cosine" falls to 0 at `steps` (fine-tuning); "rsqrt" with the square root of the steps
            after the warmup (pre-training); "constant" stays.
        step: from 0, whose rate is 0 where there is a warmup.
        peak: rate after the warmup.
        warmup: its steps.
        steps: of the whole run.
        timescale: of "rsqrt", in steps.

    Raises:
        ParameterError: no such schedule.
    """
    if schedule not in SCHEDULES:
        raise ParameterError(f"schedule: expected one of {', '.join(SCHEDULES)}, got {schedule!r}")
    if step < warmup:
        return peak * step / warmup
    after = step - warmup
    if schedule == "cosine":
        done = min(after / max(steps - warmup, 1), 1.0)
        return peak * 0.5 * (1 + math.cos(math.pi * done))
    return peak / math.sqrt((after + timescale) / timescale) if schedule == "rsqrt" else peak
