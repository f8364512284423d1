"""What a user decides when a recording becomes episodes, and what became of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from octo_ros.errors import ParameterError
from octo_ros.rlds.frames import Encoding

ACTIONS = ("auto", "recorded", "commanded", "poses")
RATE_HZ = 10.0
"""Rate of the steps where actions come from poses and no rate is given [Hz]."""


@dataclass(frozen=True)
class BagOptions:
    """How a recording is read.

    Attributes:
        rate_hz: steps in a second [Hz]; None for `RATE_HZ`, or where actions were recorded for theirs.
        max_alignment_s: furthest that a message may be from the step it is used for [s].
        actions: "recorded" (the seven values on /recorded/action), "commanded" (physical actions on
            /octo/action, one a step), "poses" (differences of the tool's pose), or "auto": recorded where
            the bag has them, else of poses.
        topics: camera or name in `octo_ros.rlds.streams.SOURCES` to topic, where it is not the default.
        keep_failures: whether episodes that ended in failure are kept, marked as such.
        gripper_start: opening before the first message on the gripper's command topic, or in all steps
            of a robot without a gripper topic; None refuses such episodes.
        encoding: of the frames.
    """

    rate_hz: float | None = None
    max_alignment_s: float = 0.1
    actions: str = "auto"
    topics: Mapping[str, str] = field(default_factory=dict)
    keep_failures: bool = False
    gripper_start: float | None = None
    encoding: Encoding = field(default_factory=Encoding)

    def __post_init__(self) -> None:
        if self.rate_hz is not None and not 0.0 < self.rate_hz <= 1000.0:
            raise ParameterError(f"rate_hz: expected a rate in (0, 1000] Hz, got {self.rate_hz}")
        if not 0.0 < self.max_alignment_s <= 10.0:
            raise ParameterError(f"max_alignment_s: expected (0, 10] s, got {self.max_alignment_s}")
        if self.actions not in ACTIONS:
            raise ParameterError(f"actions: expected one of {', '.join(ACTIONS)}, got {self.actions!r}")
        if self.gripper_start is not None and not 0.0 <= self.gripper_start <= 1.0:
            raise ParameterError(f"gripper_start: expected an opening in [0, 1], got {self.gripper_start}")


@dataclass(frozen=True)
class Kept:
    """An episode that was converted.

    Attributes:
        source, index, instruction: as in `octo_ros.rlds.episode.Episode`.
        steps: number of steps. rate_hz: of them [Hz].
        alignment_s: stream to the furthest that a message used was from its step [s].
    """

    source: str
    index: int
    instruction: str
    steps: int
    rate_hz: float
    alignment_s: Mapping[str, float]


@dataclass(frozen=True)
class Rejected:
    """An episode that was left out, and why."""

    source: str
    index: int
    instruction: str
    reason: str
