"""Builds a tiny valid bundle with ONNX's own helper, so that tests of the policy need no PyTorch.

The policy graph is a formula a test can repeat (`expected_actions`): it depends on every input, on
the order of the window, and on every mask.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from octo_ros.engine.bundle import MANIFEST, describe_file
from octo_ros.engine.graphs import LANGUAGE, POLICY, image_key, language_inputs, policy_inputs
from octo_ros.engine.manifest import Camera, Graph, Head, Language, Manifest, Tensor

TEXT_WIDTH = 4
PRIMARY = Camera(height=16, width=16, takes_goal=True, center_crop=True)
WRIST = Camera(height=8, width=12, takes_goal=False, center_crop=False)

_ONNX_TYPES = {
    "bool": TensorProto.BOOL,
    "uint8": TensorProto.UINT8,
    "int64": TensorProto.INT64,
    "float32": TensorProto.FLOAT,
}


def statistics(proprio_size: int | None = None) -> dict[str, Any]:
    """Statistics of one data set; the gripper is not scaled."""
    action = {
        "mean": [0.01 * axis for axis in range(7)],
        "std": [0.1 + 0.01 * axis for axis in range(7)],
        "p01": [-0.2 - 0.01 * axis for axis in range(7)],
        "p99": [0.3 + 0.01 * axis for axis in range(7)],
        "mask": [True] * 6 + [False],
    }
    entry: dict[str, Any] = {"action": action, "num_transitions": 10}
    if proprio_size is not None:
        entry["proprio"] = {
            "mean": [1.0] * proprio_size,
            "std": [2.0] * proprio_size,
            "p01": [-1.0] * proprio_size,
            "p99": [3.0] * proprio_size,
        }
    return entry


def write_bundle(
    directory: Path,
    *,
    cameras: dict[str, Camera] | None = None,
    language: bool = True,
    tokenizer: Path | None = None,
    proprio_size: int | None = None,
    diffusion_steps: int = 3,
    window: int = 2,
    horizon: int = 4,
    datasets: tuple[str, ...] = ("small",),
    default_dataset: str | None = None,
    max_tokens: int = 6,
    vocab_size: int = 200,
) -> Manifest:
    """Writes a bundle into `directory`, which is made; returns its manifest."""
    directory.mkdir(parents=True)
    names = []
    manifest = Manifest(
        notice="test",
        checkpoint={"name": "small", "step": 1, "parameters": 0},
        precision="float32",
        checks={},
        window=window,
        horizon=horizon,
        action_dim=7,
        proprio_size=proprio_size,
        cameras={"primary": PRIMARY, "wrist": WRIST} if cameras is None else cameras,
        language=Language(max_tokens, vocab_size, "small-t5", tokenizer.name if tokenizer else None)
        if language
        else None,
        vectors={},
        head=Head("DiffusionActionHead", diffusion_steps, 5.0, "ddpm")
        if diffusion_steps
        else Head("L1ActionHead", 0, 5.0),
        statistics={name: statistics(proprio_size) for name in datasets},
        default_dataset=default_dataset,
        graphs={},
        files={},
        versions={},
    )
    if tokenizer is not None:
        (directory / tokenizer.name).write_bytes(tokenizer.read_bytes())
        names.append(tokenizer.name)
    graphs = {POLICY: _policy_graph(manifest)} | ({LANGUAGE: _language_graph(manifest)} if language else {})
    for graph, model in graphs.values():
        onnx.checker.check_model(model)
        onnx.save(model, str(directory / graph.file))
        names.append(graph.file)
    manifest = Manifest(
        **{
            **manifest.__dict__,
            "graphs": {name: graph for name, (graph, _) in graphs.items()},
            "files": {name: describe_file(directory / name) for name in names},
        }
    )
    (directory / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    return manifest


def expected_actions(inputs: dict[str, np.ndarray], horizon: int) -> np.ndarray:
    """What the policy graph answers, (1, horizon, 7) float64, from the graph's own inputs."""
    window = inputs["timestep_pad_mask"].shape[1]
    order = np.arange(1, window + 1) * inputs["timestep_pad_mask"][0]
    value = 0.0
    for key, array in inputs.items():
        mask = inputs.get(f"pad_mask_{key}")
        if key.startswith("image_") or key == "proprio":
            means = array[0].reshape(window, -1).astype(np.float64).mean(axis=1)
            value += (means * order * mask[0]).sum() / (255.0 if key.startswith("image_") else 1.0)
        elif key.startswith("goal_"):
            value += array.astype(np.float64).mean() / 255.0
        elif key == "language_tokens":
            value += array.mean() * inputs["pad_mask_language_instruction"][0]
    actions = value + 0.01 * np.arange(horizon)[:, None] + np.zeros((horizon, 7))
    if "noise_init" in inputs:
        actions = actions + 0.1 * inputs["noise_init"][0, -1].reshape(horizon, 7)
        actions = actions + 0.01 * inputs["noise_steps"].mean()
    return actions[None]


