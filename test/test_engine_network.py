"""The staged network: the same answers as the whole one, and work done when it should be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed (extra 'export')")
pytest.importorskip("onnxscript", reason="onnxscript is not installed (extra 'export')")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from octo_ros.engine.bundle import read_bundle  # noqa: E402
from octo_ros.engine.graphs import HISTORY, LANGUAGE, POLICY, STEP, TASK  # noqa: E402
from octo_ros.engine.network import StagedNetwork, WholeNetwork, make_network  # noqa: E402
from octo_ros.engine.onnx import OnnxBackend  # noqa: E402
from octo_ros.errors import BundleError  # noqa: E402
from octo_ros.verify.checks import random_noise, random_task, random_timestep  # noqa: E402

REFERENCES = (
    "gated_t5_binned_proprio",
    "old_attention_stacked_cameras",
    "goal_only_pooled_observations",
    "film_one_token_bins",
)


class Counted(OnnxBackend):
    """Remembers which graphs ran."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)
        self.ran: list[str] = []

    def run(self, graph, inputs):
        self.ran.append(graph)
        return super().run(graph, inputs)


@pytest.fixture(scope="module", params=REFERENCES)
def backend(request: pytest.FixtureRequest, reference_bundles):
    bundle = reference_bundles.own(request.param).bundle
    with Counted(bundle, read_bundle(bundle), 1) as backend:
        yield backend


@pytest.fixture
def windowed(reference_bundles):
    """Window 3."""
    bundle = reference_bundles.own("gated_t5_binned_proprio").bundle
    backend = Counted(bundle, read_bundle(bundle), 1)
    yield backend
    backend.close()


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["act", "act", "act", "skip", "task", "restart"]),
        st.booleans(),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=12,
)


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(events=EVENTS, seed=st.integers(0, 1000))
def test_stages_answer_as_the_whole_in_any_episode(
    backend: Counted, events: list[tuple[str, bool, int]], seed: int
) -> None:
    """Whatever comes: frames without an action, lost cameras, new tasks, restarts, work ahead or not."""
    manifest, rng = backend.manifest, np.random.default_rng(seed)
    whole, staged = WholeNetwork(backend), StagedNetwork(backend)
    # Without any camera nothing is asked of a network: `Policy.act` refuses such an observation.
    cameras = [*manifest.cameras] if len(manifest.cameras) > 1 else []

    def take_task() -> None:
        task = random_task(backend, rng)
        for network in (whole, staged):
            network.set_task(task)

    take_task()
    timesteps: list[dict[str, np.ndarray]] = []
    for event, ahead, camera in events:
        if event == "task":
            take_task()
            continue
        if event == "restart":
            timesteps = []
        lost = cameras[camera] if camera < len(cameras) else None
        timesteps = [*timesteps, random_timestep(manifest, rng, lost)][-manifest.window :]
        if event in ("act", "restart"):
            noise = random_noise(manifest, rng)
            expected, got = (network.infer(timesteps, noise) for network in (whole, staged))
            np.testing.assert_allclose(got["readout"], expected["readout"], rtol=0, atol=1e-4)
            np.testing.assert_allclose(got["actions"], expected["actions"], rtol=0, atol=2e-3)
        if ahead:
            staged.prepare(timesteps)


def test_between_a_frame_and_its_action_only_the_step_runs(windowed: Counted) -> None:
    rng = np.random.default_rng(0)
    network = make_network(windowed)
    assert isinstance(network, StagedNetwork)
    network.set_task(random_task(windowed, rng))
    network.prepare([])
    assert windowed.ran == [LANGUAGE, TASK, HISTORY]
    timesteps: list[dict[str, np.ndarray]] = []
    for _ in range(5):
        timesteps = [*timesteps, random_timestep(windowed.manifest, rng, None)][-3:]
        windowed.ran.clear()
        network.infer(timesteps, random_noise(windowed.manifest, rng))
        assert windowed.ran == [STEP]
        network.prepare(timesteps)
        assert windowed.ran == [STEP, HISTORY]
        network.prepare(timesteps)  # once is enough
        assert windowed.ran == [STEP, HISTORY]


