"""Action heads: any number of timesteps, which noise counts, bounds, bins.

That their numbers are the official ones is tested by test_model_parity.py.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra 'export')")

from octo_ros.errors import CheckpointError  # noqa: E402
from octo_ros.model.bins import bin_centres, bin_edges  # noqa: E402
from octo_ros.model.config import (  # noqa: E402
    ContinuousHead,
    DiffusionHead,
    DiscreteHead,
    Head,
    UNetHead,
)
from octo_ros.model.heads import Actions, build_head  # noqa: E402
from octo_ros.model.heads.unet import encoded_times  # noqa: E402
from octo_ros.model.tokenizers import Tokens  # noqa: E402

WIDTH, READ = 16, 2
KEY = "readout_action"
HEADS: dict[str, Head] = {
    "continuous": ContinuousHead("L1ActionHead", KEY, True, 4),
    "diffusion": DiffusionHead("DiffusionActionHead", KEY, False, 4, diffusion_steps=6, max_action=9.0),
    "one token": DiscreteHead("DiscreteActionHead", KEY, True, "", 4, vocab_size=8),
    "a token a step": DiscreteHead("DiscreteActionHead", KEY, False, "action_horizon", 2, vocab_size=8),
    "a token an axis": DiscreteHead("TokenPerDimActionHead", KEY, True, normalization_type="normal"),
    "unet": UNetHead("UNetDDPMActionHead", KEY, 7, 4, False, timesteps=3, clip_sample=1.5),
}


def build(config: Head) -> Actions:
    """A head on two tokens of each timestep, with random weights."""
    head = build_head(config, WIDTH, READ)
    torch.manual_seed(2)
    for parameter in head.parameters():
        scale = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.5
        parameter.data = torch.randn(parameter.shape) * scale
    return head.eval()


def random_inputs(head: Actions, steps: int) -> tuple[Tokens, dict[str, torch.Tensor]]:
    torch.manual_seed(steps)
    seen = torch.rand(1, steps, READ) > 0.2
    noise = {name: torch.randn(shape) for name, shape in head.noise_shapes(steps).items()}
    return Tokens(torch.randn(1, steps, READ, WIDTH), seen), noise


def newest(tensor: torch.Tensor, name: str) -> torch.Tensor:
    return tensor[:, :, -1:] if name == "noise_steps" else tensor[:, -1:]


@pytest.fixture(params=HEADS, scope="module")
def head(request: pytest.FixtureRequest) -> Actions:
    return build(HEADS[request.param])


@torch.no_grad()
def test_only_the_newest_timestep_counts(head: Actions) -> None:
    readout, noise = random_inputs(head, 3)
    actions = head(readout, **noise)
    assert actions.shape == (1, head.horizon, head.action_dim)
    assert actions.abs().max() <= head.max_action
    alone = Tokens(readout.values[:, -1:], readout.mask[:, -1:])
    again = head(alone, **{name: newest(tensor, name) for name, tensor in noise.items()})
    torch.testing.assert_close(again, actions, atol=1e-5, rtol=1e-5)
    other = Tokens(readout.values + 1, readout.mask)
    assert not torch.equal(head(other, **noise), actions)


def test_a_head_says_what_noise_it_takes(head: Actions) -> None:
    shapes = head.noise_shapes(2)
    chunk = (1, 2, head.horizon * 7)
    if head.diffusion_steps:
        assert shapes == {"noise_init": chunk, "noise_steps": (head.diffusion_steps, *chunk)}
    elif head.bins:
        assert shapes == {"noise_gumbel": (1, 2, head.horizon, 7, head.bins)}
    else:
        assert shapes == {}


@torch.no_grad()
@pytest.mark.parametrize("name", ["diffusion", "unet"])
def test_the_last_draw_is_not_used(name: str) -> None:
    head = build(HEADS[name])
    readout, noise = random_inputs(head, 1)
    actions = head(readout, **noise)
    noise["noise_steps"][-1] = 9.0
    assert torch.equal(head(readout, **noise), actions)
    noise["noise_steps"][0] = 0.0
    assert not torch.equal(head(readout, **noise), actions)


@torch.no_grad()
@pytest.mark.parametrize("name", ["one token", "a token a step", "a token an axis"])
def test_without_noise_the_likeliest_bin_wins(name: str) -> None:
    head = build(HEADS[name])
    readout, noise = random_inputs(head, 2)
    actions = head(readout, noise_gumbel=torch.zeros_like(noise["noise_gumbel"]))
    best = head.logits(readout)[:, -1].argmax(-1)
    torch.testing.assert_close(actions, head.centres[best])
    forced = torch.zeros_like(noise["noise_gumbel"])
    forced[..., 3] = 1e6
    assert (head(readout, noise_gumbel=forced) == head.centres[3]).all()


@torch.no_grad()
def test_gumbel_noise_draws_bins_by_their_probability() -> None:
    head = build(HEADS["one token"])
    readout, noise = random_inputs(head, 1)
    expected = torch.softmax(head.logits(readout)[0, -1], dim=-1)  # (horizon, action_dim, bins)
    rng = np.random.default_rng(0)
    counts = torch.zeros_like(expected)
    for _ in range(300):
        gumbel = torch.from_numpy(rng.gumbel(size=noise["noise_gumbel"].shape).astype(np.float32))
        actions = head(readout, noise_gumbel=gumbel)[0]
        counts += actions[..., None] == head.centres
    assert (counts / 300 - expected).abs().max() < 0.15


def test_bins_of_actions_lie_between_0_and_1_or_are_of_equal_probability() -> None:
    np.testing.assert_allclose(bin_centres(4, "uniform"), [0.125, 0.375, 0.625, 0.875])
    edges = bin_edges(4, "normal")
    np.testing.assert_allclose(edges[1:4], [-0.67449, 0, 0.67449], atol=1e-4)
    centres = bin_centres(256, "normal")
    assert (np.diff(centres) > 0).all()
    np.testing.assert_allclose(centres, -centres[::-1], atol=0.05)


def test_what_bounds_the_actions() -> None:
    assert build(HEADS["continuous"]).max_action == 5.0
    unet = HEADS["unet"]
    assert build_head(unet, WIDTH, READ).max_action == 1.5
    assert build_head(dataclasses.replace(unet, clip_sample=None), WIDTH, READ).max_action == math.inf
    assert build(HEADS["one token"]).max_action == float(np.float32(0.9375))


def test_a_head_that_reads_another_number_of_tokens_is_refused() -> None:
    with pytest.raises(CheckpointError, match="expected 2 tokens under readout_key 'readout_action', got 5"):
        build_head(HEADS["a token a step"], WIDTH, 5)


def test_times_are_encoded_by_sines_and_cosines() -> None:
    times = encoded_times(3)
    assert times.shape == (3, 128)
    np.testing.assert_allclose(times[0], [0] * 64 + [1] * 64)
    np.testing.assert_allclose(times[2, [0, 63, 64]], [np.sin(2), 2e-4, np.cos(2)], rtol=1e-4)