class _Builder:
    """Nodes and constants of one graph."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        output = output or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def constant(self, value: Any, dtype: type = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(value, dtype=dtype), name))
        return name

    def floats(self, name: str) -> str:
        return self.add("Cast", name, to=TensorProto.FLOAT)

    def model(self, inputs: dict[str, Tensor], outputs: dict[str, Tensor]) -> onnx.ModelProto:
        def values(tensors: dict[str, Tensor]) -> list[onnx.ValueInfoProto]:
            return [
                helper.make_tensor_value_info(name, _ONNX_TYPES[tensor.dtype], tensor.shape)
                for name, tensor in tensors.items()
            ]

        graph = helper.make_graph(self.nodes, "small", values(inputs), values(outputs), self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def _language_graph(manifest: Manifest) -> tuple[Graph, onnx.ModelProto]:
    inputs = language_inputs(manifest)
    shape = (1, manifest.language.max_tokens, TEXT_WIDTH)
    outputs = {"language_tokens": Tensor("float32", shape)}
    build = _Builder()
    table = np.random.default_rng(0).standard_normal((manifest.language.vocab_size, TEXT_WIDTH))
    tokens = build.add("Gather", build.constant(table), "input_ids")
    mask = build.add("Unsqueeze", build.floats("attention_mask"), build.constant([2], np.int64))
    build.add("Mul", tokens, mask, output="language_tokens")
    return Graph("language.onnx", inputs, outputs), build.model(inputs, outputs)


def _policy_graph(manifest: Manifest) -> tuple[Graph, onnx.ModelProto]:
    inputs = policy_inputs(manifest, TEXT_WIDTH)
    window, horizon = manifest.window, manifest.horizon
    outputs = {
        "actions": Tensor("float32", (1, horizon, 7)),
        "readout": Tensor("float32", (1, window, 1, 1)),
        "task_tokens": Tensor("float32", (1, 1, 1)),
    }
    build = _Builder()
    order = build.add(
        "Mul", build.floats("timestep_pad_mask"), build.constant([list(range(1, window + 1))])
    )  # (1, window)
    per_step = build.add("Mul", order, build.constant(0.0))
    keys = [image_key(name) for name in manifest.cameras] + ["proprio"] * (manifest.proprio_size is not None)
    for key in keys:
        axes = list(range(2, len(inputs[key].shape)))
        means = build.add("ReduceMean", build.floats(key), build.constant(axes, np.int64), keepdims=0)
        scaled = build.add("Div", means, build.constant(1.0 if key == "proprio" else 255.0))
        masked = build.add("Mul", scaled, build.floats(f"pad_mask_{key}"))
        per_step = build.add("Add", per_step, build.add("Mul", masked, order))
    build.add("Reshape", per_step, build.constant([1, window, 1, 1], np.int64), output="readout")
    asked = build.constant(0.0)
    for key in inputs:
        if key.startswith("goal_"):
            mean = build.add("ReduceMean", build.floats(key), keepdims=0)
            asked = build.add("Add", asked, build.add("Div", mean, build.constant(255.0)))
    if manifest.language is not None:
        mean = build.add("ReduceMean", "language_tokens", keepdims=0)
        spoken = build.add("Mul", mean, build.floats("pad_mask_language_instruction"))
        asked = build.add("Add", asked, spoken)
    build.add("Reshape", asked, build.constant([1, 1, 1], np.int64), output="task_tokens")
    value = build.add("Add", build.add("ReduceSum", per_step, keepdims=0), asked)
    steps = 0.01 * np.arange(horizon)[None, :, None] + np.zeros((1, horizon, 7))
    answer = build.add("Add", build.constant(steps), value)
    if manifest.head.diffusion_steps:
        last = build.add("Gather", "noise_init", build.constant(window - 1, np.int64), axis=1)
        chunk = build.add("Reshape", last, build.constant([1, horizon, 7], np.int64))
        answer = build.add("Add", answer, build.add("Mul", chunk, build.constant(0.1)))
        mean = build.add("ReduceMean", "noise_steps", keepdims=0)
        answer = build.add("Add", answer, build.add("Mul", mean, build.constant(0.01)))
    build.add("Identity", answer, output="actions")
    return Graph("policy.onnx", inputs, outputs), build.model(inputs, outputs)
