"""A batch for every training step.

It depends on the seed and the step alone, so that a run can go on anywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from octo_ros.errors import ParameterError
from octo_ros.model.inputs import (
    INSTRUCTION,
    PROPRIO,
    TIMESTEP_MASK,
    Inputs,
    goal_name,
    pad_mask_name,
)
from octo_ros.policy.instruction import Tokens
from octo_ros.policy.normalization import Statistics, normalize, normalize_proprio
from octo_ros.train.augment import Augmentation, Change, apply_change, draw_change
from octo_ros.train.episodes import PreparedEpisode
from octo_ros.train.windows import PAST_GOAL, Window, draw_goal, window_at
from octo_ros.types import ACTION_AXES

ORDER, SAMPLES, DRAWS = range(3)
"""What random numbers are for; each use has a stream of its own."""

INPUT_IDS, ATTENTION_MASK = "input_ids", "attention_mask"
_GRIPPER = ACTION_AXES.index("gripper")


@dataclass(frozen=True)
class SampleOptions:
    """How samples are made.

    Attributes:
        keep_image: probability that a sample keeps its goal images and loses its words, where the model
            takes both; else it keeps the words.
        past_goal: see `octo_ros.train.windows.PAST_GOAL`.
        augmentations: camera to its random changes, where a camera left out is not changed; None for the
            official ones of every camera.
        first_word: the first `first_steps` steps learn from instructions with this word alone. A model that
            can do one thing finds out what words are for many times sooner than one that can do none.
        first_steps: see `first_word`.
    """

    keep_image: float = 0.5
    past_goal: str = "mask"
    augmentations: Mapping[str, Augmentation] | None = None
    first_word: str = ""
    first_steps: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.keep_image <= 1:
            raise ParameterError(f"keep_image: expected a probability, got {self.keep_image}")
        if self.first_steps < 0 or bool(self.first_word) != bool(self.first_steps):
            got = f"{self.first_word!r} and {self.first_steps}"
            raise ParameterError(f"first: expected a word and a number of steps, got {got}")
        if self.past_goal not in PAST_GOAL:
            raise ParameterError(f"past_goal: expected one of {PAST_GOAL}, got {self.past_goal!r}")


@dataclass(frozen=True)
class Batch:
    """Samples of one step.

    Attributes:
        inputs: what the model reads, under the names of the graph "policy", and `input_ids` and
            `attention_mask` (B, L) int64 of the instruction in place of its tokens.
        actions: (B, window, horizon, 7) float32, normalized.
        action_pad_mask: (B, window, horizon, 7) bool, False where an action is left out of the loss.
    """

    inputs: Mapping[str, np.ndarray]
    actions: np.ndarray
    action_pad_mask: np.ndarray


class Batches:
    """All samples of some episodes, in a new order each time round.

    Samples that show the same pictures follow one another, and so come in one batch: what tells them apart,
    the words, is then most of the gradient.

    Args:
        episodes: with frames of the network's size.
        inputs: what the model reads.
        horizon: actions of a chunk.
        action: statistics of the actions.
        proprio: statistics of the state, None where the model reads none.
        encode: an instruction, perhaps empty, to its tokens; None where the model reads no words.
        options: how samples are made.
        size: samples of a batch.
        seed: of every random choice.
    """

    def __init__(
        self,
        episodes: Sequence[PreparedEpisode],
        inputs: Inputs,
        horizon: int,
        action: Statistics,
        proprio: Statistics | None,
        encode: Callable[[str], Tokens] | None,
        options: SampleOptions,
        size: int,
        seed: int,
    ):
        if size < 1:
            raise ParameterError(f"batch: expected at least 1, got {size}")
        self.episodes = episodes
        self.size = size
        self._inputs, self._horizon, self._options, self._seed = inputs, horizon, options, seed
        self._places = [
            (index, step) for index, episode in enumerate(episodes) for step in range(episode.steps)
        ]
        self._alike = _alike(episodes, self._places)
        self._first = [first for group in self._alike if len(first := self._with_first_word(group))]
        if options.first_steps and not self._first:
            raise ParameterError(f"first: no instruction has the word {options.first_word!r}")
        self._orders: dict[tuple[bool, int], np.ndarray] = {}
        self._actions = [normalize(episode.action, action).astype(np.float32) for episode in episodes]
        self._still = normalize(np.zeros(len(ACTION_AXES)), action).astype(np.float32)
        self._states = None
        if proprio is not None:
            self._states = [normalize_proprio(episode.state, proprio) for episode in episodes]
        self._words: dict[str, Tokens] = {}
        if encode is not None:
            sentences = {"", *(episode.instruction for episode in episodes)}
            self._words = {sentence: encode(sentence) for sentence in sorted(sentences)}
        self._cameras = [key.removeprefix("image_") for key in inputs.images]

    def __len__(self) -> int:
        """Samples there are."""
        return len(self._places)

    def at(self, step: int) -> Batch:
        """The batch of a training step."""
        numbers = range(step * self.size, (step + 1) * self.size)
        alone = step < self._options.first_steps
        count = sum(len(group) for group in self._first) if alone else len(self)
        orders = {turn: self._order(alone, turn) for turn in {number // count for number in numbers}}
        chosen = [orders[number // count][number % count] for number in numbers]
        return _stacked(
            [
                self.sample(*self._places[place], self._random(SAMPLES, number))
                for number, place in zip(numbers, chosen, strict=True)
            ]
        )

    def draws(self, step: int) -> np.random.Generator:
        """Random numbers for the loss of a training step."""
        return self._random(DRAWS, step)

    def plain(self, places: Sequence[int]) -> Batch:
        """Samples by their number, unchanged and with their words: for validation."""
        return _stacked([self.sample(*self._places[place], None) for place in places])

    def true_actions(self, places: Sequence[int]) -> np.ndarray:
        """The chunks that follow those samples, (B, horizon, 7) in metres, radians and the gripper."""
        chunks = []
        for place in places:
            index, step = self._places[place]
            episode = self.episodes[index]
            chunks.append(episode.action[np.minimum(step + np.arange(self._horizon), episode.steps - 1)])
        return np.stack(chunks)

    def sample(self, index: int, step: int, rng: np.random.Generator | None) -> Batch:
        """One sample, with a batch axis of 1.

        Args:
            index: of the episode.
            step: the newest.
            rng: of every random choice; None for a sample unchanged, with its words where it has any.
        """
        episode = self.episodes[index]
        goal, keeps_image, keeps_words = self._task(episode, step, rng)
        window = window_at(
            step, episode.steps, self._inputs.window, self._horizon,
            goal if keeps_image else None, self._options.past_goal,
        )  # fmt: skip
        arrays: dict[str, Any] = {TIMESTEP_MASK: window.timestep_pad_mask}
        seen = np.ones(self._inputs.window, dtype=bool)
        for camera in self._cameras:
            key = f"image_{camera}"
            change = None
            augmentation = (self._options.augmentations or {}).get(camera)
            if rng is not None and augmentation is not None:
                change = draw_change(augmentation, rng)
            frames = episode.cameras[camera]
            arrays[key], arrays[pad_mask_name(key)] = _changed(frames, window.history, change), seen
            if key in self._inputs.goals:
                image = np.zeros_like(frames[0])
                if keeps_image:
                    image = frames[goal] if change is None else apply_change(frames[goal], change)
                arrays[goal_name(key)] = image
        if self._states is not None:
            arrays[PROPRIO] = self._states[index][window.history]
            arrays[pad_mask_name(PROPRIO)] = seen
        if self._words:
            tokens = self._words[episode.instruction if keeps_words else ""]
            arrays[INPUT_IDS], arrays[ATTENTION_MASK] = tokens.input_ids[0], tokens.attention_mask[0]
            arrays[pad_mask_name(INSTRUCTION)] = np.array(keeps_words)
        counted = np.broadcast_to(window.action_pad_mask[..., None], (*window.chunks.shape, len(ACTION_AXES)))
        return Batch(
            {name: array[None] for name, array in arrays.items()},
            self._chunks(index, window)[None],
            counted[None],
        )

    def _task(
        self, episode: PreparedEpisode, step: int, rng: np.random.Generator | None
    ) -> tuple[int, bool, bool]:
        """Step of the goal, and whether the sample keeps goal images and words."""
        has_words = bool(self._words and episode.instruction)
        if rng is None:
            return episode.steps - 1, bool(self._inputs.goals) and not has_words, has_words
        goal, share = draw_goal(step, episode.steps, rng.uniform()), rng.uniform()
        if not self._inputs.goals:
            return episode.steps - 1, False, has_words
        keeps_image = not has_words or share < self._options.keep_image
        return goal, keeps_image, has_words and not keeps_image

    def _chunks(self, index: int, window: Window) -> np.ndarray:
        actions = self._actions[index][window.chunks]  # (window, horizon, 7)
        if window.held.any():
            still = np.broadcast_to(self._still, actions.shape).copy()
            still[..., _GRIPPER] = actions[..., _GRIPPER]
            actions = np.where(window.held[..., None], still, actions)
        return actions

    def _with_first_word(self, group: np.ndarray) -> np.ndarray:
        """Of some samples those with the first word."""
        words = [self.episodes[self._places[number][0]].instruction.split() for number in group]
        return group[[self._options.first_word in sentence for sentence in words]]

    def _order(self, alone: bool, turn: int) -> np.ndarray:
        """Numbers of all samples, or of those with the first word alone, in the order of a time round."""
        if (alone, turn) not in self._orders:
            groups = self._first if alone else self._alike
            order = self._random(ORDER, turn).permutation(len(groups))
            last = {key: kept for key, kept in self._orders.items() if key == (alone, turn - 1)}
            self._orders = {**last, (alone, turn): np.concatenate([groups[group] for group in order])}
        return self._orders[alone, turn]

    def _random(self, use: int, number: int) -> np.random.Generator:
        return np.random.default_rng((self._seed, use, number))


def in_order(batches: Batches, first: int, last: int, workers: int) -> Iterator[Batch]:
    """The batches of steps `first` to `last` - 1, prepared ahead by threads, the same ones however many."""
    if workers < 1:
        yield from (batches.at(step) for step in range(first, last))
        return
    with ThreadPoolExecutor(workers) as pool:
        ahead = min(first + 2 * workers, last)
        waiting = [pool.submit(batches.at, step) for step in range(first, ahead)]
        try:
            while waiting:
                batch = waiting.pop(0).result()
                if ahead < last:
                    waiting.append(pool.submit(batches.at, ahead))
                    ahead += 1
                yield batch
        finally:
            for future in waiting:
                future.cancel()


def _alike(episodes: Sequence[PreparedEpisode], places: Sequence[tuple[int, int]]) -> list[np.ndarray]:
    """Numbers of the samples, those that show the same pictures together, in order of the first of each."""
    groups: dict[bytes, list[int]] = {}
    for number, (index, step) in enumerate(places):
        digest = hashlib.blake2b(digest_size=16)
        for _, frames in sorted(episodes[index].cameras.items()):
            digest.update(frames[step])
        groups.setdefault(digest.digest(), []).append(number)
    return [np.array(group) for group in groups.values()]


def _changed(frames: np.ndarray, history: np.ndarray, change: Change | None) -> np.ndarray:
    """The frames of a history; one that appears again is changed once."""
    if change is None:
        return frames[history]
    made = {step: apply_change(frames[step], change) for step in {int(step) for step in history}}
    return np.stack([made[int(step)] for step in history])


def _stacked(samples: Sequence[Batch]) -> Batch:
    names = samples[0].inputs
    return Batch(
        {name: np.concatenate([sample.inputs[name] for sample in samples]) for name in names},
        np.concatenate([sample.actions for sample in samples]),
        np.concatenate([sample.action_pad_mask for sample in samples]),
    )
