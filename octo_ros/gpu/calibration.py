"""Steps of a robot by which a precision is calibrated and judged: frames, words, and the same noise for all.

`read_calibration` takes them from a recording, a bounded number chosen by a seed. What the graphs between
are given is not kept, it would be gigabytes: `graph_inputs` runs the float32 bundle over the steps again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from octo_ros.engine.graphs import POLICY
from octo_ros.engine.manifest import Manifest
from octo_ros.engine.network import Network, WholeNetwork, make_network
from octo_ros.engine.onnx import OnnxBackend
from octo_ros.errors import BundleError, ParameterError
from octo_ros.policy.inputs import goal_inputs, language_inputs
from octo_ros.policy.instruction import Tokens, no_instruction
from octo_ros.policy.noise import draw_noise, generator
from octo_ros.verify.checks import random_timestep

STEPS = 200
"""Steps taken unless told otherwise."""


@dataclass(frozen=True, eq=False)
class Asked:
    """A task, as a network is given it.

    Attributes:
        instruction: for people, "" where there are no words.
        tokens: of the instruction, None where the words are masked.
        goals: "image_<camera>" (1, H, W, 3) uint8, prepared.
    """

    instruction: str = ""
    tokens: Tokens | None = None
    goals: Mapping[str, np.ndarray] = field(default_factory=dict)

    def inputs(self, network: Network) -> dict[str, np.ndarray]:
        """What `Network.set_task` takes; the words go through the network's own text encoder."""
        manifest = network.manifest
        inputs = goal_inputs(manifest, self.goals)
        if manifest.language is not None:
            tokens = self.tokens or no_instruction(manifest.language.max_tokens)
            given = np.array([self.tokens is not None])
            inputs |= language_inputs(tokens, given, network.encode_language)
        return inputs


@dataclass(frozen=True, eq=False)
class Step:
    """One inference: its task, and up to `window` timesteps as `Network.infer` takes them, oldest first."""

    task: Asked
    timesteps: tuple[Mapping[str, np.ndarray], ...]


