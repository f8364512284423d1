"""The losses are the official code's, to rounding, and so are their gradients."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra 'export')")

from reference_cases import OURS, below  # noqa: E402

from octo_ros.errors import ParameterError  # noqa: E402
from octo_ros.export.bundle import build_model  # noqa: E402
from octo_ros.export.checkpoint import read_checkpoint  # noqa: E402
from octo_ros.export.weights import weight_table  # noqa: E402
from octo_ros.model.inputs import PROPRIO, TIMESTEP_MASK, goal_name, pad_mask_name  # noqa: E402
from octo_ros.train.objective import Objective, masked_mean  # noqa: E402
from octo_ros.train.schedule import learning_rate  # noqa: E402

DATA = Path(__file__).parent / "data" / "train"
OWN = ("long_instruction_observation_readout", "old_attention_stacked_cameras", "token_learner_bins_per_step")
SHARED = ("v15_language_goal", "l1_proprio")


def folder(name: str, request: pytest.FixtureRequest) -> Path:
    return OURS / name if name in OWN else request.getfixturevalue("shared") / "reference" / name


def batch_inputs(cases: list, model) -> dict:
    """The cases as one batch, under the names that the objective reads."""

    def joined(prefix: str) -> dict[str, np.ndarray]:
        parts = [below(case, prefix) for case in cases]
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}

    observation, task = joined("obs/"), joined("task/")
    arrays = {key: observation[key] for key in model.inputs.images}
    arrays |= {goal_name(key): task[key] for key in model.inputs.goals}
    arrays[TIMESTEP_MASK] = observation[TIMESTEP_MASK]
    if model.inputs.proprio_size is not None:
        arrays[PROPRIO] = observation[PROPRIO]
    arrays |= {
        pad_mask_name(key): mask for key, mask in {**joined("obs_pad/"), **joined("task_pad/")}.items()
        if key not in model.inputs.images
    }  # fmt: skip
    arrays |= {pad_mask_name(key): joined("obs_pad/")[key] for key in model.inputs.images}
    if model.inputs.language:
        for key in ("input_ids", "attention_mask"):
            arrays[key] = task[f"language_instruction/{key}"]
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


@pytest.mark.parametrize("name", OWN + SHARED)
def test_loss_and_gradients_are_the_official_ones(name: str, request: pytest.FixtureRequest) -> None:
    reference = folder(name, request)
    model, config = build_model(read_checkpoint(reference / "checkpoint"))
    with np.load(DATA / f"loss_{name}.npz") as expected:
        said = dict(expected)
    if "time" in said:
        head = dataclasses.replace(config.head, n_diffusion_samples=int(said["samples"]))
        config = dataclasses.replace(config, head=head)
    cases = [np.load(reference / f"{case}.npz") for case in said["cases"]]
    objective = Objective(model, config)
    draws = {key: torch.from_numpy(said[key]) for key in ("time", "noise") if key in said}
    drawn = objective.draw(np.random.default_rng(0), len(cases))
    assert {key: array.shape for key, array in drawn.items()} == {
        key: tuple(value.shape) for key, value in draws.items()
    }
    loss, square = objective(
        batch_inputs(cases, model),
        torch.from_numpy(said["actions"]),
        torch.from_numpy(said["action_pad_mask"]),
        draws,
    )
    np.testing.assert_allclose(loss.item(), said["loss"], rtol=1e-5)
    np.testing.assert_allclose(square.item(), said["mse"], rtol=1e-5)
    loss.backward()
    gradients = {
        weight.official: dict(model.named_parameters())[weight.ours].grad
        for weight in weight_table(model, config)
    }
    for part in ("heads_action", "octo_transformer"):
        squares = [
            float(gradient.double().square().sum())
            for key, gradient in gradients.items()
            if key.startswith(part) and gradient is not None
        ]
        np.testing.assert_allclose(np.sqrt(sum(squares)), said[f"norm/{part}"], rtol=1e-4)


def test_gradients_stop_before_a_language_encoder_that_is_not_trained(shared: Path) -> None:
    model, config = build_model(read_checkpoint(shared / "reference" / "l1_proprio" / "checkpoint"))
    cases = [np.load(shared / "reference" / "l1_proprio" / "language.npz")]
    loss, _ = Objective(model, config)(
        batch_inputs(cases, model), torch.zeros(1, 1, 8, 7), torch.ones(1, 1, 8, 7, dtype=torch.bool), {}
    )
    loss.backward()
    assert all(parameter.grad is None for parameter in model.text.parameters())
    assert model.projections["task_language"].weight.grad.abs().sum() > 0


def test_nothing_that_counts_is_a_loss_of_zero() -> None:
    values = torch.full((2, 3), 5.0)
    assert masked_mean(values, torch.zeros(2, 1, dtype=torch.bool)) == 0
    assert masked_mean(values, torch.tensor([[True], [False]])) == 5


@pytest.mark.parametrize("schedule", ("cosine", "rsqrt", "constant"))
def test_learning_rates_are_the_official_ones(schedule: str) -> None:
    with np.load(DATA / "schedules.npz") as said:
        rates = [learning_rate(schedule, int(step), 3e-4, 10, 100, 1000) for step in said["steps"]]
        np.testing.assert_allclose(rates, said[schedule], rtol=2e-6, atol=1e-11)


def test_an_unknown_schedule_is_refused() -> None:
    with pytest.raises(ParameterError, match="expected one of cosine, rsqrt, constant, got 'linear'"):
        learning_rate("linear", 0, 1.0, 0, 1)


@pytest.mark.parametrize("name", SHARED)
def test_nothing_is_left_on_the_cpu(name: str, shared: Path) -> None:
    """PyTorch's device without memory stands for a GPU: a tensor made elsewhere is an error on both."""
    reference = shared / "reference" / name
    model, config = build_model(read_checkpoint(reference / "checkpoint"))
    inputs = batch_inputs([np.load(reference / "language.npz")], model)
    meta = torch.device("meta")
    objective = Objective(model, config).to(meta)
    window, horizon = model.inputs.window, config.head.action_horizon
    draws = objective.draw(np.random.default_rng(0), 1)
    noise = model.head.noise_shapes(window)
    with meta:
        given = {name: tensor.to(meta) for name, tensor in inputs.items()}
        actions = torch.zeros(1, window, horizon, 7)
        drawn = {key: torch.from_numpy(array).to(meta) for key, array in draws.items()}
        loss, _ = objective(given, actions, actions > 0, drawn)
        loss.backward()
        sampled = model.head(objective.readout(given), **{key: torch.zeros(s) for key, s in noise.items()})
    assert loss.device == meta and sampled.shape == (1, horizon, 7)
