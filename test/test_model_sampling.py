"""The two samplers, by what they must do to data that is known."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra 'export')")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from octo_ros.errors import ParameterError  # noqa: E402
from octo_ros.model.heads.schedule import Ddim, Ddpm, Sampler  # noqa: E402

MAX = 5.0


def denoised(sampler: Sampler, target: torch.Tensor, seed: int) -> torch.Tensor:
    """What the sampler makes of noise when the network knows that all data are `target`."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(target.shape, generator=generator)
    noise = torch.randn((max(sampler.draws, 1), *target.shape), generator=generator)
    for index, time in enumerate(sampler.times):
        kept = float(sampler.kept[time])
        epsilon = (x - kept**0.5 * target) / (1 - kept) ** 0.5
        x = sampler.step(index, x, epsilon, noise)
    return x


@settings(max_examples=40, deadline=None, derandomize=True)
@given(steps=st.integers(1, 20), seed=st.integers(0, 100))
def test_ddim_finds_the_only_action_there_is(steps: int, seed: int) -> None:
    target = torch.from_numpy(np.random.default_rng(seed).uniform(-4, 4, (1, 7)).astype(np.float32))
    found = denoised(Ddim(20, steps, MAX), target, seed)
    np.testing.assert_allclose(found, target, atol=2e-3)


def test_ddpm_finds_it_too() -> None:
    target = torch.tensor([[-3.0, 0.0, 0.5, 4.0]])
    np.testing.assert_allclose(denoised(Ddpm(20, MAX), target, 0), target, atol=2e-3)


@pytest.mark.parametrize(("steps", "times"), [(1, [19]), (2, [19, 9]), (5, [19, 15, 11, 7, 3])])
def test_ddim_steps_are_even_and_begin_at_the_noisiest(steps: int, times: list[int]) -> None:
    assert Ddim(20, steps, MAX).times == times


def test_as_many_steps_as_trained_visit_every_time() -> None:
    assert Ddim(20, 20, MAX).times == Ddpm(20, MAX).times == list(range(19, -1, -1))


@pytest.mark.parametrize("steps", [0, 21, -1])
def test_steps_out_of_range(steps: int) -> None:
    with pytest.raises(ParameterError, match=rf"ddim: expected 1 to 20 steps, as trained, got {steps}"):
        Ddim(20, steps, MAX)


def test_ddim_draws_nothing_and_ddpm_once_a_step() -> None:
    assert (Ddim(20, 5, MAX).draws, Ddpm(20, MAX).draws) == (0, 20)


def test_a_guess_out_of_range_is_clipped() -> None:
    target = torch.tensor([[50.0, -50.0]])
    for sampler in (Ddim(20, 4, MAX), Ddpm(20, MAX)):
        assert denoised(sampler, target, 0).abs().max() <= MAX
