"""How episodes went, and what many of them say of a policy."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import Any

from octo_ros.evaluation.share import Share
from octo_ros.sim.approach import NONE


@dataclass(frozen=True)
class EpisodeScore:
    """How one episode went.

    Attributes:
        instruction: what was asked for.
        seed: of the scene.
        success: whether it was done in time.
        approached: colour of the cube that the arm approached, or `NONE`.
        actions: actions of the policy that the filter decided on.
        limited: those that it shortened or refused.
        stopped: whether the filter stopped by itself, after which nothing moves.
        seconds: simulated time that it took [s].
        age_s: median over the actions, from the pictures' stamp to the filter's decision [s]; None for none.
    """

    instruction: str
    seed: int
    success: bool
    approached: str
    actions: int
    limited: int
    stopped: bool
    seconds: float
    age_s: float | None

    @property
    def as_named(self) -> bool:
        """Whether the cube that the arm approached is the one that the words name."""
        return self.approached in self.instruction.split()


@dataclass(frozen=True)
class Evaluation:
    """All episodes of one policy under one setting.

    Attributes:
        setting: its name.
        episodes: in the order in which they were run.
        real_s: real time that they took, and what lies between them [s].
        simulated_s: simulated time that passed meanwhile [s].
    """

    setting: str
    episodes: tuple[EpisodeScore, ...]
    real_s: float = 0.0
    simulated_s: float = 0.0

    @property
    def success(self) -> Share:
        """Episodes that succeeded."""
        return Share.of(episode.success for episode in self.episodes)

    @property
    def as_named(self) -> Share:
        """Episodes in which the cube that the arm approached is the one that the words name."""
        return Share.of(episode.as_named for episode in self.episodes)

    @property
    def limited(self) -> Share:
        """Actions that the filter changed."""
        return Share(
            sum(episode.limited for episode in self.episodes),
            sum(episode.actions for episode in self.episodes),
        )

    @property
    def stopped(self) -> Share:
        """Episodes in which the filter stopped."""
        return Share.of(episode.stopped for episode in self.episodes)

    @property
    def changed(self) -> Share:
        """Scenes run with two instructions, in which the arm approached two different cubes."""
        return Share.of(
            len(colors) == len(scene) and NONE not in colors
            for scene in self._swapped()
            for colors in [{episode.approached for episode in scene}]
        )

    @property
    def followed(self) -> Share:
        """Scenes run with two instructions, in which it approached the named cube each time."""
        return Share.of(all(episode.as_named for episode in scene) for scene in self._swapped())

    @property
    def seconds(self) -> float | None:
        """Mean simulated time of the episodes that succeeded [s]."""
        times = [episode.seconds for episode in self.episodes if episode.success]
        return statistics.fmean(times) if times else None

    @property
    def age_s(self) -> float | None:
        """Median over the episodes of their actions' age [s]."""
        ages = [episode.age_s for episode in self.episodes if episode.age_s is not None]
        return statistics.median(ages) if ages else None

    @property
    def real_time_factor(self) -> float | None:
        """Simulated seconds in a real one."""
        return self.simulated_s / self.real_s if self.real_s else None

    def by_instruction(self) -> dict[str, Share]:
        """Successes of each instruction, in the order in which they first came."""
        instructions = dict.fromkeys(episode.instruction for episode in self.episodes)
        return {
            instruction: Share.of(e.success for e in self.episodes if e.instruction == instruction)
            for instruction in instructions
        }

    def as_json(self) -> dict[str, Any]:
        """Everything, for a file."""
        return {
            "setting": self.setting,
            "success": self.success.as_json(),
            "approached_as_named": self.as_named.as_json(),
            "approached_changes_with_words": self.changed.as_json(),
            "approached_follows_words": self.followed.as_json(),
            "limited_actions": self.limited.as_json(),
            "stopped_episodes": self.stopped.as_json(),
            "mean_seconds_to_success": self.seconds,
            "median_action_age_s": self.age_s,
            "real_time_factor": self.real_time_factor,
            "by_instruction": {name: share.as_json() for name, share in self.by_instruction().items()},
            "episodes": [asdict(episode) for episode in self.episodes],
        }

    def __str__(self) -> str:
        rows = {
            **self.by_instruction(),
            "approached the named cube": self.as_named,
            "approached another cube for other words": self.changed,
            "approached the named cube for both words": self.followed,
            "episodes stopped by the filter": self.stopped,
        }
        lines = [f"{name:41} {share}" for name, share in rows.items() if share.trials]
        if self.limited.trials:
            share = f"{self.limited.value:.1%} of {self.limited.trials} actions"
            lines.append(f"{'limited by the filter':41} {share}")
        if self.real_time_factor is not None:
            pace = f"{self.real_time_factor:.2f} simulated seconds in a real one"
            lines.append(f"{'pace':41} {pace}")
        return "\n  ".join([f"{self.setting}: {self.success}", *lines])

    def _swapped(self) -> list[list[EpisodeScore]]:
        """The episodes of each scene that was run with more than one instruction."""
        scenes: dict[int, list[EpisodeScore]] = {}
        for episode in self.episodes:
            scenes.setdefault(episode.seed, []).append(episode)
        return [scene for scene in scenes.values() if len({e.instruction for e in scene}) > 1]
