"""The GPU backends: the same actions as on the CPU, and no other backend than the one that was asked for.

TensorRT and CUDA are the stand-ins of `tensorrt_double`; ONNX Runtime is itself, on the CPU.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import onnxruntime
import pytest

pytest.importorskip("onnx")
import tensorrt_double  # noqa: E402
from gpu_graphs import OnCpu, write_plans  # noqa: E402

import octo_ros  # noqa: E402
from octo_ros.cli import main  # noqa: E402
from octo_ros.engine import BACKENDS, make_backend  # noqa: E402
from octo_ros.engine.bundle import read_bundle  # noqa: E402
from octo_ros.engine.network import StagedNetwork  # noqa: E402
from octo_ros.engine.onnx import OnnxBackend  # noqa: E402
from octo_ros.engine.onnx_gpu import NO_CPU, CudaBackend, OnnxTensorRTBackend  # noqa: E402
from octo_ros.errors import BundleError, ParameterError  # noqa: E402
from octo_ros.gpu.cache import (  # noqa: E402
    ANY,
    GRAPHS,
    PLANS,
    Engine,
    EngineKey,
    bundle_digest,
    graphs_digest,
    write_engine,
)
from octo_ros.resources import share_path  # noqa: E402
from octo_ros.verify.checks import TOLERANCES, random_noise, random_task, random_timestep  # noqa: E402

BUNDLE = share_path("demo/bundle")
MANIFEST = read_bundle(BUNDLE)
GPU = [name for name in BACKENDS if name != "onnxruntime"]
ON_ONNX = [name for name in GPU if name.startswith("onnxruntime-")]


@pytest.fixture(scope="module")
def plans(tmp_path_factory) -> Path:
    """An engine of the stand-in: the bundle's own graphs as plans, for an Orin."""
    folder = tmp_path_factory.mktemp("orin")
    write_plans(folder, BUNDLE)
    return folder


@pytest.fixture(scope="module")
def graphs(tmp_path_factory) -> Path:
    """An engine for ONNX Runtime: the bundle's own graphs."""
    folder = tmp_path_factory.mktemp("engines") / "graphs"
    folder.mkdir()
    for path in BUNDLE.iterdir():
        if path.suffix in (".onnx", ".bin"):
            (folder / path.name).write_bytes(path.read_bytes())
    key = EngineKey(GRAPHS, "", ANY, ANY, "fp32", ANY, bundle_digest(MANIFEST), graphs_digest(folder))
    describe(folder, key, {name: graph.file for name, graph in MANIFEST.graphs.items()})
    return folder


def describe(folder: Path, key: EngineKey, files: dict[str, str]) -> None:
    write_engine(folder, Engine(key, files, {}, {}, {}, "nothing", {}, "2026-11-27T00:00:00+00:00"))


@pytest.fixture
def tensorrt(monkeypatch, tmp_path):
    return tensorrt_double.install(monkeypatch, tmp_path)


def episode(backend) -> list[dict[str, np.ndarray]]:
    """What two tasks and five frames give, each frame's history prepared but for one."""
    rng = np.random.default_rng(5)
    network = StagedNetwork(backend)
    answers, timesteps = [], []
    for index in range(5):
        if index in (0, 3):
            network.set_task(random_task(backend, rng))
        timesteps = [*timesteps, random_timestep(MANIFEST, rng, None)][-MANIFEST.window :]
        answers.append(network.infer(timesteps, random_noise(MANIFEST, rng)))
        if index != 2:
            network.prepare(timesteps)
    return answers


@pytest.fixture(scope="module")
def expected() -> list[dict[str, np.ndarray]]:
    backend = OnnxBackend(BUNDLE, MANIFEST, 1)
    answers = episode(backend)
    backend.close()
    return answers


def zeros(graph: str) -> dict[str, np.ndarray]:
    inputs = MANIFEST.graphs[graph].inputs
    return {name: np.zeros(tensor.shape, tensor.dtype) for name, tensor in inputs.items()}


def assert_same(answers, expected) -> None:
    for got, wanted in zip(answers, expected, strict=True):
        for name in ("actions", "readout"):
            np.testing.assert_allclose(got[name], wanted[name], rtol=0, atol=TOLERANCES[name])


