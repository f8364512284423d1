"""The network as a robot uses it: a task now and then, a timestep ten times a second.

`StagedNetwork` keeps what block-causal attention allows to keep: the task's keys and values from one
instruction to the next, the frames' from one action to the next. `WholeNetwork` computes everything
at every step. Both give the same actions.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from octo_ros.engine.backend import Backend
from octo_ros.engine.graphs import (
    HISTORY,
    LANGUAGE,
    NOISE_STEPS,
    POLICY,
    STEP,
    TASK,
    TIMESTEP_MASK,
    TOKENS,
    TOKENS_SEEN,
    past_of_task,
)

Arrays = Mapping[str, np.ndarray]


class Network(ABC):
    """One robot's network. A timestep is a dictionary of `observation_tensors(manifest, 1)`.

    Timesteps are told apart by identity: hand in the same dictionary for the same timestep, and do
    not change it.
    """

    acting: ClassVar[str]
    """The graph that runs between a frame and its action."""

    ahead: ClassVar[tuple[str, ...]] = ()
    """Graphs that run before, those that the bundle has."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.manifest = backend.manifest

    def encode_language(self, tokens: Arrays) -> dict[str, np.ndarray]:
        """Token ids and mask (1, max_tokens) int64 to "language_tokens". The text encoder is large and
        needed only here, so it is opened for the call and closed again."""
        return self.backend.run_once(LANGUAGE, tokens)

    @abstractmethod
    def set_task(self, task: Arrays) -> None:
        """Takes a new task: the tensors of `task_tensors`."""

    @abstractmethod
    def infer(self, timesteps: Sequence[Arrays], noise: Arrays) -> dict[str, np.ndarray]:
        """Actions for the newest of up to `window` timesteps, oldest first.

        Args:
            timesteps: those before them are padding.
            noise: `noise_tensors` of the whole window; the newest timestep's is used.

        Returns:
            "actions" (1, horizon, action_dim) and the newest timestep's "readout" (1, 1, n, width).
        """

    @abstractmethod
    def prepare(self, timesteps: Sequence[Arrays]) -> None:
        """Computes ahead what the next `infer` needs of these timesteps, which come before its newest."""

    def warm_up(self) -> float:
        """Opens and runs every graph that a robot needs, on zeros; how long from frame to action [s]."""
        for name in (LANGUAGE, *self.ahead):
            if name in self.manifest.graphs:
                self.backend.run_once(name, self._zeros(name))
        self.backend.run(self.acting, self._zeros(self.acting))
        started = time.perf_counter()
        self.backend.run(self.acting, self._zeros(self.acting))
        return time.perf_counter() - started

    def _zeros(self, graph: str) -> dict[str, np.ndarray]:
        inputs = self.manifest.graphs[graph].inputs
        return {name: np.zeros(tensor.shape, tensor.dtype) for name, tensor in inputs.items()}


class WholeNetwork(Network):
    """Everything at every step, by the graph "policy"."""

    acting = POLICY

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend)
        self._task: Arrays = {}
        backend.open(POLICY)

    def set_task(self, task: Arrays) -> None:
        self._task = task

    def infer(self, timesteps: Sequence[Arrays], noise: Arrays) -> dict[str, np.ndarray]:
        window, count = self.manifest.window, len(timesteps)
        padded = [timesteps[0]] * (window - count) + list(timesteps)
        inputs = {name: np.concatenate([step[name] for step in padded], axis=1) for name in timesteps[0]}
        inputs[TIMESTEP_MASK] = np.arange(window)[None] >= window - count
        outputs = self.backend.run(POLICY, {**inputs, **self._task, **noise})
        return {"actions": outputs["actions"], "readout": outputs["readout"][:, -1:]}

    def prepare(self, timesteps: Sequence[Arrays]) -> None:
        pass


class StagedNetwork(Network):
    """Task and history computed ahead, by the graphs "task", "history" and "step".

    Its answers are those of the whole graph wherever the newest timestep sees anything: one camera, or
    proprioception, or a task. (Where it sees nothing, the official attention mixes padding evenly.)
    """

    acting = STEP
    ahead = (TASK, HISTORY)

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend)
        self._step_inputs = self.manifest.graphs[STEP].inputs
        self._task: Arrays = {}
        self._past: Arrays = {}
        self._past_of: list[Arrays] | None = None
        self._blank: Arrays | None = None  # the past of an episode's first frame
        self._tokens: deque[tuple[Arrays, Arrays]] = deque(maxlen=self.manifest.window)
        backend.open(STEP, *[HISTORY] * (HISTORY in self.manifest.graphs))

    def set_task(self, task: Arrays) -> None:
        outputs = dict(task)
        if TASK in self.manifest.graphs:
            needed = self.manifest.graphs[TASK].inputs
            outputs |= self.backend.run_once(TASK, {name: task[name] for name in needed})
        self._task, self._past_of, self._blank = outputs, None, None
        self._tokens.clear()  # goal images are part of a frame's tokens
        self.prepare([])

    def infer(self, timesteps: Sequence[Arrays], noise: Arrays) -> dict[str, np.ndarray]:
        *before, newest = timesteps
        self.prepare(before)
        given = {**self._task, **self._past, **newest, **newest_noise(noise)}
        return self._step(newest, given)

    def prepare(self, timesteps: Sequence[Arrays]) -> None:
        wanted = list(timesteps)[-(self.manifest.window - 1) :] if self.manifest.window > 1 else []
        known = self._past_of
        if known is not None and [*map(id, known)] == [*map(id, wanted)]:
            return
        if not wanted and self._blank is not None:
            self._past, self._past_of = self._blank, wanted
            return
        if HISTORY not in self.manifest.graphs:
            self._past, self._past_of = past_of_task(self._task), wanted
            return
        missing = self.manifest.window - 1 - len(wanted)
        step = self.manifest.graphs[STEP].outputs
        given = {
            name: np.stack(
                [np.zeros(step[name].shape, step[name].dtype)] * missing
                + [self._tokens_of(timestep)[name] for timestep in wanted]
            )
            for name in (TOKENS, TOKENS_SEEN)
        }
        given[TIMESTEP_MASK] = np.arange(self.manifest.window - 1)[None] >= missing
        given |= self._task
        inputs = self.manifest.graphs[HISTORY].inputs
        self._past = self.backend.run(HISTORY, {name: given[name] for name in inputs})
        self._past_of = wanted
        if not wanted:
            self._blank = self._past

    def _step(self, timestep: Arrays, given: Arrays) -> dict[str, np.ndarray]:
        outputs = self.backend.run(STEP, {name: given[name] for name in self._step_inputs})
        if TOKENS in outputs:
            self._tokens.append((timestep, {name: outputs[name] for name in (TOKENS, TOKENS_SEEN)}))
        return outputs

    def _tokens_of(self, timestep: Arrays) -> Arrays:
        """Tokens of a timestep; of one that no action was asked for they are computed now."""
        for seen, tokens in self._tokens:
            if seen is timestep:
                return tokens
        self._step(timestep, {**self._zeros(STEP), **self._task, **timestep})
        return self._tokens[-1][1]


def newest_noise(noise: Arrays) -> dict[str, np.ndarray]:
    """The newest timestep's noise out of that of a window."""
    axes = {NOISE_STEPS: 2}
    return {
        name: np.ascontiguousarray(np.take(array, [-1], axis=axes.get(name, 1)))
        for name, array in noise.items()
    }


def make_network(backend: Backend) -> Network:
    """The staged network where the bundle has its graphs, else the whole one."""
    return StagedNetwork(backend) if STEP in backend.manifest.graphs else WholeNetwork(backend)
