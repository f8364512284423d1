"""Compares a bundle's graphs with reference cases, and with one another over an episode."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from octo_ros.engine.backend import Backend
from octo_ros.engine.graphs import (
    LANGUAGE,
    POLICY,
    STEP,
    TIMESTEP_MASK,
    noise_tensors,
    observation_tensors,
    task_tensors,
)
from octo_ros.engine.manifest import Manifest
from octo_ros.engine.network import Network, StagedNetwork, WholeNetwork
from octo_ros.errors import CaseError, ObservationError
from octo_ros.policy.inputs import network_inputs, noise_inputs
from octo_ros.verify.cases import Case, at_case, read_case

TOLERANCES: Mapping[str, float] = {
    "language_tokens": 1e-4,
    "task_tokens": 1e-4,
    "readout": 1e-4,
    "actions": 2e-3,
}
"""Largest absolute error allowed in float32, by output. Of actions only those that do not saturate
count, since a clip hides an error or jumps."""

AGAINST_FLOAT = "int8 against float32"
"""Key of a manifest's `checks`: what `quantize` measured."""

EPISODE_STEPS = 8
EPISODE = f"episode of {EPISODE_STEPS} steps"


@dataclass(frozen=True)
class Check:
    """One comparison.

    Attributes:
        case: what was run.
        compared: what with what ("whole graph against reference").
        output: the output that was compared.
        error: largest absolute difference.
        tolerance: largest allowed.
    """

    case: str
    compared: str
    output: str
    error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the error is within its tolerance; NaN is not."""
        return self.error <= self.tolerance


def check_bundle(
    backend: Backend, cases: Sequence[Path] = (), tolerances: Mapping[str, float] | None = None
) -> Iterator[Check]:
    """Every check of a bundle: each case, then the stages against the whole graph.

    Args:
        backend: of the bundle.
        cases: npz files of reference cases.
        tolerances: by output, in place of `usual_tolerances`.

    Raises:
        CaseError: a case that cannot be read or is of another checkpoint.
        BundleError: a graph that fails.
    """
    allowed = {**usual_tolerances(backend.manifest), **(tolerances or {})}
    read = [(path, read_case(path, backend.manifest)) for path in cases]
    for path, case in read:
        try:
            inputs = case_inputs(backend, case)
        except ObservationError as error:
            raise at_case(str(path), error) from error
        yield from _check_case(backend, case, inputs, allowed)
    if STEP in backend.manifest.graphs:
        yield from check_episode(backend, allowed)


def usual_tolerances(manifest: Manifest) -> dict[str, float]:
    """`TOLERANCES`; for an int8 bundle twice what its quantization was measured to change."""
    measured = manifest.checks.get(AGAINST_FLOAT)
    if measured is None:
        return dict(TOLERANCES)
    readout, actions = (2 * measured[name] for name in ("readout", "actions"))
    return {**TOLERANCES, "readout": readout, "task_tokens": readout, "actions": actions}


def case_inputs(backend: Backend, case: Case) -> dict[str, np.ndarray]:
    """Inputs of the graph "policy" for a case.

    Raises:
        ObservationError: the case does not fit the bundle.
    """
    manifest, encode = backend.manifest, partial(backend.run_once, LANGUAGE)
    inputs = network_inputs(manifest, case.observations, case.task, case.timestep_pad_mask, encode)
    if case.noise is not None:
        inputs |= noise_inputs(manifest, case.noise)
    return inputs


def _check_case(
    backend: Backend, case: Case, inputs: Mapping[str, np.ndarray], allowed: Mapping[str, float]
) -> Iterator[Check]:
    whole = backend.run(POLICY, inputs)
    for name in sorted(set(case.answers) - set(whole)):
        raise CaseError(f"{case.name}: {name}: this bundle gives none")
    given = {name: whole[name] for name in case.answers}
    yield from compare(case.name, "whole graph against reference", case.answers, given, backend, allowed)
    seen = case.timestep_pad_mask[0]
    if STEP not in backend.manifest.graphs or not seen[-1] or (np.diff(seen.astype(int)) < 0).any():
        return  # a robot's history has padding at its front alone
    network = StagedNetwork(backend)
    network.set_task({name: inputs[name] for name in task_tensors(backend.manifest, 0)})
    noise = {name: inputs[name] for name in noise_tensors(backend.manifest, 1)}
    answer = network.infer(split_timesteps(backend.manifest, inputs), noise)
    newest = {"actions": case.answers["actions"]}
    if "readout" in case.answers:
        newest["readout"] = case.answers["readout"][:, -1:]
    given = {name: answer[name] for name in newest}
    yield from compare(case.name, "stages against reference", newest, given, backend, allowed)


def split_timesteps(manifest: Manifest, inputs: Mapping[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """The real timesteps among the inputs of "policy", oldest first, each as a network takes it."""
    names = observation_tensors(manifest, 1)
    seen = inputs[TIMESTEP_MASK][0]
    return [{name: inputs[name][:, t : t + 1] for name in names} for t in np.flatnonzero(seen)]


def check_episode(
    backend: Backend, allowed: Mapping[str, float] = TOLERANCES, seed: int = 0
) -> Iterator[Check]:
    """The stages against the whole graph, over a made-up episode.

    It begins with padding, loses each camera for a step where there is more than one, changes its task
    in the middle, and leaves a frame without an action, as a policy that plays several actions of a
    chunk does.
    """
    manifest, rng = backend.manifest, np.random.default_rng(seed)
    networks: tuple[Network, ...] = (WholeNetwork(backend), StagedNetwork(backend))
    lost = dict(enumerate(manifest.cameras, start=2)) if len(manifest.cameras) > 1 else {}
    timesteps: list[dict[str, np.ndarray]] = []
    answers: list[list[Mapping[str, np.ndarray]]] = [[], []]
    for index in range(EPISODE_STEPS):
        if index in (0, EPISODE_STEPS // 2):
            task = random_task(backend, rng)
            for network in networks:
                network.set_task(task)
        timesteps.append(random_timestep(manifest, rng, lost.get(index)))
        timesteps = timesteps[-manifest.window :]
        if index == EPISODE_STEPS - 2:
            continue
        noise = random_noise(manifest, rng)
        for network, got in zip(networks, answers, strict=True):
            got.append(network.infer(timesteps, noise))
            if index % 2:
                network.prepare(timesteps)
    whole, staged = (
        {name: np.concatenate([answer[name] for answer in got]) for name in ("readout", "actions")}
        for got in answers
    )
    yield from compare(EPISODE, "stages against whole graph", whole, staged, backend, allowed)


def random_timestep(manifest: Manifest, rng: np.random.Generator, lost: str | None) -> dict[str, np.ndarray]:
    """Noise in place of frames; the lost camera's are zeros, and masked."""
    timestep = {}
    for name, tensor in observation_tensors(manifest, 1).items():
        if name.startswith("pad_mask_"):
            timestep[name] = np.full(tensor.shape, name != f"pad_mask_image_{lost}")
        elif tensor.dtype == "uint8":
            frame = rng.integers(0, 256, tensor.shape, dtype=np.uint8)
            timestep[name] = frame * np.uint8(name != f"image_{lost}")
        else:
            timestep[name] = rng.standard_normal(tensor.shape, dtype=np.float32)
    return timestep


