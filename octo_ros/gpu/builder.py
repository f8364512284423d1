"""Plans of TensorRT from typed graphs: one strongly typed network a graph, all shapes fixed.

The precision of each layer is in the graph, so TensorRT chooses kernels and never a type; there is no
calibrator and no optimization profile. TF32, which would round float32 to 10 bits, is turned off.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from octo_ros.errors import BundleError, ParameterError
from octo_ros.gpu.cuda import Gpu
from octo_ros.gpu.library import Messages

Progress = Callable[[str, int, int], None]
"""Called as (what is done, steps done, steps of it)."""

HERE = "here"
TARGETS = {HERE: (), "orin": ("8.7",), "thor": ("10.1", "11.0")}
"""What `--target` may name, and the compute capabilities it has; none for any."""

OPTIMIZATION_LEVELS = range(6)
OPTIMIZATION_LEVEL = 3
"""TensorRT's own default; higher searches longer for faster kernels."""

UNCOUNTED = ("CONSTANT", "SHAPE")
"""Kinds of layers that compute nothing."""


def check_target(target: str, gpu: Gpu) -> None:
    """Refuses a target that is not this machine: TensorRT times its kernels on the GPU that is to run them.

    Raises:
        ParameterError: an unknown target, or one with another GPU than this machine's.
    """
    if target not in TARGETS:
        raise ParameterError(f"--target: expected one of {', '.join(TARGETS)}, got {target!r}")
    wanted = TARGETS[target]
    if wanted and gpu.compute_capability not in wanted:
        raise ParameterError(
            f"--target {target}: TensorRT builds for the GPU it runs on; {target} has compute capability "
            f"{' or '.join(wanted)}, this is {gpu.name} with {gpu.compute_capability}: "
            f"run the same command on the {target}"
        )


class Builder:
    """Builds plans with one TensorRT, and keeps the layers' times between them."""

    def __init__(
        self, tensorrt: Any, timing: Path | None = None, optimization_level: int = OPTIMIZATION_LEVEL
    ) -> None:
        """Makes nothing yet.

        Args:
            tensorrt: the module.
            timing: file of the timing cache, read where it is there, written after each build; or None.
            optimization_level: 0 to 5; higher searches longer.

        Raises:
            ParameterError: an optimization level that TensorRT does not have.
        """
        if optimization_level not in OPTIMIZATION_LEVELS:
            raise ParameterError(f"--optimization-level: expected 0 to 5, got {optimization_level}")
        self._tensorrt = tensorrt
        self._messages = Messages(tensorrt)
        self._timing = timing
        self._level = optimization_level

    def parse(self, graph: Path) -> tuple[Any, Any]:
        """A builder and the network of a graph in it; the builder must outlive the network.

        Raises:
            BundleError: TensorRT cannot take the graph; naming the node.
        """
        tensorrt = self._tensorrt
        builder = self._messages.start(tensorrt.Builder)
        flags = 1 << int(tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        network = builder.create_network(flags)
        parser = tensorrt.OnnxParser(network, self._messages.logger)
        if not parser.parse_from_file(str(graph)):
            errors = [parser.get_error(index) for index in range(parser.num_errors)]
            reasons = "; ".join(
                f"node {error.node_name()} ({error.node_operator()}): {error.desc()}" for error in errors
            )
            raise BundleError(f"{graph}: TensorRT cannot parse it: {' '.join(reasons.split())}")
        return builder, network

    def build(self, graph: Path, plan: Path, progress: Progress | None = None) -> dict[str, int]:
        """Builds the plan of a graph; gives `layer_types` of its network.

        Args:
            graph: ONNX file, its weights beside it.
            plan: file to write.
            progress: called in every phase of the build.

        Raises:
            BundleError: TensorRT cannot take the graph, or cannot build it; with its own reason.
        """
        builder, network = self.parse(graph)
        config = builder.create_builder_config()
        config.builder_optimization_level = self._level
        config.clear_flag(self._tensorrt.BuilderFlag.TF32)
        self._read_times(config)
        if progress is not None:
            config.progress_monitor = monitor(self._tensorrt, progress)
        serialized = builder.build_serialized_network(network, config)
        if serialized is None:
            raise BundleError(f"{graph}: TensorRT cannot build it: {self._messages.take()}")
        plan.write_bytes(serialized)
        self._write_times(config)
        return layer_types(network)

    def _read_times(self, config: Any) -> None:
        if self._timing is None:
            return
        known = self._timing.read_bytes() if self._timing.is_file() else b""
        # TensorRT refuses one that another version or GPU wrote; it is then begun anew.
        if not config.set_timing_cache(config.create_timing_cache(known), False):
            config.set_timing_cache(config.create_timing_cache(b""), False)

    def _write_times(self, config: Any) -> None:
        if self._timing is None:
            return
        self._timing.parent.mkdir(parents=True, exist_ok=True)
        whole = self._timing.with_name(f"{self._timing.name}.{os.getpid()}")
        try:
            whole.write_bytes(config.get_timing_cache().serialize())
            os.replace(whole, self._timing)
        finally:
            with suppress(FileNotFoundError):
                whole.unlink()


def layer_types(network: Any) -> dict[str, int]:
    """How many layers of a parsed network hand on each type, by TensorRT's name of it ("HALF")."""
    count: Counter[str] = Counter()
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if layer.type.name not in UNCOUNTED and layer.num_outputs:
            count[layer.get_output(0).dtype.name] += 1
    return dict(sorted(count.items()))


def monitor(tensorrt: Any, progress: Progress) -> Any:
    """A progress monitor for TensorRT that tells of the innermost phase."""

    class Monitor(tensorrt.IProgressMonitor):
        def __init__(self) -> None:
            tensorrt.IProgressMonitor.__init__(self)  # the bindings ask for this call by name
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = num_steps
            progress(phase_name, 0, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            progress(phase_name, step + 1, self._steps.get(phase_name, step + 1))
            return True  # False would cancel the build

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

    return Monitor()
