"""What runs a bundle's graphs. The base checks every tensor; a backend opens, runs and closes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from octo_ros.engine.frames import FRAME, PREPARED, CameraFrames, prepare_graph
from octo_ros.engine.manifest import Graph, Manifest, Tensor
from octo_ros.errors import BundleError, ObservationError, ParameterError

Signature = Mapping[str, tuple[str, tuple[int | None, ...]]]
"""Tensor name to its dtype as numpy spells it and its shape, None where a size is not fixed."""


class Backend(ABC):
    """Runs the graphs of one bundle; not to be shared between threads.

    Use it as a context manager, or call `open` first and `close` last.
    """

    name: ClassVar[str]
    """What a user calls the backend."""

    def __init__(
        self, directory: Path, manifest: Manifest, threads: int | None = None, spinning: bool = False
    ) -> None:
        """Names what to run, and opens nothing.

        Args:
            directory: of the bundle.
            manifest: as `read_bundle` gave it.
            threads: of the CPU, None to choose.
            spinning: whether threads that wait for one another within a run keep their cores busy: the
                run is then faster, unless other programs need the cores.

        Raises:
            ParameterError: fewer than one thread.
        """
        if threads is not None and threads < 1:
            raise ParameterError(f"threads: expected at least 1, got {threads}")
        self.directory = Path(directory)
        self.manifest = manifest
        self.spinning = spinning
        self._open: set[str] = set()
        self._closed = False

    def open(self, *names: str) -> None:
        """Loads graphs and checks that their names, shapes and dtypes are the manifest's.

        Args:
            names: of graphs; none for every graph. One that is open stays as it is.

        Raises:
            BundleError: naming the file and the tensor, or why the file cannot be loaded.
        """
        self._closed = False
        opened: list[str] = []
        try:
            for name in names or self._names():
                if name in self._open:
                    continue
                graph, path = self._described(name), self._path(name)
                opened.append(name)
                inputs, outputs = self._open_graph(name, path)
                _check_fit(path, "input", graph.inputs, inputs)
                _check_fit(path, "output", graph.outputs, outputs)
        except BaseException:
            for name in opened:
                self._close_graph(name)
            raise
        self._open.update(opened)

    def run_once(self, graph: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs a graph that is needed seldom: opens it, and closes it again; arguments as `run`."""
        was_open = graph in self._open
        try:
            return self.run(graph, inputs)
        finally:
            if not was_open and graph in self._open:
                self._open.discard(graph)
                self._close_graph(graph)

    def run(self, graph: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs a graph, which is opened first where it is not.

        Args:
            graph: its name in the manifest, or of a graph that prepares frames.
            inputs: every input of the graph, by name, in its exact shape and dtype.

        Raises:
            ObservationError: naming the input, expected and got.
            BundleError: the graph failed, or gave something else than the manifest says.
        """
        described = self._described(graph)
        _check_inputs(graph, described, inputs)
        if self._closed:
            raise BundleError(f"{self.directory}: closed, so the {graph} graph is not open")
        self.open(graph)
        outputs = dict(
            zip(described.outputs, self._run_graph(graph, inputs, list(described.outputs)), strict=True)
        )
        for name, tensor in described.outputs.items():
            got = outputs[name]
            if got.shape != tensor.shape or got.dtype != tensor.dtype:
                expected = f"{tensor.dtype} {tensor.shape}"
                raise BundleError(
                    f"{described.file}: output {name}: expected {expected}, got {got.dtype} {got.shape}"
                )
        return outputs

    def frames(self) -> Mapping[str, CameraFrames]:
        """By camera, the frames that `prepare_frame` takes; a camera without is left out.

        Raises:
            BundleError, ParameterError: as `open`.
        """
        return {}

    def prepare_frame(self, camera: str, image: np.ndarray, center_crop: bool) -> np.ndarray | None:
        """A camera's frame in the network's size, by the graph that is there for such frames.

        Args:
            camera: its name in the manifest.
            image: (H, W, 3) uint8 RGB.
            center_crop: whether to crop to the centre 0.9 of the area.

        Returns:
            (height, width, 3) uint8 as `octo_ros.policy.images.prepare_image` makes it; None where there is
            no graph for a frame of that camera, size and crop.

        Raises:
            BundleError: as `run`.
        """
        made = self.frames().get(camera)
        if made is None or not made.takes(image, center_crop):
            return None
        return self.run(prepare_graph(camera), {FRAME: image})[PREPARED]

    def close(self) -> None:
        """Frees every graph; harmless when none is open."""
        self._closed = True
        while self._open:
            self._close_graph(self._open.pop())

    def details(self) -> dict[str, str]:
        """What runs the graphs, for logs and diagnostics; complete once a graph is open."""
        return {}

    def _names(self) -> Collection[str]:
        """Every graph."""
        return self.manifest.graphs

    def _described(self, name: str) -> Graph:
        """Inputs and outputs that a graph must have."""
        return self.manifest.graphs[name]

    def _path(self, name: str) -> Path:
        """The file of a graph."""
        return self.directory / self.manifest.graphs[name].file

    def __enter__(self) -> Backend:
        self.open()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @abstractmethod
    def _open_graph(self, name: str, path: Path) -> tuple[Signature, Signature]:
        """Loads one graph; returns what its file says of inputs and outputs."""

    @abstractmethod
    def _run_graph(self, name: str, inputs: Mapping[str, np.ndarray], outputs: list[str]) -> list[np.ndarray]:
        """Runs an open graph on checked inputs; returns the named outputs in that order."""

    @abstractmethod
    def _close_graph(self, name: str) -> None:
        """Frees a graph; harmless where it did not open."""


def _check_fit(path: Path, kind: str, described: Mapping[str, Tensor], found: Signature) -> None:
    for name in sorted(set(described) ^ set(found)):
        side = "the manifest has none of that name" if name in found else "the file has none of that name"
        raise BundleError(f"{path}: {kind} {name}: {side}")
    for name, tensor in described.items():
        dtype, shape = found[name]
        fits = len(shape) == len(tensor.shape) and all(
            size is None or size == wanted for size, wanted in zip(shape, tensor.shape, strict=False)
        )
        if dtype != tensor.dtype or not fits:
            described_as = f"{tensor.dtype} {tensor.shape}"
            raise BundleError(
                f"{path}: {kind} {name}: the manifest says {described_as}, the file {dtype} {shape}"
            )


def _check_inputs(graph: str, described: Graph, inputs: Mapping[str, np.ndarray]) -> None:
    for name in sorted(set(described.inputs) ^ set(inputs)):
        raise ObservationError(f"{graph} graph: input {name}: {'unknown' if name in inputs else 'missing'}")
    for name, tensor in described.inputs.items():
        got = inputs[name]
        if got.shape != tensor.shape or got.dtype != tensor.dtype:
            expected = f"{tensor.dtype} {tensor.shape}"
            raise ObservationError(
                f"{graph} graph: input {name}: expected {expected}, got {got.dtype} {got.shape}"
            )
