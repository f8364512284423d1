"""A bundle whose transformer multiplies in 8 bits on a CPU: dynamic quantization by ONNX Runtime.

The matrices of the transformer become unsigned 8-bit, one scale and zero point a column; what they
multiply is quantized on the fly, one scale a tensor. Signed weights would be 10 to 30 % faster on a
CPU with AVX2 and without VNNI, but saturate there: errors grow several times and differ from machine
to machine (ONNX Runtime, "Quantize ONNX models", on U8S8). Image encoders, attention itself, norms,
the text encoder and the action head stay float32.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx

from octo_ros.engine.bundle import read_bundle
from octo_ros.engine.graphs import HISTORY, POLICY, STEP, TASK
from octo_ros.engine.manifest import Manifest
from octo_ros.engine.network import StagedNetwork
from octo_ros.engine.onnx import OnnxBackend
from octo_ros.errors import BundleError
from octo_ros.export.model_card import complete
from octo_ros.export.weights_file import FILE, WeightsFile
from octo_ros.staging import new_folder
from octo_ros.verify.checks import AGAINST_FLOAT, random_noise, random_task, random_timestep

CHUNKS = 24
"""Chunks by which the deviation is measured."""

_QUANTIZED = (TASK, HISTORY, STEP, POLICY)
_TRANSFORMER = "octo.transformer.blocks."


def quantize_bundle(
    source: str | Path, target: str | Path, progress: Callable[[str, int, int], None] | None = None
) -> Manifest:
    """Writes an int8 copy of a float32 bundle; nothing is left behind where that fails.

    Args:
        source: folder of the float32 bundle.
        target: folder to write; must not exist or be empty.
        progress: called as (stage, done, total) when a stage begins, and once when all are done.

    Returns:
        The new bundle's manifest; its `checks` have "int8 against float32": "readout" and "actions",
        largest absolute differences, and "actions_mean" and "actions_p99", over made-up frames.

    Raises:
        BundleError: a source that is no float32 bundle with stages, or a target that is not empty.
    """
    source, target = Path(source), Path(target)
    manifest = read_bundle(source)
    if manifest.precision != "float32" or STEP not in manifest.graphs:
        raise BundleError(f"{source}: expected a float32 bundle that `octo_ros export` wrote")
    stages = [*manifest.graphs, "measure", "write manifest"]
    tell = progress or (lambda stage, done, total: None)
    with new_folder(target, BundleError) as folder:
        with WeightsFile(folder) as weights:
            for index, name in enumerate(manifest.graphs):
                tell(name, index, len(stages))
                _write(source, folder, manifest.graphs[name].file, name in _QUANTIZED, weights)
        for name in sorted(set(manifest.files) - {graph.file for graph in manifest.graphs.values()} - {FILE}):
            shutil.copyfile(source / name, folder / name)
        quantized = dataclasses.replace(manifest, precision="int8")
        tell("measure", len(stages) - 2, len(stages))
        checks = {**manifest.checks, AGAINST_FLOAT: int8_deviation(source, manifest, folder, quantized)}
        tell("write manifest", len(stages) - 1, len(stages))
        quantized = complete(folder, dataclasses.replace(quantized, checks=checks))
    tell("done", len(stages), len(stages))
    return quantized


def int8_deviation(
    source: Path, manifest: Manifest, folder: Path, quantized: Manifest, seed: int = 0
) -> dict[str, float]:
    """How far the int8 stages answer from the float32 ones, on the same made-up frames and noise."""
    answers: list[dict[str, np.ndarray]] = []
    for directory, described in ((source, manifest), (folder, quantized)):
        rng = np.random.default_rng(seed)
        with OnnxBackend(directory, described) as backend:
            network = StagedNetwork(backend)
            network.set_task(random_task(backend, rng))
            timesteps, got = [], []
            for _ in range(CHUNKS):
                timesteps = [*timesteps, random_timestep(manifest, rng, None)][-manifest.window :]
                got.append(network.infer(timesteps, random_noise(manifest, rng)))
        answers.append({name: np.stack([one[name] for one in got]) for name in ("readout", "actions")})
    readout, actions = (np.abs(answers[0][name] - answers[1][name]) for name in ("readout", "actions"))
    return {
        "readout": float(readout.max()),
        "actions": float(actions.max()),
        "actions_mean": float(actions.mean()),
        "actions_p99": float(np.percentile(actions, 99)),
    }


def _write(source: Path, folder: Path, file: str, quantize: bool, weights: WeightsFile) -> None:
    model = onnx.load(source / file)
    if quantize:
        model = _quantized(model)
    weights.take(model)
    (folder / file).write_bytes(model.SerializeToString(deterministic=True))


def _quantized(model: onnx.ModelProto) -> onnx.ModelProto:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    nodes = [
        node.name
        for node in model.graph.node
        if node.op_type == "MatMul" and any(_TRANSFORMER in name for name in node.input)
    ]
    if not nodes:
        return model
    logger = logging.getLogger()
    level = logger.level
    with tempfile.TemporaryDirectory() as scratch:
        before, after = Path(scratch) / "float.onnx", Path(scratch) / "int8.onnx"
        onnx.save(model, before, save_as_external_data=True)
        try:
            logger.setLevel(logging.ERROR)  # its advice on preprocessing does not apply
            quantize_dynamic(
                before,
                after,
                op_types_to_quantize=["MatMul"],
                nodes_to_quantize=nodes,
                per_channel=True,
                weight_type=QuantType.QUInt8,
                use_external_data_format=True,
                extra_options={"MatMulConstBOnly": True, "DefaultTensorType": onnx.TensorProto.FLOAT},
            )
        finally:
            logger.setLevel(level)
        return onnx.load(after)