@dataclass(frozen=True, eq=False)
class Calibration:
    """Steps of a robot, bounded and chosen by a seed.

    Attributes:
        source: where they come from, for people.
        steps: those of one task follow one another.
        seed: of the choice and of the noise.
        notes: what a person should know of them, such as cameras that were masked.
    """

    source: str
    steps: tuple[Step, ...]
    seed: int = 0
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Number of steps."""
        return len(self.steps)

    def split(self) -> tuple[Calibration, Calibration]:
        """Every other step, and the rest: to calibrate with the one and judge by the other.

        Raises:
            ParameterError: fewer than two steps.
        """
        if len(self) < 2:
            raise ParameterError(f"{self.source}: expected at least two steps to split, got {len(self)}")
        return replace(self, steps=self.steps[::2]), replace(self, steps=self.steps[1::2])


def read_calibration(
    source: str | Path,
    bundle: str | Path,
    manifest: Manifest,
    *,
    steps: int = STEPS,
    seed: int = 0,
    names: Mapping[str, str] | None = None,
    instruction: str | None = None,
    dataset: str | None = None,
    rate_hz: float = 10.0,
) -> Calibration:
    """Steps out of a recording.

    Args:
        source: a rosbag2, or a folder with an RLDS data set (dataset_info.json in it or below).
        bundle: folder of the bundle, for its tokenizer.
        manifest: of the bundle.
        steps: at most so many, fewer where the recording has fewer.
        seed: of their choice, and of the noise.
        names: of a bag, camera or input to topic, as `replay` takes them; of a data set, camera to
            feature. None for the usual names.
        instruction: words in place of the recording's.
        dataset: whose statistics scale proprioception, as in `ActOptions`; only a data set's is read.
        rate_hz: of the policy; a bag's frames that come faster are passed over [Hz].

    Raises:
        ParameterError: fewer than one step, or a source that is neither a bag nor a data set.
        BagError, DatasetError: the recording cannot be read, or has no camera of the bundle.
        BundleError: it holds no step, or words for a bundle whose tokenizer cannot be read.
        ObservationError, StatisticsError: proprioception that does not fit the bundle.
    """
    from octo_ros.gpu.recorded import Reading, is_bag, is_dataset, read_bag, read_dataset

    if steps < 1:
        raise ParameterError(f"steps: expected at least 1, got {steps}")
    path = Path(source)
    reading = Reading(Path(bundle), manifest, steps, seed, names or {}, instruction, dataset, rate_hz)
    if is_bag(path):
        taken = read_bag(path, reading)
    elif is_dataset(path):
        taken = read_dataset(path, reading)
    else:
        raise ParameterError(
            f"{path}: expected a rosbag2, or a folder with an RLDS data set: dataset_info.json in it or up "
            "to two folders below"
        )
    if not taken:
        raise BundleError(
            f"{path}: no step to calibrate with: it has no set of frames with a task; is it a recording of "
            "the robot, with an instruction before the frames?"
        )
    return Calibration(str(path), tuple(taken), seed, tuple(reading.notes))


def random_calibration(manifest: Manifest, *, steps: int = STEPS, seed: int = 0) -> Calibration:
    """Noise in place of frames and words: it shows that graphs run, and judges no precision.

    A task of its own every eighth step; the first step of each has padding before it.
    """
    rng = np.random.default_rng(seed)
    taken: list[Step] = []
    for index in range(steps):
        if index % 8 == 0:
            task, timesteps = _random_task(manifest, rng), []
        timesteps = [*timesteps, random_timestep(manifest, rng, None)][-manifest.window :]
        taken.append(Step(task, tuple(timesteps)))
    return Calibration(f"random numbers, seed {seed}", tuple(taken), seed, ("frames and words are noise",))


def run_steps(network: Network, calibration: Calibration) -> Iterator[dict[str, np.ndarray]]:
    """A network's answers to every step, in order; the noise is the same for every network."""
    noise = generator(calibration.seed)
    task: Asked | None = None
    for step in calibration.steps:
        if step.task is not task:
            task = step.task
            network.set_task(task.inputs(network))
        yield network.infer(step.timesteps, draw_noise(network.manifest, noise))


def graph_inputs(
    calibration: Calibration, bundle: Path, manifest: Manifest, graph: str
) -> Iterator[dict[str, np.ndarray]]:
    """What a graph of the float32 bundle is given at each step, one after the other.

    Raises:
        BundleError: a graph that cannot be run.
    """
    with _Recorder(bundle, manifest, graph) as backend:
        network = WholeNetwork(backend) if graph == POLICY else make_network(backend)
        for _ in run_steps(network, calibration):
            if backend.seen is not None:
                yield backend.seen
            backend.seen = None


class _Recorder(OnnxBackend):
    """Keeps the last inputs of one graph: what else `step` runs for, the tokens of a frame that no
    action was asked for, comes before them."""

    def __init__(self, directory: Path, manifest: Manifest, graph: str) -> None:
        super().__init__(directory, manifest)
        self._graph = graph
        self.seen: dict[str, np.ndarray] | None = None

    def __enter__(self) -> _Recorder:
        return self  # the graphs that are needed open themselves

    def _run_graph(self, name: str, inputs: Mapping[str, np.ndarray], outputs: list[str]) -> list[np.ndarray]:
        if name == self._graph:
            self.seen = dict(inputs)
        return super()._run_graph(name, inputs, outputs)


def _random_task(manifest: Manifest, rng: np.random.Generator) -> Asked:
    goals = {
        f"image_{name}": rng.integers(0, 256, (1, camera.height, camera.width, 3), dtype=np.uint8)
        for name, camera in manifest.cameras.items()
        if camera.takes_goal
    }
    if manifest.language is None:
        return Asked(goals=goals)
    shape = (1, manifest.language.max_tokens)
    ids = rng.integers(1, manifest.language.vocab_size, shape)
    return Asked("noise", Tokens(ids, np.ones(shape, np.int64)), goals)