@pytest.mark.parametrize("uncapturable", [False, True])
def test_tensorrt_acts_as_onnxruntime_does(tensorrt, plans, expected, uncapturable) -> None:
    tensorrt.uncapturable = uncapturable
    backend = make_backend("tensorrt", BUNDLE, MANIFEST, precision="fp32", engine=plans)
    assert_same(episode(backend), expected)
    details = backend.details()
    assert details["provider"] == "TensorRT 10.13.3.9" and details["gpu"] == "Orin, compute capability 8.7"
    assert details["engine"] == str(plans) and details["precision"] == "fp32"
    assert ("step without a CUDA graph" in details) == uncapturable
    assert (tensorrt.cuda.launches == 0) == uncapturable
    backend.close()
    assert not tensorrt.cuda.memory["device"] and not tensorrt.cuda.memory["host"]
    assert not tensorrt.cuda.streams


def test_between_a_frame_and_its_action_only_what_is_new_is_sent(tensorrt, plans) -> None:
    backend = make_backend("tensorrt", BUNDLE, MANIFEST, engine=plans)
    rng = np.random.default_rng(0)
    network = StagedNetwork(backend)
    network.set_task(random_task(backend, rng))
    timesteps = [random_timestep(MANIFEST, rng, None)]
    network.infer(timesteps, random_noise(MANIFEST, rng))  # the task's arrays are sent once
    network.prepare(timesteps)
    timesteps.append(random_timestep(MANIFEST, rng, None))
    noise = random_noise(MANIFEST, rng)
    tensorrt.cuda.copies.clear()
    network.infer(timesteps, noise)
    new = sum(array.nbytes for array in timesteps[-1].values())
    new += sum(array[..., -1:, :].nbytes for array in noise.values())
    assert tensorrt.cuda.copies["HostToDevice"] == new
    assert tensorrt.cuda.copies["DeviceToDevice"] == 0
    outputs = MANIFEST.graphs["step"].outputs.values()
    wanted = sum(int(np.prod(tensor.shape)) * np.dtype(tensor.dtype).itemsize for tensor in outputs)
    assert tensorrt.cuda.copies["DeviceToHost"] == wanted
    backend.close()


def test_an_array_that_may_have_changed_is_sent_again(tensorrt, plans) -> None:
    backend = make_backend("tensorrt", BUNDLE, MANIFEST, engine=plans)
    inputs = MANIFEST.graphs["language"].inputs
    tokens = {name: np.ones(tensor.shape, tensor.dtype) for name, tensor in inputs.items()}
    first = backend.run("language", tokens)["language_tokens"]
    tokens["input_ids"][:] = 2
    second = backend.run("language", tokens)["language_tokens"]
    assert not np.array_equal(first, second)
    with pytest.raises(ValueError, match="read-only"):
        second[...] = 0
    backend.close()


@pytest.mark.parametrize("spinning", [False, True])
def test_how_to_wait_for_the_gpu_is_the_users_choice(tensorrt, plans, spinning) -> None:
    backend = make_backend("tensorrt", BUNDLE, MANIFEST, spinning=spinning, engine=plans)
    backend.open("language")
    assert backend.details()["precision"] == "fp32"
    backend.close()
    assert tensorrt.cuda.flags == (1 if spinning else 4)


def test_too_little_memory_frees_what_was_taken(tensorrt, plans) -> None:
    tensorrt.cuda.room = 100_000
    backend = make_backend("tensorrt", BUNDLE, MANIFEST, engine=plans)
    with pytest.raises(BundleError, match="cudaMalloc.* failed: cudaErrorMemoryAllocation"):
        backend.open("step")
    backend.close()
    assert not tensorrt.cuda.memory["device"] and not tensorrt.cuda.memory["host"]


def test_a_plan_that_tensorrt_cannot_load(tensorrt, plans, tmp_path) -> None:
    (tmp_path / "step.plan").write_bytes(b"of another version")
    key = EngineKey(PLANS, "10.13.3.9", "Orin", "8.7", "fp32", "here", bundle_digest(MANIFEST))
    describe(tmp_path, key, {"step": "step.plan"})
    backend = make_backend("tensorrt", BUNDLE, MANIFEST, engine=tmp_path)
    with pytest.raises(
        BundleError, match="step.plan: TensorRT cannot load it: Serialization assertion failed"
    ):
        backend.open("step")
    with pytest.raises(BundleError, match="has no history graph"):
        backend.open("history")
    backend.close()


