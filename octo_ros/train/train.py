"""From episodes to a checkpoint: everything that a run needs, put together."""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from octo_ros.errors import CheckpointError, ParameterError
from octo_ros.export.checkpoint import read_checkpoint
from octo_ros.export.save import write_metadata
from octo_ros.export.tokenizer import vocabulary_size
from octo_ros.model.inputs import INSTRUCTION, PROPRIO, TIMESTEP_MASK, goal_name, pad_mask_name
from octo_ros.policy.normalization import Statistics
from octo_ros.train.augment import PRIMARY, WRIST
from octo_ros.train.batches import ATTENTION_MASK, INPUT_IDS, Batches, SampleOptions
from octo_ros.train.device import find_device
from octo_ros.train.distill import Teacher
from octo_ros.train.episodes import TrainingDataError, TrainingEpisode, prepare_episodes
from octo_ros.train.options import TrainOptions
from octo_ros.train.run import TRAINING, Progress, Run, Trained
from octo_ros.train.sizes import ModelSize
from octo_ros.train.start import Start, Wishes, from_checkpoint, from_scratch
from octo_ros.train.state import FILE as STATE
from octo_ros.train.statistics import choose_statistics, data_statistics, vector_statistics
from octo_ros.train.words import FILE, FOLDER, learn_words, small_t5, write_t5_config
from octo_ros.types import ACTION_AXES

HELD_OUT = 20
"""Of so many episodes one is held out to look at, where no others are given."""


@dataclass(frozen=True)
class Scratch:
    """A model from scratch.

    Attributes:
        size: of the model.
        cameras: to read; None for all that the first episode has.
        window: steps of history.
        horizon: actions of a chunk.
        head: by a short name of `sizes.HEADS`.
        proprio: whether it reads the state.
    """

    size: ModelSize
    cameras: tuple[str, ...] | None = None
    window: int = 2
    horizon: int = 4
    head: str = "diffusion"
    proprio: bool = False


@dataclass(frozen=True)
class FineTune:
    """A model from an official checkpoint's folder.

    Attributes:
        checkpoint: the folder.
        step: of its weights, None for the latest.
        wishes: what to change.
        tokenizer: its tokenizer's file or folder, None to look for it.
        distill: whether a head of one pass, wished for, learns from the checkpoint's diffusion head what it
            would sample. Scaling is then by the checkpoint's statistics, unless others are given.
    """

    checkpoint: Path
    step: int | None = None
    wishes: Wishes = Wishes()
    tokenizer: Path | None = None
    distill: bool = False


@dataclass(frozen=True)
class Outcome:
    """What `train` gives.

    Attributes:
        trained: the run's end.
        parameters: weights of the model, the language encoder's counted.
        trainable: those that were trained.
        new: official names of weights that a fine-tuning drew anew.
        left: official names of its checkpoint's weights that had no place.
        words: the tokenizer's file to export with, None where the model reads no words.
        held_out: episodes that were held out to look at; 0 where training ones were looked at.
    """

    trained: Trained
    parameters: int
    trainable: int
    new: tuple[str, ...]
    left: tuple[str, ...]
    words: Path | None
    held_out: int


