"""The policy a robot runs: frames and a task in, actions out.

`sample` and `infer` are the network alone, stateless, in the official code's keys and shapes.
`act` is what a node calls once a step. The whole order of it:

    frame of any size -> resize, crop (images) -> history of `window` steps -> network with fresh noise
    -> ensemble or receding horizon (chunking) -> metres and radians (normalization) -> gripper latch

A GPU's backend resizes and crops the frames for which its engine has a graph (preparation).
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from octo_ros.engine.backend import Backend
from octo_ros.engine.graphs import POLICY
from octo_ros.engine.network import make_network
from octo_ros.errors import BundleError, ObservationError
from octo_ros.policy.chunking import make_chunking
from octo_ros.policy.gripper import GripperLatch
from octo_ros.policy.history import History
from octo_ros.policy.inputs import goal_inputs, language_inputs, network_inputs, noise_inputs
from octo_ros.policy.instruction import Tokenizer, Tokens, checked_instruction, no_instruction
from octo_ros.policy.noise import draw_noise, generator
from octo_ros.policy.normalization import ActionStatistics, action_statistics, unnormalize
from octo_ros.policy.options import ActOptions
from octo_ros.policy.preparation import Preparation, PreparedFrame
from octo_ros.types import ACTION_AXES, NANOSECONDS, Action, Observation, Task

NO_TOKENIZER = (
    "{bundle}: no tokenizer in the bundle, so it cannot read an instruction; export the checkpoint with "
    "`octo_ros export --tokenizer FILE`, FILE being tokenizer.json or spiece.model of {name}; "
    "or set mask_language to run without words"
)
"""What to do about a bundle without a tokenizer."""

_log = logging.getLogger(__name__)


class Policy:
    """One bundle in one backend, with the state of one robot. Call it from one thread.

    Attributes:
        manifest: of the bundle.
        options: as given.
    """

    def __init__(self, backend: Backend, options: ActOptions) -> None:
        """Args: backend, open, it is closed with the policy; options, how to act.

        Raises:
            StatisticsError: `options.dataset` is not in the bundle.
            ParameterError: options that do not fit the bundle.
        """
        self.manifest = backend.manifest
        self.options = options
        self._backend = backend
        self._network = make_network(backend)
        self._preparation = Preparation(self.manifest, options, backend)
        self._history = History(self.manifest, round(options.history_gap_s * NANOSECONDS))
        self._chunking = make_chunking(options, self.manifest.horizon)
        self._gripper = GripperLatch(options.gripper_threshold, options.gripper_votes)
        self._noise = generator(options.seed)
        self._has_task = False
        if options.dataset is not None:
            _ = self.statistics

    @property
    def backend_name(self) -> str:
        """What runs the network ("onnxruntime")."""
        return self._backend.name

    @property
    def backend_details(self) -> dict[str, str]:
        """What the backend runs on: provider, and for a GPU its engine, precision and name, and for each
        camera where frames are prepared."""
        return {**self._backend.details(), **self._preparation.details()}

    @functools.cached_property
    def statistics(self) -> ActionStatistics:
        """Statistics that scale the actions; StatisticsError where a data set must be named."""
        return action_statistics(self.manifest, self.options.dataset)

    def close(self) -> None:
        """Frees the network."""
        self._backend.close()

    def __enter__(self) -> Policy:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def warm_up(self) -> float:
        """Runs every graph a robot needs on zeros, and reads the tokenizer where there is one.

        Returns:
            How long the network takes from a frame to its action [s].
        """
        if self.manifest.language is not None and self.manifest.language.tokenizer_file is not None:
            _ = self._tokenizer
        self._preparation.warm_up()
        return self._network.warm_up()

    def sample(
        self,
        observations: Mapping[str, Any],
        task: Mapping[str, Any],
        *,
        timestep_pad_mask: np.ndarray,
        noise: Mapping[str, np.ndarray] | None = None,
        seed: int | None = None,
    ) -> np.ndarray:
        """Normalized actions (1, horizon, action_dim) float32; see `infer`."""
        return self.infer(observations, task, timestep_pad_mask=timestep_pad_mask, noise=noise, seed=seed)[
            "actions"
        ]

    def infer(
        self,
        observations: Mapping[str, Any],
        task: Mapping[str, Any],
        *,
        timestep_pad_mask: np.ndarray,
        noise: Mapping[str, np.ndarray] | None = None,
        seed: int | None = None,
    ) -> dict[str, np.ndarray]:
        """Runs the whole network once; keeps nothing. A robot calls `act`, which is about twice as fast.

        Args:
            observations: "image_<camera>" (1, window, H, W, 3) uint8 and "proprio" (1, window, P), in
                the manifest's sizes, with their "pad_mask_dict" of (1, window) bool. A key left out
                is masked; where a mask is left out, nothing is masked.
            task: "language_instruction" {"input_ids", "attention_mask"} (1, max_tokens), goal images
                "image_<camera>" (1, H, W, 3) uint8, with their "pad_mask_dict" of (1,) bool. A goal
                left out is zeros, an instruction left out is masked.
            timestep_pad_mask: (1, window) bool, False for steps before the first.
            noise: "init" (1, window, horizon * action_dim) and "steps" (steps, 1, window, ...) of a
                head that denoises, "gumbel" (1, window, horizon, action_dim, bins) of a discrete one,
                or None to draw it.
            seed: of the noise drawn, or None for new noise at every call.

        Returns:
            "actions" (1, horizon, action_dim), "readout" (1, window, n, d) and "task_tokens"
            (1, n, d), float32; actions are normalized.

        Raises:
            ObservationError: naming the key, expected and got; or noise and a seed both.
        """
        if noise is not None and seed is not None:
            raise ObservationError("noise, seed: expected one of them or neither, got both")
        if seed is not None and (not isinstance(seed, (int, np.integer)) or seed < 0):
            raise ObservationError(f"seed: expected a whole number of at least 0, got {seed!r}")
        encode = self._network.encode_language
        inputs = network_inputs(self.manifest, observations, task, timestep_pad_mask, encode)
        if noise is not None:
            inputs |= noise_inputs(self.manifest, noise)
        else:
            inputs |= draw_noise(self.manifest, generator(seed), self.options.temperature)
        return self._backend.run(POLICY, inputs)

    def set_task(self, task: Task) -> None:
        """Takes a new task: the instruction is encoded here, once. Earlier chunks are forgotten.

        Logs a warning for an instruction that is cut or looks like code.

        Raises:
            ObservationError: neither words nor a goal image, an empty instruction, or a goal image
                that the network does not take.
            BundleError: words for a bundle without a tokenizer, unless `options.mask_language`.
            StatisticsError: the data set must be named.
        """
        if len(ACTION_AXES) != self.manifest.action_dim:
            raise BundleError(
                f"act needs {len(ACTION_AXES)} values in an action, got {self.manifest.action_dim}"
            )
        _ = self.statistics
        if task.instruction is None and not task.goal_images:
            raise ObservationError("task: expected an instruction or a goal image, got neither")
        inputs = goal_inputs(self.manifest, self._preparation.goals(task.goal_images))
        tokens = None if task.instruction is None else self._encode(task.instruction)
        if self.manifest.language is not None:
            masked = no_instruction(self.manifest.language.max_tokens)
            given = np.array([tokens is not None])
            inputs |= language_inputs(tokens or masked, given, self._network.encode_language)
        self._network.set_task(inputs)
        self._has_task = True
        self._chunking.clear()
        self.prepare()

    def reset(self) -> None:
        """Begins anew: history, chunks and gripper; with a seed also the noise. The task stays."""
        self._history.clear()
        self._chunking.clear()
        self._gripper.reset()
        if self.options.seed is not None:
            self._noise = generator(self.options.seed)

    def prepare(self) -> None:
        """Computes ahead what the next action needs of the frames before it: call it in the idle time
        after an action. `act` does it first where nobody did."""
        if self._has_task:
            self._network.prepare(self._history.timesteps)

    def prepare_frame(self, camera: str, image: np.ndarray) -> PreparedFrame:
        """Resizes and crops a frame, (H, W, 3) uint8 RGB: what `act` does first with it. While another
        camera's frame is awaited there is time for it.

        Raises:
            ObservationError: an unknown camera, or a frame that does not fit.
        """
        return self._preparation.frame(camera, image)

    def act(self, observation: Observation) -> Action:
        """One step: call it once for every new set of frames.

        Args:
            observation: frames of any size, or of `prepare_frame`; proprioception raw, as the data set has
                it.

        Raises:
            ObservationError: no task, no camera, frames or proprioception that do not fit, the stamp
                of the step before, or a network output that is not finite.
        """
        if not self._has_task:
            raise ObservationError("task: none is set; call set_task first")
        step = self._preparation.step(observation)
        if self._history.push(observation.stamp_ns, step):
            self._chunking.clear()
        normalized, chunk = self._chunking.step(self._newest_chunk)
        physical = unnormalize(normalized, self.statistics, self.options.normalization)
        physical[-1] = self._gripper.update(physical[-1])
        return Action(observation.stamp_ns, normalized.copy(), physical, chunk.copy())

    def _newest_chunk(self) -> np.ndarray:
        noise = draw_noise(self.manifest, self._noise, self.options.temperature)
        chunk = self._network.infer(self._history.timesteps, noise)["actions"][0]
        if not np.isfinite(chunk).all():
            raise ObservationError("network: expected finite actions, got NaN or infinity")
        return chunk

    @functools.cached_property
    def _tokenizer(self) -> Tokenizer:
        language = self.manifest.language
        return Tokenizer(Path(self._backend.directory) / language.tokenizer_file, language)

    def _encode(self, instruction: str) -> Tokens | None:
        """Tokens, or None where the words are masked, which only `options.mask_language` allows."""
        language = self.manifest.language
        if language is not None and language.tokenizer_file is not None:
            return self._tokenizer.encode(instruction)
        words = checked_instruction(instruction)
        if not self.options.mask_language:
            if language is None:
                raise ObservationError(
                    f"instruction: expected none, for this network takes no words; got {words!r}"
                )
            raise BundleError(
                NO_TOKENIZER.format(bundle=self._backend.directory, name=language.tokenizer_name)
            )
        _log.warning("the bundle cannot read words: instruction %r is masked and has no effect", words)
        return None
