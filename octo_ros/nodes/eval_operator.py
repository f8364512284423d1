"""The operator of an evaluation: hears how an episode goes, and films it where asked to."""

from __future__ import annotations

import statistics
from functools import partial

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String

from octo_ros.evaluation.film import CAMERAS, Film
from octo_ros.evaluation.plan import Planned
from octo_ros.evaluation.score import EpisodeScore
from octo_ros.evaluation.tally import Tally
from octo_ros.image_messages import stamp_ns, to_rgb
from octo_ros.nodes.messages import time_ns
from octo_ros.nodes.newest import Newest
from octo_ros.nodes.qos import LATCHED
from octo_ros.types import NANOSECONDS

REFUSAL = "refusal "
"""Begins the keys of a decision that name a limit."""


class Operator(Node):
    """Hears an episode's begin and end, what the policy and the filter do in between, and sees for a film.

    Args:
        film: that takes pictures, or None; without one no picture is subscribed to.

    Attributes:
        instruction: of the episode that runs or has ended, "" before it begins.
        result: how it ended, "" before.
        approached: colour of the cube that was approached, "" before it ended.
        now_ns: the cell's clock when somebody last asked for it [ns].
    """

    def __init__(self, film: Film | None = None) -> None:
        super().__init__("operator")
        self._film = film
        self.now_ns = 0
        self.begin()
        # In this order: an action is heard before the decision on it.
        self.create_subscription(JointState, "octo/action", self._on_action, 10)
        self.create_subscription(DiagnosticStatus, "octo/safety_decision", self._on_decision, 100)
        self.create_subscription(String, "octo/approached", self._on_approached, LATCHED)
        self.create_subscription(String, "octo/episode", self._on_episode, LATCHED)
        self._clock = Newest(self, Clock, "/clock", 1)
        for camera in CAMERAS if film is not None else ():
            self.create_subscription(
                Image,
                f"camera/{camera}/image_raw",
                partial(self._on_picture, camera),
                qos_profile_sensor_data,
            )

    def begin(self) -> None:
        """Forgets the episode before."""
        self.instruction = self.result = self.approached = ""
        self._tally = Tally()
        self._begun_ns = self.now_ns

    @property
    def ended(self) -> bool:
        """Whether all that there is to know of an episode is known."""
        return bool(self.result and self.approached)

    def look_at_clock(self) -> int:
        """The cell's clock [ns]."""
        clock = self._clock.take()
        if clock is not None:
            self.now_ns = time_ns(clock.clock)
        return self.now_ns

    def score(self, planned: Planned) -> EpisodeScore:
        """How the episode went that has just ended."""
        tally = self._tally
        return EpisodeScore(
            instruction=self.instruction,
            seed=planned.seed,
            success=self.result == "success",
            approached=self.approached,
            actions=tally.actions,
            limited=tally.limited,
            stopped=tally.stopped,
            seconds=(self.look_at_clock() - self._begun_ns) / NANOSECONDS,
            age_s=statistics.median(tally.ages_s) if tally.ages_s else None,
        )

    @property
    def _running(self) -> bool:
        return bool(self.instruction and not self.result)

    def _on_action(self, message: JointState) -> None:
        if self._running:
            self._tally.action(time_ns(message.header.stamp))

    def _on_decision(self, message: DiagnosticStatus) -> None:
        if not self._running:
            return
        values = {value.key: value.value for value in message.values}
        self._tally.decision(values["status"], int(values["stamp_ns"]))
        if self._film is not None:
            limits = [key.removeprefix(REFUSAL) for key in values if key.startswith(REFUSAL)]
            self._film.decided(values["status"], limits)

    def _on_approached(self, message: String) -> None:
        self.approached = message.data

    def _on_episode(self, message: String) -> None:
        what, _, rest = message.data.partition(" ")
        if what == "begin":
            self.look_at_clock()
            self.begin()
            self.instruction = rest
            if self._film is not None:
                self._film.begin(rest)
        elif self._running:
            self.result = rest
            if self._film is not None:
                self._film.end(rest)

    def _on_picture(self, camera: str, message: Image) -> None:
        taken_ns = stamp_ns(message.header)
        if self._running and taken_ns > self._begun_ns:  # else the scene before is in it
            self._film.see(camera, taken_ns, to_rgb(message))