def test_a_new_episode_needs_no_work_ahead(windowed: Counted) -> None:
    """What comes before its first frame is padding, known since the task."""
    rng = np.random.default_rng(0)
    network = StagedNetwork(windowed)
    network.set_task(random_task(windowed, rng))
    timestep, noise = random_timestep(windowed.manifest, rng, None), random_noise(windowed.manifest, rng)
    first = network.infer([timestep], noise)
    network.prepare([timestep])
    windowed.ran.clear()
    again = network.infer([timestep], noise)
    assert windowed.ran == [STEP]
    np.testing.assert_array_equal(again["actions"], first["actions"])


def test_what_was_not_prepared_is_done_first(windowed: Counted) -> None:
    rng = np.random.default_rng(0)
    network = StagedNetwork(windowed)
    network.set_task(random_task(windowed, rng))
    timesteps = [random_timestep(windowed.manifest, rng, None) for _ in range(2)]
    windowed.ran.clear()
    network.infer(timesteps, random_noise(windowed.manifest, rng))
    # The first frame was never asked an action of, so its tokens come from a step of its own.
    assert windowed.ran == [STEP, HISTORY, STEP]


def test_a_new_task_makes_the_past_anew(windowed: Counted) -> None:
    rng = np.random.default_rng(0)
    network = StagedNetwork(windowed)
    network.set_task(random_task(windowed, rng))
    timesteps = [random_timestep(windowed.manifest, rng, None) for _ in range(2)]
    noise = random_noise(windowed.manifest, rng)
    network.infer(timesteps[:1], noise)
    before = network.infer(timesteps, noise)
    network.set_task(random_task(windowed, rng))
    windowed.ran.clear()
    after = network.infer(timesteps, noise)
    assert windowed.ran == [STEP, HISTORY, STEP]  # goals are part of the first frame's tokens
    assert np.abs(after["readout"] - before["readout"]).max() > 1e-3


def test_only_the_graphs_of_every_step_stay_open(windowed: Counted) -> None:
    """The text encoder is most of the weights, and needed once an instruction."""
    network = StagedNetwork(windowed)
    rng = np.random.default_rng(0)
    assert network.warm_up() > 0.0
    network.set_task(random_task(windowed, rng))
    network.infer([random_timestep(windowed.manifest, rng, None)], random_noise(windowed.manifest, rng))
    assert windowed._open == {STEP, HISTORY}


def test_noise_of_earlier_timesteps_has_no_effect(backend: Counted) -> None:
    rng = np.random.default_rng(1)
    network = StagedNetwork(backend)
    network.set_task(random_task(backend, rng))
    timestep, noise = random_timestep(backend.manifest, rng, None), random_noise(backend.manifest, rng)
    other = {name: array.copy() for name, array in noise.items()}
    for name, array in other.items():
        axis = 2 if name == "noise_steps" else 1
        array[(slice(None),) * axis + (slice(0, -1),)] += 1.0
    first, second = (network.infer([timestep], drawn)["actions"] for drawn in (noise, other))
    np.testing.assert_array_equal(first, second)


def test_a_graph_that_was_changed_is_refused_when_it_is_needed(reference_bundles, tmp_path: Path) -> None:
    source = reference_bundles.own("gated_t5_binned_proprio").bundle
    manifest = read_bundle(source)
    for file in source.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "history.onnx").write_bytes((source / "task.onnx").read_bytes())
    with pytest.raises(BundleError, match=r"history.onnx: input "):
        StagedNetwork(OnnxBackend(tmp_path, manifest, 1))


def test_a_whole_graph_alone_makes_a_whole_network(bundle: Path) -> None:
    with OnnxBackend(bundle, read_bundle(bundle), 1) as backend:
        network = make_network(backend)
        assert isinstance(network, WholeNetwork)
        assert set(backend.manifest.graphs) == {LANGUAGE, POLICY}
        assert network.warm_up() > 0.0
