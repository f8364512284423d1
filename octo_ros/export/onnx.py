"""The stages of a model as ONNX graphs: fixed shapes, batch 1, no random operator."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from octo_ros.engine import manifest as described
from octo_ros.engine.graphs import HISTORY, LANGUAGE, POLICY, STEP, TASK, TOKENS, TOKENS_SEEN, past_of_task
from octo_ros.export.exporter import exporter
from octo_ros.export.simplify import simplify
from octo_ros.export.weights_file import WeightsFile
from octo_ros.model.inputs import (
    INSTRUCTION,
    LANGUAGE_TOKENS,
    PROPRIO,
    TIMESTEP_MASK,
    goal_name,
    pad_mask_name,
    vector_name,
)
from octo_ros.model.octo import Octo
from octo_ros.model.stages import Stages

OPSET = 18
IR_VERSION = 8
"""The file format that came with opset 18, so that older runtimes read it."""

_KEPT_METADATA = "namespace"
_DTYPES = {torch.bool: "bool", torch.uint8: "uint8", torch.int64: "int64", torch.float32: "float32"}

Tensors = Mapping[str, Tensor]


class StageGraph(nn.Module):
    """One stage as a module of its own, as the exporter wants it."""

    def __init__(self, stages: Stages, name: str):
        super().__init__()
        self.stages = stages
        self.stage = getattr(stages, name)

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        """See the stage's method of `Stages`."""
        return self.stage(inputs)


def graph_names(stages: Stages) -> tuple[str, ...]:
    """The graphs of a bundle, in an order in which each finds what it needs of the ones before."""
    language = (LANGUAGE,) if stages.octo.text is not None else ()
    return (*language, *stages.names)


def observation_zeros(model: Octo, timesteps: int) -> dict[str, Tensor]:
    """Zeros for what sensors give of consecutive timesteps."""
    inputs = model.inputs
    entries: dict[str, Tensor] = {}
    for key, (height, width) in inputs.images.items():
        entries[key] = torch.zeros(1, timesteps, height, width, 3, dtype=torch.uint8)
        entries[pad_mask_name(key)] = torch.zeros(1, timesteps, dtype=torch.bool)
    if inputs.proprio_size is not None:
        entries[PROPRIO] = torch.zeros(1, timesteps, inputs.proprio_size)
        entries[pad_mask_name(PROPRIO)] = torch.zeros(1, timesteps, dtype=torch.bool)
    return entries


def task_zeros(model: Octo) -> dict[str, Tensor]:
    """Zeros for what a task brings."""
    inputs = model.inputs
    entries: dict[str, Tensor] = {}
    for key in inputs.goals:
        entries[goal_name(key)] = torch.zeros(1, *inputs.images[key], 3, dtype=torch.uint8)
    for key, shape in inputs.vectors.items():
        entries[vector_name(key)] = torch.zeros(1, *shape)
    if inputs.language_tokens is not None:
        entries[LANGUAGE_TOKENS] = torch.zeros(1, inputs.language_tokens, model.text.width)
    if inputs.language_tokens is not None or INSTRUCTION in inputs.vectors:
        entries[pad_mask_name(INSTRUCTION)] = torch.zeros(1, dtype=torch.bool)
    return entries


def policy_zeros(model: Octo) -> dict[str, Tensor]:
    """Zeros for every input of the graph "policy"."""
    window = model.inputs.window
    return {
        TIMESTEP_MASK: torch.zeros(1, window, dtype=torch.bool),
        **observation_zeros(model, window),
        **task_zeros(model),
        **noise_zeros(model, window),
    }


def noise_zeros(model: Octo, timesteps: int) -> dict[str, Tensor]:
    """Zeros for the head's noise."""
    return {name: torch.zeros(shape) for name, shape in model.head.noise_shapes(timesteps).items()}


def example_inputs(model: Octo, stages: Stages) -> dict[str, dict[str, Tensor]]:
    """Every graph's inputs, as zeros and what the graphs before make of them."""
    with torch.no_grad():
        given: dict[str, Tensor] = task_zeros(model)
        inputs: dict[str, dict[str, Tensor]] = {}
        if model.text is not None:
            shape = (1, model.inputs.language_tokens)
            inputs[LANGUAGE] = {
                name: torch.zeros(shape, dtype=torch.int64) for name in ("input_ids", "attention_mask")
            }
        if TASK in stages.names:
            inputs[TASK] = dict(given)
            given |= stages.task(given)
        if HISTORY in stages.names:
            before = stages.window - 1
            inputs[HISTORY] = stages.task_parts(given) | {
                TOKENS: torch.zeros(before, stages.observed, stages.places.shape[-1]),
                TOKENS_SEEN: torch.zeros(before, stages.observed, dtype=torch.bool),
                TIMESTEP_MASK: torch.zeros(1, before, dtype=torch.bool),
            }
            past = stages.history(inputs[HISTORY])
        else:
            past = past_of_task(given)
        inputs[STEP] = {
            **observation_zeros(model, 1),
            **stages.step_parts(given),
            **past,
            **noise_zeros(model, 1),
        }
        inputs[POLICY] = policy_zeros(model)
    return inputs


def write_graph(
    stages: Stages, name: str, inputs: Tensors, directory: Path, weights: WeightsFile
) -> described.Graph:
    """Writes one graph as `<name>.onnx`, its weights in the bundle's one file.

    Args:
        stages: of the model.
        name: out of `graph_names`.
        inputs: its inputs, see `example_inputs`.
        directory: an existing folder.
        weights: of the bundle.

    Returns:
        The manifest's entry.
    """
    module = StageGraph(stages, name).eval()
    path = directory / f"{name}.onnx"
    with torch.no_grad(), exporter():
        traced = torch.export.export(module, (), dict(inputs), strict=False)
        given = [node.meta["val"] for node in traced.graph.output_node().args[0]]
        outputs = pytree.tree_unflatten(given, traced.call_spec.out_spec)
        program = torch.onnx.export(
            traced,
            dynamo=True,
            opset_version=OPSET,
            output_names=list(outputs),
            optimize=False,
            verbose=False,
        )
        simplify(program.model)
        program.model.graph.metadata_props.clear()
        program.model.ir_version = IR_VERSION
        for node in program.model.graph.all_nodes():
            for key in [key for key in node.metadata_props if key != _KEPT_METADATA]:
                del node.metadata_props[key]  # stack traces with the paths of this machine
        model = program.model_proto
    weights.take(model)
    path.write_bytes(model.SerializeToString(deterministic=True))
    return described.Graph(path.name, _entries(inputs), _entries(outputs))


def _entries(tensors: Tensors) -> dict[str, described.Tensor]:
    return {
        name: described.Tensor(_DTYPES[tensor.dtype], tuple(tensor.shape)) for name, tensor in tensors.items()
    }
