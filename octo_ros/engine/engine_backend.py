"""A backend that runs what `octo_ros build` made of a bundle, never the bundle's own graphs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping
from pathlib import Path

from octo_ros.engine.backend import Backend
from octo_ros.engine.frames import CameraFrames, prepare_graph
from octo_ros.engine.manifest import Graph, Manifest
from octo_ros.errors import BundleError, ParameterError
from octo_ros.gpu.cache import PRECISIONS, Engine, EngineKey, find_engine


class EngineBackend(Backend):
    """Finds the engine when the first graph opens, and refuses one that is stale or of another machine."""

    def __init__(
        self,
        directory: Path,
        manifest: Manifest,
        threads: int | None = None,
        spinning: bool = False,
        *,
        precision: str = "",
        engine: Path | None = None,
    ) -> None:
        """Names what to run, and looks at nothing yet.

        Args:
            directory, manifest, threads, spinning: as `Backend`.
            precision: one of `PRECISIONS`; may be left empty where `engine` says it.
            engine: folder that `octo_ros build` wrote; None for this GPU's in the cache.

        Raises:
            ParameterError: no precision, or an unknown one.
            BundleError: a bundle that is not float32.
        """
        super().__init__(directory, manifest, threads, spinning)
        if precision not in PRECISIONS and (precision or engine is None):
            raise ParameterError(
                f"precision: backend {self.name} needs one of {', '.join(PRECISIONS)}, got {precision!r}"
            )
        if manifest.precision != "float32":
            raise BundleError(
                f"{directory}: backend {self.name} needs the float32 bundle, got {manifest.precision}"
            )
        self.precision = precision
        self._asked = engine
        self._folder: Path | None = None
        self._engine: Engine | None = None
        self._frames: dict[str, CameraFrames] = {}
        self._preparing: dict[str, Graph] = {}  # graphs that prepare these frames
        self._told: dict[str, str] = {}  # of library and GPU, by `_start`

    def frames(self) -> Mapping[str, CameraFrames]:
        if self._engine is None:
            self._find()
        return self._frames

    def details(self) -> dict[str, str]:
        told = {**super().details(), "precision": self.precision, "engine": str(self._folder), **self._told}
        if self._engine is not None:
            told |= {f"frames {camera}": self._where(camera) for camera in self.manifest.cameras}
        return told

    def _where(self, camera: str) -> str:
        """Where a camera's frames are prepared."""
        if camera in self._frames:
            return self._frames[camera].where()
        reason = self._rounding() if camera in self._engine.frames else ""
        return f"on the CPU, {reason}" if reason else "on the CPU"

    def close(self) -> None:
        super().close()
        if self._folder is not None:
            self._stop()
            self._folder = None

    def _names(self) -> Collection[str]:
        return [*self.manifest.graphs, *map(prepare_graph, self.frames())]

    def _described(self, name: str) -> Graph:
        if name in self.manifest.graphs:
            return super()._described(name)
        self.frames()
        self._check_there(name, self._preparing)
        return self._preparing[name]

    def _path(self, name: str) -> Path:
        if self._folder is None:
            self._find()
        self._check_there(name, self._engine.files)
        return self._folder / self._engine.files[name]

    def _check_there(self, name: str, graphs: Collection[str]) -> None:
        if name not in graphs:
            raise BundleError(f"{self._folder}: has no {name} graph; build the engine again")

    def _find(self) -> None:
        """Starts the library, and finds the engine that may run here."""
        here = self._start()
        try:
            self._folder, self._engine = find_engine(here, self.directory, self._asked)
        except BaseException:
            self._stop()
            raise
        self.precision = self._engine.key.precision
        self._frames, self._preparing = {}, {}
        for camera, made in self._engine.frames.items():
            if camera in self.manifest.cameras and not self._rounding():
                name = prepare_graph(camera)
                self._frames[camera] = made
                self._preparing[name] = made.graph(self._engine.files[name], self.manifest.cameras[camera])

    def _rounding(self) -> str:
        """Why float32 would be rounded here, so that frames are the CPU's; empty where it is not."""
        return ""

    @abstractmethod
    def _start(self) -> EngineKey:
        """Gets hold of the library and the GPU; what an engine must be of to run here.

        Raises:
            ParameterError: what is missing.
        """

    @abstractmethod
    def _stop(self) -> None:
        """Lets go of what `_start` got hold of."""
