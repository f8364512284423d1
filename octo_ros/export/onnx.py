"""The model as ONNX graphs: fixed shapes, batch 1, no random operator."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from octo_ros.engine import bundle
from octo_ros.engine.graphs import LANGUAGE, POLICY
from octo_ros.model.inputs import (
    INSTRUCTION,
    LANGUAGE_TOKENS,
    NOISE_INIT,
    NOISE_STEPS,
    PROPRIO,
    TIMESTEP_MASK,
    goal_name,
    pad_mask_name,
)
from octo_ros.model.octo import Octo

OPSET = 18
IR_VERSION = 8
"""The file format that came with opset 18, so that older runtimes read it."""

LARGEST_FILE = 1_900_000_000
"""Weights of more bytes than this lie in a file beside the graph: one ONNX file holds 2 GB at most."""

_KEPT_METADATA = "namespace"
_DTYPES = {torch.bool: "bool", torch.uint8: "uint8", torch.int64: "int64", torch.float32: "float32"}


class LanguageGraph(nn.Module):
    """Token ids to language tokens: the graph that runs when the instruction changes."""

    def __init__(self, model: Octo):
        super().__init__()
        self.text = model.text

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """Ids and mask (1, L) int64 to {"language_tokens": (1, L, d_text) float32}."""
        return {LANGUAGE_TOKENS: self.text(input_ids, attention_mask)}


class PolicyGraph(nn.Module):
    """Everything but the language encoder: the graph that runs for each frame."""

    def __init__(self, model: Octo):
        super().__init__()
        self.model = model

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        """See `Octo.forward`."""
        return self.model(**inputs)


def graph_modules(model: Octo) -> dict[str, nn.Module]:
    """Graph name to the part of the model it holds."""
    graphs: dict[str, nn.Module] = {} if model.text is None else {LANGUAGE: LanguageGraph(model)}
    return {**graphs, POLICY: PolicyGraph(model)}


def empty_inputs(model: Octo, graph: str) -> dict[str, Tensor]:
    """Zeros of the dtype and shape of every input of a graph, in the order of the inputs."""
    inputs = model.inputs
    tokens = inputs.language_tokens
    if graph == LANGUAGE:
        return {name: torch.zeros(1, tokens, dtype=torch.int64) for name in ("input_ids", "attention_mask")}
    window = inputs.window
    entries: dict[str, Tensor] = {}
    for key, (height, width) in inputs.images.items():
        entries[key] = torch.zeros(1, window, height, width, 3, dtype=torch.uint8)
        entries[pad_mask_name(key)] = torch.zeros(1, window, dtype=torch.bool)
    for key in inputs.goals:
        entries[goal_name(key)] = torch.zeros(1, *inputs.images[key], 3, dtype=torch.uint8)
    if inputs.proprio_size is not None:
        entries[PROPRIO] = torch.zeros(1, window, inputs.proprio_size)
        entries[pad_mask_name(PROPRIO)] = torch.zeros(1, window, dtype=torch.bool)
    entries[TIMESTEP_MASK] = torch.zeros(1, window, dtype=torch.bool)
    if tokens is not None:
        entries[LANGUAGE_TOKENS] = torch.zeros(1, tokens, model.text.width)
        entries[pad_mask_name(INSTRUCTION)] = torch.zeros(1, dtype=torch.bool)
    if model.head.diffusion_steps:
        chunk = model.head.horizon * model.head.action_dim
        entries[NOISE_INIT] = torch.zeros(1, window, chunk)
        entries[NOISE_STEPS] = torch.zeros(model.head.diffusion_steps, 1, window, chunk)
    return entries


def write_graph(model: Octo, graph: str, directory: Path) -> bundle.Graph:
    """Writes one graph as `<graph>.onnx`, its weights inside unless they are too large.

    Args:
        model: with its weights.
        graph: a name out of `graph_modules`.
        directory: an existing folder.

    Returns:
        The manifest's entry.
    """
    module = graph_modules(model)[graph].eval()
    inputs = empty_inputs(model, graph)
    path = directory / f"{graph}.onnx"
    with torch.no_grad(), _silence():
        outputs = module(**inputs)
        program = torch.onnx.export(
            module,
            (),
            kwargs=inputs,
            dynamo=True,
            opset_version=OPSET,
            output_names=list(outputs),
            verbose=False,
        )
        program.model.ir_version = IR_VERSION
        for node in program.model.graph:
            for key in [key for key in node.metadata_props if key != _KEPT_METADATA]:
                del node.metadata_props[key]  # stack traces with the paths of this machine
        size = sum(parameter.nbytes for parameter in module.parameters())
        program.save(path, external_data=size > LARGEST_FILE)
    return bundle.Graph(path.name, _entries(inputs), _entries(outputs))


def _entries(tensors: Mapping[str, Tensor]) -> dict[str, bundle.Tensor]:
    return {
        name: bundle.Tensor(_DTYPES[tensor.dtype], tuple(tensor.shape)) for name, tensor in tensors.items()
    }


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keeps the exporter's progress and its remarks on other packages off the user's screen."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
