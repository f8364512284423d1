"""Plans: TensorRT is asked rightly, its refusals are passed on, and nothing bad is left behind."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

import pytest

onnx = pytest.importorskip("onnx")
import tensorrt_double  # noqa: E402
from gpu_graphs import nvidia_parser  # noqa: E402

from octo_ros.cli import main  # noqa: E402
from octo_ros.engine.bundle import read_bundle  # noqa: E402
from octo_ros.engine.onnx import OnnxBackend  # noqa: E402
from octo_ros.errors import BundleError, ParameterError  # noqa: E402
from octo_ros.gpu.acceptance import Limits  # noqa: E402
from octo_ros.gpu.builder import Builder, check_target  # noqa: E402
from octo_ros.gpu.cache import cache_root, read_engine  # noqa: E402
from octo_ros.gpu.cuda import Gpu  # noqa: E402
from octo_ros.gpu.engines import build_engine, write_graphs  # noqa: E402
from octo_ros.gpu.judge import Judge, Recording  # noqa: E402
from octo_ros.gpu.precision import plan  # noqa: E402
from octo_ros.gpu.typed import cast_pixels  # noqa: E402
from octo_ros.resources import share_path  # noqa: E402

BUNDLE = share_path("demo/policy")
NOISE = Recording(steps=2)
WIDE = Limits(p99_m=1.0, p99_deg=90.0)


@pytest.fixture
def tensorrt(monkeypatch, tmp_path):
    return tensorrt_double.install(monkeypatch, tmp_path / "engines")


@pytest.fixture(scope="module")
def graphs(tmp_path_factory) -> Path:
    """The demo's policy in fp16."""
    folder = tmp_path_factory.mktemp("typed") / "fp16"
    write_graphs(BUNDLE, "fp16", folder, NOISE, WIDE)
    return folder


@pytest.mark.parametrize("version", ["10.3.0", "11.4.0.106"])
def test_a_plan_is_built_strongly_typed_with_progress(monkeypatch, tmp_path, graphs, version) -> None:
    double = tensorrt_double.install(monkeypatch, tmp_path, version=version)
    told: list[tuple[str, int, int]] = []
    layers = Builder(double).build(
        graphs / "step.onnx", tmp_path / "step.plan", lambda *seen: told.append(seen)
    )
    assert (tmp_path / "step.plan").read_bytes().startswith(tensorrt_double.MAGIC)
    assert told[-1] == ("Tactics", 3, 3) and ("Building", 0, 2) in told
    assert layers["HALF"] > 50 and layers["FLOAT"] > 10


def test_what_the_parser_refuses_names_the_node(tensorrt, tmp_path, graphs) -> None:
    tensorrt.refusal = "no such\noperator"
    with pytest.raises(BundleError, match=r"step.onnx: .*node n1 \(Foo\): no such operator"):
        Builder(tensorrt).build(graphs / "step.onnx", tmp_path / "step.plan")
    assert not (tmp_path / "step.plan").exists()


def test_what_cannot_be_built_says_tensorrts_reason(tensorrt, tmp_path, graphs) -> None:
    tensorrt.unbuildable = "Could not find any implementation"
    with pytest.raises(BundleError, match="step.onnx: .*Could not find any implementation"):
        Builder(tensorrt).build(graphs / "step.onnx", tmp_path / "step.plan")


def test_times_of_layers_are_kept_from_build_to_build(tensorrt, tmp_path, graphs) -> None:
    timing = tmp_path / "below" / "timing.cache"
    for _ in range(2):
        Builder(tensorrt, timing).build(graphs / "task.onnx", tmp_path / "task.plan")
    assert tensorrt.timings == [b"", b"times;"]
    timing.write_bytes(b"foreign")
    Builder(tensorrt, timing).build(graphs / "task.onnx", tmp_path / "task.plan")
    assert tensorrt.timings[-1] == b"" and timing.read_bytes() == b"times;"
    assert list(timing.parent.iterdir()) == [timing]


@pytest.mark.parametrize(
    ("target", "capability", "refused"),
    [("here", "8.9", False), ("orin", "8.7", False), ("orin", "8.9", True), ("thor", "11.0", False),
     ("thor", "8.7", True)],
)  # fmt: skip
def test_a_target_is_built_on_the_target(target: str, capability: str, refused: bool) -> None:
    gpu = Gpu("this one", capability)
    if refused:
        with pytest.raises(
            ParameterError, match=f"(?s){target}.*this one with {capability}.*on the {target}"
        ):
            check_target(target, gpu)
    else:
        check_target(target, gpu)


@pytest.mark.parametrize("level", [-1, 6])
def test_an_unknown_optimization_level(tensorrt, level: int) -> None:
    with pytest.raises(ParameterError, match=f"expected 0 to 5, got {level}"):
        Builder(tensorrt, optimization_level=level)