@pytest.mark.parametrize(
    ("here", "said"),
    [({"name": "NVIDIA H100", "compute_capability": (9, 0)}, "GPU: built for Orin, here is NVIDIA H100"),
     ({"version": "10.3.0"}, "TensorRT: built for 10.13.3.9, here is 10.3.0")],
)  # fmt: skip
def test_an_engine_of_elsewhere_is_refused(monkeypatch, tmp_path, plans, here, said) -> None:
    tensorrt_double.install(monkeypatch, tmp_path, **here)
    with pytest.raises(BundleError) as raised:
        octo_ros.load_policy(BUNDLE, "tensorrt", precision="fp32", engine=plans)
    assert said in str(raised.value) and f"octo_ros build {BUNDLE} --precision fp32" in str(raised.value)


def test_bound_outputs_feed_the_next_graph(graphs, expected, monkeypatch) -> None:
    backend = OnCpu(BUNDLE, MANIFEST, 1, engine=graphs)
    assert_same(episode(backend), expected)
    assert backend.details()["provider"].startswith("CPUExecutionProvider of ONNX Runtime")
    past, sent = backend.run("history", zeros("history")), []
    send = onnxruntime.OrtValue.ortvalue_from_numpy

    def sending(array, *place):
        sent.append(array)
        return send(array, *place)

    monkeypatch.setattr(onnxruntime.OrtValue, "ortvalue_from_numpy", sending)
    inputs = zeros("step")
    kept = set(past) & set(inputs)
    backend.run("step", {**inputs, **{name: past[name] for name in kept}})
    assert kept and len(sent) == len(inputs) - len(kept)
    backend.close()


@pytest.mark.parametrize("name", ON_ONNX)
def test_a_provider_that_is_not_here_is_an_error_with_what_to_install(name, graphs, monkeypatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    monkeypatch.setitem(sys.modules, "onnxruntime_ep_nv_tensorrt_rtx", None)
    with pytest.raises(ParameterError, match=f"backend {name}: needs.*install octo_ros with its extra"):
        octo_ros.load_policy(BUNDLE, name, precision="fp32", engine=graphs)


def is_strict(options) -> bool:
    """Whether a session may leave nothing to the CPU; ONNX Runtime raises for an entry that is not there."""
    try:
        return options.get_session_config_entry(NO_CPU) == "1"
    except Exception:
        return False


@pytest.mark.parametrize("kind", [CudaBackend, OnnxTensorRTBackend])
def test_a_provider_that_does_not_start_is_an_error_and_never_the_cpu(kind, graphs, monkeypatch) -> None:
    """As with onnxruntime-gpu on a machine without a GPU, where ONNX Runtime by itself goes on on the CPU."""
    session, asked = onnxruntime.InferenceSession, []

    def start(path, options, providers, enable_fallback):
        asked.append(([name for name, _ in providers], enable_fallback, is_strict(options)))
        if is_strict(options):
            raise RuntimeError("fallback to CPU EP has been explicitly disabled by the user")
        return session(path, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "InferenceSession", start)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [kind.provider])
    with pytest.raises(ParameterError, match=f"{kind.provider} did not start; got .*CPU.*: install octo_ros"):
        octo_ros.load_policy(BUNDLE, kind.name, precision="fp32", engine=graphs)
    assert asked == [([kind.provider], 0, True), ([kind.provider], 0, False)]


def test_nodes_that_a_provider_leaves_to_the_cpu_are_named(graphs) -> None:
    class Picky(OnCpu):
        def _options(self, onnxruntime, graph):
            return CudaBackend._options(self, onnxruntime, graph)

        def _session(self, onnxruntime, path, options):
            if is_strict(options):
                raise RuntimeError("fallback to CPU EP has been explicitly disabled by the user")
            return super()._session(onnxruntime, path, options)

    with pytest.raises(ParameterError, match=r"history.onnx; left to the CPU: \S+ \(\w+\), .* and \d+ more"):
        Picky(BUNDLE, MANIFEST, engine=graphs).open("history")


