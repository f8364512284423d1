"""Where frames are prepared: by the backend those of the size and crop that it has a graph for, else here."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_bundle import PRIMARY, WRIST, write_bundle

from octo_ros.engine.bundle import read_bundle
from octo_ros.engine.frames import CameraFrames, prepare_graph
from octo_ros.engine.manifest import Graph, Manifest
from octo_ros.engine.onnx import OnnxBackend
from octo_ros.errors import ObservationError
from octo_ros.policy.images import prepare_image
from octo_ros.policy.options import ActOptions
from octo_ros.policy.policy import Policy
from octo_ros.policy.preparation import Preparation
from octo_ros.types import Observation, Task

FRAMES = {"primary": CameraFrames(48, 64, True)}
ON_GPU = "64x48 on the GPU, other sizes on the CPU"
GREY = 77
"""What the fake backend makes of every frame."""


class Preparing(OnnxBackend):
    """Has a graph for frames of one camera, without a file, that answers with grey."""

    def __init__(self, directory: Path, manifest: Manifest, frames: Mapping[str, CameraFrames]) -> None:
        super().__init__(directory, manifest, 1)
        self._frames = frames
        self.opened: list[str] = []
        self.prepared: list[np.ndarray] = []

    def frames(self) -> Mapping[str, CameraFrames]:
        return self._frames

    def details(self) -> dict[str, str]:
        return {
            f"frames {camera}": f"{made} on the GPU, other sizes on the CPU"
            for camera, made in self._frames.items()
        }

    def _described(self, name: str) -> Graph:
        for camera, made in self._frames.items():
            if name == prepare_graph(camera):
                return made.graph("none.onnx", self.manifest.cameras[camera])
        return super()._described(name)

    def _path(self, name: str) -> Path:
        return self.directory / self._described(name).file

    def _open_graph(self, name: str, path: Path) -> Any:
        if not name.startswith("prepare_"):
            return super()._open_graph(name, path)
        self.opened.append(name)
        described = self._described(name)
        return tuple(
            {key: (tensor.dtype, tensor.shape) for key, tensor in side.items()}
            for side in (described.inputs, described.outputs)
        )

    def _run_graph(self, name: str, inputs: Mapping[str, np.ndarray], outputs: list[str]) -> list[np.ndarray]:
        if not name.startswith("prepare_"):
            return super()._run_graph(name, inputs, outputs)
        self.prepared.append(inputs["frame"])
        return [np.full(self._described(name).outputs["prepared"].shape, GREY, np.uint8)]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("p") / "bundle"
    write_bundle(folder, language=False, diffusion_steps=0)
    return folder


def policy(bundle: Path, frames: Mapping[str, CameraFrames] = FRAMES, **options: Any):
    backend = Preparing(bundle, read_bundle(bundle), frames)
    return Policy(backend, ActOptions(**options)), backend


def frame(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_frame_of_the_engines_size_is_the_backends(bundle, caplog) -> None:
    acting, backend = policy(bundle)
    assert backend.opened == ["prepare_primary"], "when the policy is made, not at the first frame"
    given = frame(48, 64)
    np.testing.assert_array_equal(
        acting.prepare_frame("primary", given).pixels, np.full((PRIMARY.height, PRIMARY.width, 3), GREY)
    )
    assert backend.prepared[0] is given
    wrist = frame(30, 30)
    np.testing.assert_array_equal(
        acting.prepare_frame("wrist", wrist).pixels, prepare_image(wrist, WRIST.height, WRIST.width, False)
    )
    assert acting.backend_details == {"frames primary": ON_GPU} and not caplog.records


def test_a_frame_of_another_size_is_the_cpus_and_told_once(bundle, caplog) -> None:
    acting, backend = policy(bundle)
    for size in ((48, 65), (48, 65), (64, 48)):
        given = frame(*size)
        np.testing.assert_array_equal(
            acting.prepare_frame("primary", given).pixels,
            prepare_image(given, PRIMARY.height, PRIMARY.width, True),
        )
    assert not backend.prepared
    (told,) = caplog.records
    assert told.levelno == logging.WARNING
    assert "frames of primary are 65x48, and the engine was built for 64x48" in told.message
    assert "--frames primary=65x48" in told.message
    assert acting.backend_details["frames primary"] == f"{ON_GPU}, as 65x48 that came"
    acting.prepare_frame("primary", frame(48, 64))
    assert len(backend.prepared) == 1


@pytest.mark.parametrize("crops", [False, True])
def test_another_crop_than_the_engines_is_the_cpus(bundle, caplog, crops) -> None:
    """By the option, or by a manifest that was changed after the engine was built."""
    acting, backend = policy(bundle, {"primary": CameraFrames(48, 64, crops)}, center_crop=not crops)
    given = frame(48, 64)
    np.testing.assert_array_equal(
        acting.prepare_frame("primary", given).pixels,
        prepare_image(given, PRIMARY.height, PRIMARY.width, not crops),
    )
    acting.warm_up()
    assert not backend.opened and not backend.prepared and not caplog.records
    engine = "crops" if crops else "does not crop"
    assert acting.backend_details["frames primary"] == (
        f"on the CPU, for the engine {engine} and these options do otherwise"
    )


def test_the_backends_frame_is_what_the_network_sees(bundle) -> None:
    acting, _ = policy(bundle)
    acting.set_task(Task(goal_images={"primary": np.full((48, 64, 3), 200, np.uint8)}))
    action = acting.act(Observation(1, {"primary": frame(48, 64)}))
    expected = (2 * GREY + 200) / 255  # the newest of two steps counts twice, and the goal is the CPU's
    np.testing.assert_allclose(action.chunk[0], expected, atol=1e-5)


def test_warming_up_runs_the_graph(bundle) -> None:
    acting, backend = policy(bundle)
    acting.warm_up()
    assert [image.shape for image in backend.prepared] == [(48, 64, 3)] and not backend.prepared[0].any()


@pytest.mark.parametrize("image", [np.zeros((48, 64, 3), np.float32), np.zeros((48, 64), np.uint8), [[1]]])
def test_what_is_no_frame_is_refused_as_without_a_graph(bundle, caplog, image) -> None:
    acting, _ = policy(bundle)
    with pytest.raises(ObservationError, match="image 'primary': expected"):
        acting.prepare_frame("primary", image)
    with pytest.raises(ObservationError, match="image 'front': unknown camera"):
        acting.prepare_frame("front", frame(48, 64))
    assert not caplog.records


def test_frames_of_the_networks_own_size_need_nothing(bundle, caplog) -> None:
    acting, backend = policy(bundle, {"wrist": CameraFrames(30, 30, False)})
    given = frame(WRIST.height, WRIST.width)
    assert acting.prepare_frame("wrist", given).pixels is given
    assert not backend.prepared and not caplog.records


def test_without_a_backend_every_frame_is_the_cpus(bundle) -> None:
    preparation = Preparation(read_bundle(bundle), ActOptions())
    given = frame(48, 64)
    np.testing.assert_array_equal(
        preparation.frame("primary", given).pixels, prepare_image(given, PRIMARY.height, PRIMARY.width, True)
    )
    assert not preparation.details()
