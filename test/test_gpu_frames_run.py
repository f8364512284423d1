"""Frames that an engine prepares: it is built for their sizes, judged, run, and says what it does.

TensorRT and CUDA are the stand-ins of `tensorrt_double`; ONNX Runtime is itself, on the CPU.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import shutil
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed (extra 'export')")
import tensorrt_double  # noqa: E402
from gpu_graphs import OnCpu, write_plans  # noqa: E402

import octo_ros  # noqa: E402
from octo_ros.benchmark import measure  # noqa: E402
from octo_ros.cli import main  # noqa: E402
from octo_ros.engine import make_backend  # noqa: E402
from octo_ros.engine.bundle import read_bundle  # noqa: E402
from octo_ros.engine.frames import CameraFrames  # noqa: E402
from octo_ros.engine.onnx_gpu import OnnxTensorRTBackend, TensorRTRTXBackend  # noqa: E402
from octo_ros.errors import BundleError, ParameterError  # noqa: E402
from octo_ros.gpu import frames as gpu_frames  # noqa: E402
from octo_ros.gpu.acceptance import Limits  # noqa: E402
from octo_ros.gpu.cache import cache_root, read_engine, write_engine  # noqa: E402
from octo_ros.gpu.engines import Built, build_engine, write_graphs  # noqa: E402
from octo_ros.gpu.frames import LEVELS, SHARE, FrameError, frame_errors, write_frame_graphs  # noqa: E402
from octo_ros.gpu.judge import Recording  # noqa: E402
from octo_ros.policy.images import axis_weights, prepare_image  # noqa: E402
from octo_ros.resources import share_path  # noqa: E402
from octo_ros.verbs.bench import show_gpu  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent

POLICY, BUNDLE = share_path("demo/policy"), share_path("demo/bundle")
MANIFEST = read_bundle(BUNDLE)
FRAMES = {"primary": CameraFrames(480, 640, True), "wrist": CameraFrames(120, 161, False)}
NOISE = Recording(steps=2)
WIDE = Limits(p99_m=1.0, p99_deg=90.0)
WIDELY = ["--limit-mm", "1000", "--limit-degrees", "90", "--steps", "2", "--precision", "fp16"]


@pytest.fixture
def tensorrt(monkeypatch, tmp_path):
    return tensorrt_double.install(monkeypatch, tmp_path / "engines")


@pytest.fixture(scope="module")
def plans(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("orin")
    write_plans(folder, BUNDLE, FRAMES)
    return folder


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_an_engine_is_one_of_its_frames_sizes(tensorrt, capsys) -> None:
    """The same sizes find it, others build it anew in its place, none leave it without."""
    command = ["build", str(POLICY), *WIDELY]
    assert main([*command, "--frames", "wrist=320x240"]) == 0
    printed = capsys.readouterr().out
    assert "prepares frames: wrist of 320x240" in printed and "frames_wrist_levels" in printed
    again = build_engine(POLICY, "fp16", NOISE, WIDE, sizes={"wrist": (240, 320)})
    assert not again.fresh and again.engine.frames == {"wrist": CameraFrames(240, 320, False)}
    assert again.engine.checks["frames_wrist_share"] <= SHARE
    assert "HALF" not in again.engine.layers["prepare_wrist"]
    other = build_engine(POLICY, "fp16", NOISE, WIDE, sizes={"wrist": (240, 321)})
    assert other.fresh and other.folder == again.folder
    assert other.engine.frames == {"wrist": CameraFrames(240, 321, False)}
    assert main(command) == 0
    assert "prepares frames: none, the CPU does" in capsys.readouterr().out
    assert not (other.folder / "prepare_wrist.plan").exists()
    assert not tensorrt.cuda.memory["device"] and not tensorrt.cuda.memory["host"]


def test_graphs_alone_have_the_frames_too(tmp_path, monkeypatch) -> None:
    built = write_graphs(POLICY, "fp16", tmp_path / "g", NOISE, WIDE, sizes={"wrist": (48, 64)})
    assert built.engine.frames == {"wrist": CameraFrames(48, 64, False)}
    assert built.engine.files["prepare_wrist"] == "prepare_wrist.onnx"
    manifest, image = read_bundle(POLICY), noise(48, 64)
    with closing(OnCpu(POLICY, manifest, 1, engine=tmp_path / "g")) as backend:
        got = backend.prepare_frame("wrist", image, False)
        assert np.abs(got.astype(int) - prepare_image(image, 96, 96, False)).max() <= LEVELS
        assert backend.details()["frames wrist"] == "64x48 on the GPU, other sizes on the CPU"


@pytest.mark.parametrize("kind", [OnnxTensorRTBackend, TensorRTRTXBackend])
def test_where_tensorrt_may_round_to_tf32_frames_are_the_cpus(tmp_path, monkeypatch, kind) -> None:
    class Rounding(OnCpu):
        _rounding = kind._rounding

    write_graphs(POLICY, "fp32", tmp_path / "g", NOISE, WIDE, sizes={"wrist": (48, 64)})
    for value, where in (("0", "64x48 on the GPU, other"), ("", "on the CPU, for TensorRT may round them")):
        monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", value)
        with closing(Rounding(POLICY, read_bundle(POLICY), 1, engine=tmp_path / "g")) as backend:
            assert (backend.prepare_frame("wrist", noise(48, 64), False) is not None) == (value == "0")
            assert backend.details()["frames wrist"].startswith(where)


@pytest.mark.parametrize("graphs_only", [False, True])
def test_frames_beyond_the_limit_leave_nothing(tensorrt, tmp_path, monkeypatch, graphs_only) -> None:
    """A weight that is off by a hundredth: the actions would pass."""
    monkeypatch.setattr(gpu_frames, "axis_weights", lambda *axis: 1.01 * axis_weights(*axis))
    with pytest.raises(BundleError, match=r"frames of wrist against the CPU's: .* got \d+ levels and"):
        if graphs_only:
            write_graphs(POLICY, "fp16", tmp_path / "g", NOISE, WIDE, sizes={"wrist": (48, 64)})
        else:
            build_engine(POLICY, "fp16", NOISE, WIDE, sizes={"wrist": (48, 64)})
    assert not (tmp_path / "g").exists()
    assert not [path for path in cache_root().glob("*") if path.is_dir()]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["front=640x480"], "--frames front: unknown camera; this bundle has wrist"),
        (["wrist=96x96"], "--frames wrist: 96x96 is the network's own size, and this camera is not cropped"),
        (["wrist=640x1"], "--frames wrist: expected 2 to 8192 pixels a side, got 640x1"),
        (["wrist=0x480"], "expected 2 to 8192 pixels a side, got 0x480"),
        (["wrist=640x9000"], "expected 2 to 8192 pixels a side, got 640x9000"),
        (["wrist=640x480", "wrist=320x240"], "--frames wrist: expected one size a camera, got a second"),
        (["wrist=640"], "--frames: expected CAMERA=WIDTHxHEIGHT, such as primary=640x480, got 'wrist=640'"),
        (["wrist=640x480x3"], "expected CAMERA=WIDTHxHEIGHT"),
        (["wrist=-640x480"], "expected CAMERA=WIDTHxHEIGHT"),
        (["640x480"], "expected CAMERA=WIDTHxHEIGHT"),
        (["200"], "expected CAMERA=WIDTHxHEIGHT"),
    ],
)
@pytest.mark.parametrize("graphs_only", [False, True])
def test_a_users_mistake_is_one_line(tensorrt, capsys, tmp_path, given, said, graphs_only) -> None:
    entries = [part for entry in given for part in ("--frames", entry)]
    where = ["--graphs-only", str(tmp_path / "g")] if graphs_only else []
    assert main(["build", str(POLICY), *WIDELY, *entries, *where]) == 1
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_a_frame_is_prepared_by_one_captured_launch(tensorrt, plans) -> None:
    with closing(make_backend("tensorrt", BUNDLE, MANIFEST, engine=plans)) as backend:
        for camera, made in FRAMES.items():
            backend.open(f"prepare_{camera}")
            tensorrt.cuda.copies.clear()
            launches, image = tensorrt.cuda.launches, noise(made.height, made.width)
            got = backend.prepare_frame(camera, image, made.center_crop)
            assert tensorrt.cuda.launches == launches + 1
            assert tensorrt.cuda.copies == {"HostToDevice": image.nbytes, "DeviceToHost": got.nbytes}
            image[:] = 7  # a camera's buffer that is filled again is sent again
            np.testing.assert_array_equal(backend.prepare_frame(camera, image, made.center_crop), 7)
            assert got.max() > 7, "a frame that was handed out does not change"
        errors = frame_errors(backend, backend.frames())
        assert set(errors) == set(FRAMES)
        assert errors["primary"].values == gpu_frames.JUDGED * 256 * 256 * 3
        for camera, error in errors.items():
            error.check(camera)
    assert not tensorrt.cuda.memory["device"] and not tensorrt.cuda.memory["host"]


def test_only_frames_of_the_engines_size_and_crop_are_the_gpus(tensorrt, plans) -> None:
    with closing(make_backend("tensorrt", BUNDLE, MANIFEST, engine=plans)) as backend:
        primary = noise(480, 640)
        assert backend.prepare_frame("primary", primary, True) is not None
        flipped = primary[:, ::-1]
        np.testing.assert_array_equal(
            backend.prepare_frame("primary", flipped, True),
            backend.prepare_frame("primary", np.ascontiguousarray(flipped), True),
        )
        for camera, image, crop in (
            ("primary", primary, False),
            ("primary", noise(640, 480), True),
            ("primary", primary.astype(np.float32), True),
            ("primary", primary.tolist()[:2], True),
            ("wrist", primary, False),
            ("front", primary, True),
        ):
            assert backend.prepare_frame(camera, image, crop) is None
        with pytest.raises(BundleError, match=r"orin\d+: has no prepare_front graph; build the engine again"):
            backend.open("prepare_front")


def test_a_policy_acts_on_frames_that_the_gpu_prepared(tensorrt, plans, caplog) -> None:
    """As on frames that the CPU prepared, but for a level here and there."""
    images = {"primary": noise(480, 640), "wrist": noise(120, 161)}
    options = octo_ros.ActOptions(seed=1, dataset="bridge_dataset", mask_language=True)
    actions = []
    for backend, engine in (("onnxruntime", None), ("tensorrt", plans)):
        with octo_ros.load_policy(BUNDLE, backend, options, threads=1, engine=engine) as policy:
            policy.warm_up()
            policy.set_task(octo_ros.Task("pick up the cube"))
            actions.append(policy.act(octo_ros.Observation(1, images)).normalized)
            details = policy.backend_details
    np.testing.assert_allclose(*actions, rtol=0, atol=0.05)
    assert details["frames primary"] == "640x480 on the GPU, other sizes on the CPU"
    assert details["frames wrist"] == "161x120 on the GPU, other sizes on the CPU"
    assert "prepared on the CPU" not in caplog.text
    assert not [name for name in details if "without a CUDA graph" in name]


def test_a_graph_of_another_network_size_is_refused(tensorrt, plans, tmp_path) -> None:
    """When the policy is loaded, not at the first frame."""
    folder = shutil.copytree(plans, tmp_path / "other")
    other = {"primary": dataclasses.replace(MANIFEST.cameras["primary"], height=128)}
    write_frame_graphs({"primary": FRAMES["primary"]}, dataclasses.replace(MANIFEST, cameras=other), tmp_path)
    model = (tmp_path / "prepare_primary.onnx").read_bytes()
    (folder / "prepare_primary.plan").write_bytes(tensorrt_double.MAGIC + model)
    write_engine(folder, read_engine(plans))
    said = r"primary.plan: output prepared: the manifest says uint8 \(256, 256, 3\), the file uint8 \(128"
    with pytest.raises(BundleError, match=said):
        octo_ros.load_policy(BUNDLE, "tensorrt", engine=folder)


def test_verify_judges_frames_and_says_where_each_is_prepared(tensorrt, plans, capsys, monkeypatch) -> None:
    command = ["verify", str(BUNDLE), "--backend", "tensorrt", "--engine", str(plans), "--steps", "2"]
    assert main([*command, "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert body["frame_error"]["wrist"]["levels"] <= LEVELS
    assert body["details"]["frames primary"] == "640x480 on the GPU, other sizes on the CPU"
    wrong = FrameError(100, 3, 0.2)
    monkeypatch.setattr(gpu_frames, "frame_errors", lambda *_: {"wrist": wrong})
    assert main(command) == 1
    printed = capsys.readouterr().out
    assert "frames wrist: 161x120 on the GPU, other sizes on the CPU" in printed
    assert "wrist's frames against the CPU's: 3 levels and 20.000% of 100 values" in printed
    assert "FAILED: frames of wrist" in printed


def test_bench_times_frames_on_the_gpu_beside_the_cpu(tensorrt, plans, tmp_path, monkeypatch, capsys) -> None:
    """Where the engine is for all cameras' frames of the size that is measured."""
    monkeypatch.setattr(measure, "ENERGY_SECONDS", 0.05)
    crops = {name: camera.center_crop for name, camera in MANIFEST.cameras.items()}
    engine = write_plans(
        tmp_path, BUNDLE, {name: CameraFrames(480, 640, crop) for name, crop in crops.items()}
    )
    one = measure.Setup("gpu", "stages", str(BUNDLE), "fp32", backend="tensorrt", engine=str(plans))
    assert measure.measure_here(one, 1).gpu_frames is None
    got = measure.measure_here(dataclasses.replace(one, engine=str(tmp_path)), 2)
    assert 0 < got.gpu_frames.p50 <= got.gpu_frames.p99
    show_gpu(got)
    assert "all cameras' frames of 640x480 prepared in" in capsys.readouterr().out
    spec = importlib.util.spec_from_file_location("bench_gpu", ROOT / "bench" / "gpu.py")
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    checks = {"translation_p99_m": 1e-4, "rotation_p99_deg": 0.1}
    for camera, levels in (("primary", 0), ("wrist", 1)):
        checks |= {f"frames_{camera}_levels": levels, f"frames_{camera}_share": levels / 1e4}
    row = bench.row("small, fp16", got, Built(tmp_path, dataclasses.replace(engine, checks=checks), True))
    cells = [cell.strip() for cell in row.strip().strip("|").split("|")]
    assert len(cells) == bench.HEADER.splitlines()[0].count("|") - 1
    assert cells[-2] == f"{1e3 * got.gpu_frames.p50:.2f}, {1e3 * got.frames.p50:.2f}"
    assert cells[-1] == "1, 0.010%"


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_on_a_real_gpu_frames_are_the_cpus(tmp_path, monkeypatch, precision) -> None:
    """Builds, judges and runs: `make gpu`."""
    monkeypatch.setenv("OCTO_ROS_ENGINES", str(tmp_path))
    sizes = {"primary": (480, 640), "wrist": (479, 641)}
    built = build_engine(BUNDLE, precision, Recording(steps=4), WIDE, sizes=sizes)
    assert set(built.engine.frames) == set(sizes)
    with closing(make_backend("tensorrt", BUNDLE, MANIFEST, precision=precision)) as backend:
        for camera, error in frame_errors(backend, backend.frames(), seed=1).items():
            error.check(camera)
        assert "on the GPU" in backend.details()["frames primary"]
        assert not [detail for detail in backend.details() if "prepare" in detail]  # all are CUDA graphs


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["onnxruntime-cuda", "onnxruntime-tensorrt", "onnxruntime-tensorrt-rtx"])
def test_on_a_real_gpu_onnxruntime_prepares_the_cpus_frames(tmp_path, monkeypatch, name) -> None:
    """Skips where ONNX Runtime has no such provider."""
    monkeypatch.setenv("OCTO_ROS_ENGINES", str(tmp_path / "engines"))
    sizes = {"primary": (480, 640), "wrist": (479, 641)}
    write_graphs(BUNDLE, "fp16", tmp_path / "g", Recording(steps=2), WIDE, sizes=sizes)
    with closing(make_backend(name, BUNDLE, MANIFEST, engine=tmp_path / "g")) as backend:
        try:
            backend.open("step")
        except ParameterError as error:
            pytest.skip(str(error))
        errors = frame_errors(backend, backend.frames())
        if not errors:
            pytest.skip(backend.details()["frames primary"])
        for camera, error in errors.items():
            error.check(camera)
