"""Which steps of an episode a sample is made of, and which of its actions count.

A sample is what the policy sees at one step: the steps before it (the history), and for each of
them the actions that follow (the chunk). All of it is indices into the episode and masks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PAST_GOAL = ("mask", "hold")
"""What becomes of actions past the goal: "mask", left out of the loss, as the present official code has it;
"hold", no motion and the gripper as it was at the goal, in the loss, as the first release had it."""

OFFICIAL_SLACK = 2
"""Steps past the goal whose actions the official code still counts: it takes the goal's distance from
t - (window + 1), two steps before the window's first."""


@dataclass(frozen=True)
class Window:
    """A sample of one episode.

    Attributes:
        history: (window,) index of each step; the first one stands in for those before the episode.
        timestep_pad_mask: (window,) bool, False where a step stands in.
        chunks: (window, horizon) index of each action; the last one stands in for those after the end.
        action_pad_mask: (window, horizon) bool, False where an action is left out of the loss.
        held: (window, horizon) bool, True where the action is to hold still instead.
    """

    history: np.ndarray
    timestep_pad_mask: np.ndarray
    chunks: np.ndarray
    action_pad_mask: np.ndarray
    held: np.ndarray


def window_at(
    step: int, steps: int, window: int, horizon: int, goal: int | None = None, past_goal: str = "mask"
) -> Window:
    """The sample at a step of an episode.

    Args:
        step: the newest, 0 to steps - 1.
        steps: of the episode.
        window: steps of history, this one counted.
        horizon: actions of a chunk.
        goal: step of the goal image, or None for the episode's last.
        past_goal: one of `PAST_GOAL`.
    """
    goal = steps - 1 if goal is None else goal
    wanted = np.arange(step - window + 1, step + 1)  # (window,)
    history = np.maximum(wanted, 0)
    chunks = np.minimum(history[:, None] + np.arange(horizon), steps - 1)  # (window, horizon)
    held = np.zeros(chunks.shape, dtype=bool)
    if past_goal == "hold":
        held = history[:, None] + np.arange(horizon) > goal
        counted = np.ones(chunks.shape, dtype=bool)
        chunks = np.minimum(chunks, goal)
    else:
        counted = wanted[:, None] - OFFICIAL_SLACK + np.arange(horizon) < goal
    return Window(history, wanted >= 0, chunks, counted, held)


def draw_goal(step: int, steps: int, share: float) -> int:
    """A step from this one to the last, all alike (the official "uniform" relabelling).

    Args:
        step: the newest of the sample.
        steps: of the episode.
        share: drawn from [0, 1).
    """
    return min(int(share * (steps - step) + step), steps - 1)