def train(
    episodes: Sequence[TrainingEpisode],
    folder: str | Path,
    model: Scratch | FineTune,
    options: TrainOptions,
    *,
    name: str = "data",
    validation: Sequence[TrainingEpisode] | None = None,
    statistics: Mapping[str, Any] | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Trains a model and leaves it in a folder in the official checkpoint layout.

    Args:
        episodes: to train on.
        folder: to write; must not exist or be empty, unless `resume`.
        model: to begin with.
        options: of the run.
        name: of the data set, for its statistics.
        validation: episodes to look at; None holds one in 20 out, from the last.
        statistics: content of a dataset_statistics.json to scale by; None takes the data's own.
        resume: go on with the run in the folder from its last saved step, if it has one.
        progress: called as (what, steps done, steps).

    Raises:
        TrainingDataError: episodes that cannot be trained on, or a loss that is not finite.
        CheckpointError: a checkpoint or tokenizer that cannot be used, or a folder that cannot be written.
        StatisticsError: statistics that lack the data set, or do not fit.
        ParameterError: options that do not fit the model or the run that is to be resumed.
    """
    folder = Path(folder)
    _check_folder(folder, resume)
    if not episodes:
        raise TrainingDataError("data: expected at least one episode, got none")
    if validation is None:
        held = len(episodes) // HELD_OUT
        episodes, validation = episodes[: len(episodes) - held], episodes[len(episodes) - held :]
    with tempfile.TemporaryDirectory() as temporary:
        words = folder / FOLDER if (folder / FOLDER).is_dir() else Path(temporary) / FOLDER
        teacher = None
        if isinstance(model, FineTune):
            checkpoint = read_checkpoint(model.checkpoint, model.step)
            start = from_checkpoint(
                checkpoint, model.wishes, _state_size(episodes), model.tokenizer, options.seed
            )
            if model.distill:
                teacher = Teacher(checkpoint, start, find_device(options.device))
                statistics = checkpoint.statistics if statistics is None else statistics
            del checkpoint  # the weights are in the models
        else:
            start = _from_scratch(model, episodes, words, options.seed)
        run, entry = _run(start, episodes, validation, folder, options, name, statistics, teacher, progress)
        done = run.resume() if resume and (folder / TRAINING / STATE).is_file() else 0
        (folder / TRAINING).mkdir(parents=True, exist_ok=True)
        if not done:
            example = official_example(run.batches.plain([0]).inputs, start)
            write_metadata(folder, start.official, {name: entry}, example)
            if (
                start.words is not None
                and start.words.parent.name == FOLDER
                and not (folder / FOLDER).is_dir()
            ):
                shutil.copytree(start.words.parent, folder / FOLDER)
    trained = run.train(done, progress)
    sizes = {key: parameter.numel() for key, parameter in start.model.named_parameters()}
    own_words = folder / FOLDER / FILE
    return Outcome(
        trained,
        sum(sizes.values()),
        sum(size for key, size in sizes.items() if key not in run.frozen),
        start.new,
        start.left,
        own_words if own_words.is_file() else start.words,
        len(validation),
    )


def _run(
    start: Start,
    episodes: Sequence[TrainingEpisode],
    validation: Sequence[TrainingEpisode],
    folder: Path,
    options: TrainOptions,
    name: str,
    statistics: Mapping[str, Any] | None,
    teacher: Teacher | None,
    progress: Progress | None,
) -> tuple[Run, dict[str, Any]]:
    """The run before its first step, and its data set's statistics."""
    own = data_statistics(prepare_episodes(episodes, {}, start.inputs.proprio_size is not None))
    where = "data" if statistics is None else "statistics"
    entry = own if statistics is None else choose_statistics(statistics, name, where)
    action = vector_statistics(entry, "action", len(ACTION_AXES), f"{where}: {name}")
    proprio = None
    if start.inputs.proprio_size is not None:
        proprio = vector_statistics(entry, "proprio", start.inputs.proprio_size, f"{where}: {name}")
    options = dataclasses.replace(options, samples=_augmented(options.samples, start))
    batches = _batches(start, episodes, action, proprio, options, progress)
    looked_at = batches
    if validation:
        looked_at = _batches(start, validation, action, proprio, options, progress)
    facts = {
        "model": json.loads(json.dumps(start.official)),
        "transitions": len(batches),
        "distilled": teacher is not None,
        "statistics": json.loads(json.dumps(entry)),
    }
    return Run(start, batches, looked_at, action, options, folder, facts, teacher), entry


def official_example(inputs: Mapping[str, np.ndarray], start: Start) -> dict[str, Any]:
    """A batch's inputs as the content of example_batch.msgpack, only the first of the batch."""
    arrays = {name: array[:1] for name, array in inputs.items()}
    observation: dict[str, Any] = {key: arrays[key] for key in start.inputs.images}
    if PROPRIO in arrays:
        observation[PROPRIO] = arrays[PROPRIO]
    seen = arrays[TIMESTEP_MASK]
    observation["timestep"] = np.arange(seen.shape[1], dtype=np.int32)[None]
    observation["pad_mask_dict"] = {
        key: arrays.get(pad_mask_name(key), np.ones_like(seen)) for key in observation
    }
    observation[TIMESTEP_MASK] = seen
    task: dict[str, Any] = {key: arrays[goal_name(key)] for key in start.inputs.goals}
    masks = {key: np.array([bool(task[key].any())]) for key in task}
    if INPUT_IDS in arrays:
        task[INSTRUCTION] = {name: arrays[name] for name in (INPUT_IDS, ATTENTION_MASK)}
        masks[INSTRUCTION] = arrays[pad_mask_name(INSTRUCTION)]
    task["pad_mask_dict"] = masks
    return {"observation": observation, "task": task}


def _from_scratch(
    model: Scratch, episodes: Sequence[TrainingEpisode], words_folder: Path, seed: int
) -> Start:
    first, state_size = episodes[0], _state_size(episodes)
    cameras = tuple(sorted(first.cameras)) if model.cameras is None else model.cameras
    if not cameras:
        raise TrainingDataError("episode 0: no camera")
    if model.proprio and state_size is None:
        raise TrainingDataError("episode 0: state: there is none, and the model is to read it")
    words, size = None, 0
    sentences = [episode.instruction.strip() for episode in episodes]
    if any(sentences):
        words = words_folder / FILE
        if not words.is_file():
            words_folder.mkdir(parents=True, exist_ok=True)
            write_t5_config(small_t5(learn_words(sentences, words_folder)), words_folder)
        size = vocabulary_size(words)
    return from_scratch(
        model.size, cameras, model.window, model.horizon, model.head,
        state_size if model.proprio else None, words, size, seed,
    )  # fmt: skip


def _batches(
    start: Start,
    episodes: Sequence[TrainingEpisode],
    action: Statistics,
    proprio: Statistics | None,
    options: TrainOptions,
    progress: Progress | None,
) -> Batches:
    sizes = {key.removeprefix("image_"): size for key, size in start.inputs.images.items()}
    prepared = prepare_episodes(episodes, sizes, proprio is not None, progress)
    horizon = start.config.head.action_horizon
    return Batches(
        prepared, start.inputs, horizon, action, proprio, start.encoder(), options.samples,
        options.batch, options.seed,
    )  # fmt: skip


def _augmented(samples: SampleOptions, start: Start) -> SampleOptions:
    """The options with the official changes for every camera, where they name none."""
    if samples.augmentations is not None:
        return samples
    cameras = [key.removeprefix("image_") for key in start.inputs.images]
    changes = {camera: WRIST if camera.startswith("wrist") else PRIMARY for camera in cameras}
    return dataclasses.replace(samples, augmentations=changes)


def _state_size(episodes: Sequence[TrainingEpisode]) -> int | None:
    state = episodes[0].state
    return None if state is None else int(np.asarray(state).shape[-1])


def _check_folder(folder: Path, resume: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise CheckpointError(f"{folder}: expected a folder, got a file")
    full = folder.is_dir() and any(folder.iterdir())
    if resume and full and not (folder / TRAINING).is_dir():
        raise ParameterError(f"{folder}: holds no run to resume: it has no folder {TRAINING}")
    if full and not resume:
        raise ParameterError(
            f"{folder}: expected a folder that does not exist yet or is empty; to go on with the run in it "
            "give --resume"
        )