@pytest.mark.parametrize("registered", [False, True])
def test_tensorrt_rtx_without_its_gpu(graphs, tmp_path, monkeypatch, registered) -> None:
    plugin = ModuleType("onnxruntime_ep_nv_tensorrt_rtx")
    plugin.get_library_path = lambda: str(tmp_path / "no_such_library.so")
    monkeypatch.setitem(sys.modules, plugin.__name__, plugin)
    if registered:
        monkeypatch.setattr(onnxruntime, "register_execution_provider_library", lambda *_: None)
    said = "finds no GPU" if registered else "cannot be loaded: .*no_such_library.so"
    with pytest.raises(ParameterError, match=f"backend onnxruntime-tensorrt-rtx: {said}.*'tensorrt-rtx'"):
        octo_ros.load_policy(BUNDLE, "onnxruntime-tensorrt-rtx", precision="fp32", engine=graphs)


@pytest.mark.parametrize("name", GPU)
def test_a_precision_must_be_named(name) -> None:
    for precision in ("", "fp8"):
        with pytest.raises(ParameterError, match=f"backend {name} needs one of fp32, fp16, int8, got"):
            make_backend(name, BUNDLE, MANIFEST, precision=precision)


@pytest.mark.parametrize("name", ON_ONNX)
def test_graphs_for_onnxruntime_are_not_looked_for(name) -> None:
    with pytest.raises(ParameterError, match="engine: .*octo_ros build .* --precision fp16 --graphs-only"):
        make_backend(name, BUNDLE, MANIFEST, precision="fp16").open("step")


@pytest.mark.parametrize("name", GPU)
def test_a_bundle_that_is_not_float32_is_refused(name) -> None:
    with pytest.raises(BundleError, match=f"backend {name} needs the float32 bundle, got int8"):
        make_backend(name, BUNDLE, dataclasses.replace(MANIFEST, precision="int8"), precision="fp16")


@pytest.mark.parametrize("given", [{"precision": "fp32"}, {"engine": "folder"}])
def test_the_cpu_takes_no_engine(given) -> None:
    with pytest.raises(ParameterError, match="onnxruntime runs the bundle as it is"):
        make_backend("onnxruntime", BUNDLE, MANIFEST, **given)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_on_a_real_gpu_tensorrt_acts_as_the_cpu_does(tmp_path, monkeypatch, precision) -> None:
    """Builds, judges and runs an engine: `make gpu`."""
    from octo_ros.gpu.acceptance import Limits
    from octo_ros.gpu.engines import build_engine
    from octo_ros.gpu.judge import Recording

    monkeypatch.setenv("OCTO_ROS_ENGINES", str(tmp_path))
    policy = share_path("demo/policy")
    built = build_engine(policy, precision, Recording(steps=20), Limits())
    assert built.fresh and built.engine.key.precision == precision
    with make_backend("tensorrt", policy, read_bundle(policy), precision=precision) as backend:
        assert not [detail for detail in backend.details() if "without a CUDA graph" in detail]


def test_verify_says_the_error_of_a_gpus_actions(tensorrt, plans, capsys) -> None:
    arguments = ["verify", str(BUNDLE), "--backend", "tensorrt", "--engine", str(plans), "--steps", "3"]
    assert main([*arguments, "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert body["action_error"]["translation_p99_m"] < 1e-4 and body["checks"]
    assert main(["verify", str(BUNDLE), "--backend", "tensorrt"]) == 1
    assert "precision: backend tensorrt needs one of" in capsys.readouterr().err


def test_bench_measures_a_gpu_with_its_memory_and_energy(tensorrt, plans, monkeypatch, capsys) -> None:
    from octo_ros.benchmark import measure
    from octo_ros.verbs.bench import show_gpu

    joules = iter(range(10_000))
    monkeypatch.setattr(measure, "energy_counter", lambda stack: (lambda: float(next(joules)), "a counter"))
    monkeypatch.setattr(measure, "ENERGY_SECONDS", 0.05)
    setup = measure.Setup("gpu", "stages", str(BUNDLE), "fp32", backend="tensorrt", engine=str(plans))
    got = measure.measure_here(setup, 2)
    assert got.joules == pytest.approx(1.0)  # a step, as the counter has it
    assert got.device_bytes > 1_000_000 and got.details["gpu"].startswith("Orin")
    show_gpu(got)
    assert "mJ a step of a counter" in capsys.readouterr().out