def random_task(backend: Backend, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Noise in place of goals, an instruction of random tokens."""
    manifest = backend.manifest
    task: dict[str, Any] = {}
    if manifest.language is not None:
        shape = (1, manifest.language.max_tokens)
        ids = rng.integers(1, manifest.language.vocab_size, shape)
        tokens = {"input_ids": ids, "attention_mask": np.ones(shape, np.int64)}
        task |= backend.run_once(LANGUAGE, tokens)
    width = task["language_tokens"].shape[-1] if task else 0
    for name, tensor in task_tensors(manifest, width).items():
        if name.startswith("pad_mask_"):
            task[name] = np.ones(tensor.shape, bool)
        elif tensor.dtype == "uint8":
            task[name] = rng.integers(0, 256, tensor.shape, dtype=np.uint8)
        elif name not in task:
            task[name] = rng.standard_normal(tensor.shape, dtype=np.float32)
    return task


def random_noise(manifest: Manifest, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Noise of a window."""
    return {
        name: rng.standard_normal(tensor.shape, dtype=np.float32)
        for name, tensor in noise_tensors(manifest, manifest.window).items()
    }


def compare(
    case: str,
    compared: str,
    expected: Mapping[str, np.ndarray],
    got: Mapping[str, np.ndarray],
    backend: Backend,
    allowed: Mapping[str, float],
) -> Iterator[Check]:
    """A check of each output; infinite where shapes differ, none of actions that all saturate.

    What is not a number does not saturate, on either side: it fails.
    """
    for name in sorted(expected, reverse=True):
        right, answer = expected[name], got[name]
        if right.shape != answer.shape:
            yield Check(case, compared, name, float("inf"), allowed[name])
            continue
        difference = np.abs(right - answer)
        bound = backend.manifest.head.max_action
        if name == "actions" and bound is not None:
            difference = difference[~(np.abs(right) >= bound * (1 - 1e-5))]
        if difference.size:
            yield Check(case, compared, name, float(difference.max()), allowed[name])
