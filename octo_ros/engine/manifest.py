"""What a bundle says of itself: the dataclasses of `manifest.json`, and its text."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FORMAT = "octo_ros bundle"
FORMAT_VERSION = 2

SAMPLERS = ("ddpm", "ddim")
"""How a diffusion head denoises: as it was trained, or deterministically in fewer steps."""

PRECISIONS = ("float32", "int8")
"""How the transformer's matrices are kept."""


@dataclass(frozen=True)
class Camera:
    """One camera of the checkpoint.

    Attributes:
        height: rows the network takes [pixel].
        width: columns the network takes [pixel].
        takes_goal: whether a goal image is stacked onto this camera's frames.
        center_crop: whether the frame is cropped to the centre 0.9 of its area after resizing,
            as the official inference does for the primary camera.
    """

    height: int
    width: int
    takes_goal: bool
    center_crop: bool


@dataclass(frozen=True)
class Language:
    """How an instruction enters the network.

    Attributes:
        max_tokens: tokens the instruction is padded or cut to.
        vocab_size: rows of the embedding table; every token id is below it.
        tokenizer_name: name the checkpoint gives ("t5-base").
        tokenizer_file: file in the bundle, or None where export found no tokenizer.
    """

    max_tokens: int
    vocab_size: int
    tokenizer_name: str
    tokenizer_file: str | None


@dataclass(frozen=True)
class Head:
    """The action head.

    Attributes:
        kind: the official class name ("DiffusionActionHead").
        diffusion_steps: denoising steps that the graphs run, 0 for a head without them.
        max_action: bound that normalized actions are clipped to, or None where there is none.
        sampler: one of `SAMPLERS`, or "none" for a head that does not denoise.
        bins: of a head that chooses among discrete values, else 0.
    """

    kind: str
    diffusion_steps: int
    max_action: float | None
    sampler: str = "none"
    bins: int = 0


@dataclass(frozen=True)
class Tensor:
    """One input or output of a graph: its dtype as numpy spells it, and its fixed shape."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Graph:
    """One ONNX graph of the bundle."""

    file: str
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]


@dataclass(frozen=True)
class Manifest:
    """Everything but the weights.

    Attributes:
        notice: a sentence shown wherever the bundle is used ("" for none); a bundle with random
            weights says so here.
        checkpoint: name of the checkpoint directory, its step, its number of parameters, licence and
            data sets.
        precision: one of `PRECISIONS`.
        checks: largest errors measured when the bundle was written, by what was compared and output.
        window: timesteps of history the network takes, the newest one included.
        horizon: actions in a chunk.
        action_dim: values in an action (7).
        proprio_size: values of proprioception, or None where the network takes none.
        cameras: camera name ("primary") to its `Camera`.
        language: None where the checkpoint encodes no instruction of its own.
        vectors: arrays that a task brings as they are (an instruction encoded elsewhere, say), by
            key: their shape without batch, float32.
        statistics: `dataset_statistics.json` as it came, by data set.
        default_dataset: the data set used when none is named, or None: then one must be named
            unless there is only one.
        graphs: name to `Graph`; see `graphs.py` for what each computes.
        files: file name to {"sha256", "bytes"}, the manifest itself left out.
        versions: versions of the libraries that wrote the bundle.
    """

    notice: str
    checkpoint: Mapping[str, Any]
    precision: str
    checks: Mapping[str, Mapping[str, float]]
    window: int
    horizon: int
    action_dim: int
    proprio_size: int | None
    cameras: Mapping[str, Camera]
    language: Language | None
    vectors: Mapping[str, tuple[int, ...]]
    head: Head
    statistics: Mapping[str, Any]
    default_dataset: str | None
    graphs: Mapping[str, Graph]
    files: Mapping[str, Mapping[str, Any]]
    versions: Mapping[str, str]

    def reads_instruction(self) -> bool:
        """Whether the network takes an instruction, as words or encoded elsewhere."""
        return self.language is not None or "language_instruction" in self.vectors

    def goal_camera(self) -> str | None:
        """The camera a goal image is for: primary if it takes one, else the first that does, or None."""
        takers = [name for name, camera in self.cameras.items() if camera.takes_goal]
        return "primary" if "primary" in takers else next(iter(takers), None)

    def to_json(self) -> str:
        """The text of `manifest.json`."""
        body = {"format": FORMAT, "format_version": FORMAT_VERSION, **dataclasses.asdict(self)}
        text = json.dumps(body, indent=2)
        return re.sub(r"\[\n\s*([^\[\]{}]*?)\n\s*\]", _on_one_line, text) + "\n"


def _on_one_line(numbers: re.Match[str]) -> str:
    return "[" + re.sub(r",\n\s*", ", ", numbers[1]) + "]"