def test_an_engine_is_built_judged_and_found_again(tensorrt, capsys) -> None:
    wide = ["--limit-mm", "1000", "--limit-degrees", "90", "--steps", "2", "--target", "orin"]
    assert main(["build", str(BUNDLE), "--precision", "fp16", *wide]) == 0
    printed = capsys.readouterr().out
    assert "translation_p99_m" in printed and "noise" in printed
    (folder,) = (path for path in cache_root().iterdir() if path.is_dir())
    assert str(folder) in printed
    engine = read_engine(folder)
    assert set(engine.files) == set(read_bundle(BUNDLE).graphs)
    assert {path.name for path in folder.iterdir()} == {*engine.files.values(), "engine.json"}
    assert (engine.key.gpu, engine.key.version, engine.key.target) == ("Orin", "10.13.3.9", "orin")
    assert 0 < engine.checks["translation_p99_m"] < 1.0
    assert "noise" in engine.calibration and engine.layers["step"]["HALF"] > 50
    again = build_engine(BUNDLE, "fp16", NOISE, WIDE, "orin")
    assert not again.fresh and again.engine == engine
    with pytest.raises(BundleError, match="action error"):  # and what was there stays
        build_engine(BUNDLE, "fp16", NOISE, Limits(p99_m=1e-9), "orin", optimization_level=5)
    assert read_engine(folder) == engine


def test_what_is_beyond_the_limits_leaves_nothing(tensorrt) -> None:
    with pytest.raises(BundleError, match="action error against float32"):
        build_engine(BUNDLE, "fp16", NOISE, Limits(p99_m=1e-9))
    assert not [path for path in cache_root().iterdir() if path.is_dir()]
    assert not tensorrt.cuda.memory["device"] and not tensorrt.cuda.memory["host"]


def test_graphs_alone_need_no_gpu(monkeypatch, tmp_path, graphs) -> None:
    for name in ("tensorrt", "cuda.bindings"):
        monkeypatch.setitem(sys.modules, name, None)
    engine = read_engine(graphs)
    assert engine.key.gpu == "any" and engine.key.precision == "fp16"
    with pytest.raises(BundleError, match="action error"):
        write_graphs(BUNDLE, "fp16", tmp_path / "g", NOISE, Limits(p99_m=1e-9))
    assert not [*tmp_path.iterdir()]


def test_graphs_are_measured_with_every_rounding_by_steps_they_were_not_calibrated_with(graphs) -> None:
    judge, engine = Judge.of(BUNDLE, read_bundle(BUNDLE), NOISE), read_engine(graphs)
    assert not {id(step) for step in judge.calibration.steps} & {id(step) for step in judge.steps.steps}
    with closing(OnnxBackend(graphs, judge.manifest)) as without:
        assert 0 < judge.measure(without).to_dict()["translation_p99_m"] != engine.checks["translation_p99_m"]


def test_without_a_library_or_a_gpu_the_verb_says_what_is_missing(monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert main(["build", str(BUNDLE), "--precision", "fp16"]) == 1
    assert "needs the Python package tensorrt" in capsys.readouterr().err
    tensorrt_double.install(monkeypatch, tmp_path, devices=0)
    assert main(["build", str(BUNDLE), "--precision", "fp16"]) == 1
    assert "needs an NVIDIA GPU: CUDA: cudaGetDeviceCount failed: cudaErrorInsufficientDriver" in (
        capsys.readouterr().err
    )
    tensorrt_double.install(monkeypatch, tmp_path, version="8.6.1")
    assert main(["build", str(BUNDLE), "--precision", "fp16"]) == 1
    assert "needs TensorRT 10 or newer, got 8.6.1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--precision", "fp8"], "expected one of fp32, fp16, int8"),
        (["--precision", "int8"], "int8 needs --calibrate"),
        (["--precision", "fp16", "--target", "xavier"], "expected one of here, orin, thor"),
        (["--precision", "fp16", "--limit-mm", "0"], "expected a positive number"),
        (["--precision", "fp16", "--topic", "primary"], "expected NAME=/topic"),
    ],
)
def test_a_users_mistake_is_one_line(tensorrt, capsys, arguments, expected) -> None:
    assert main(["build", str(BUNDLE), "--steps", "2", *arguments]) == 1
    error = capsys.readouterr().err
    assert expected in error and error.count("\n") == 1


@pytest.mark.parametrize("name", ["language", "task", "step", "policy"])
def test_nvidias_own_parser_gives_every_layer_its_planned_type(graphs, name) -> None:
    file = read_bundle(BUNDLE).graphs[name].file
    planned = plan(name, cast_pixels(onnx.load(BUNDLE / file)), "fp16")
    builder, network = Builder(nvidia_parser()).parse(graphs / file)
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    types = {"FLOAT": "fp32", "HALF": "fp16"}
    got = {layer.name: types.get(layer.get_output(0).dtype.name) for layer in layers if layer.num_outputs}
    told = {node: kind for node, kind in got.items() if kind is not None and node in planned}
    assert told == {node: planned[node] for node in told}
    assert len(told) > 0.9 * len(planned)  # the others hand on no floating-point number
    assert builder is not None  # it owns the network


def test_nvidias_own_builder_builds_a_graph(graphs, tmp_path) -> None:
    told: list[str] = []
    Builder(nvidia_parser(), tmp_path / "timing").build(
        graphs / "task.onnx", tmp_path / "plan", lambda stage, *_: told.append(stage)
    )
    assert (tmp_path / "plan").stat().st_size > 100_000 and told
