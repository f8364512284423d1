"""Image encoders: what is computed once a task, any number of timesteps, padding, FiLM.

That their numbers are the official ones is tested by test_model_parity.py.
"""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra 'export')")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import nn  # noqa: E402

from octo_ros.model.config import Encoder, ImageTokenizer, PatchEncoder, Resnet, SmallStem  # noqa: E402
from octo_ros.model.convolution import SAME, StandardizedConv, pads  # noqa: E402
from octo_ros.model.inputs import ImageStack  # noqa: E402
from octo_ros.model.tokenizers import ImageTokens  # noqa: E402

HEIGHT, WIDTH = 38, 50
ENCODERS: dict[str, Encoder] = {
    "stem": SmallStem("SmallStem", True, 16, features=(32, 32, 32, 32), num_features=16),
    "stem without convolutions": SmallStem("SmallStem", True, 128, (), (), (), (), num_features=16),
    "patches": PatchEncoder("PatchEncoder", True, 12, 16),
    "resnet": Resnet("ViTResnet", True, 0.5, (1, 2, 0)),
    "resnet without stages": Resnet("ViTResnet", True, 0.5),
    "resnet of one stage, which FiLM leaves alone": Resnet("ViTResnet", True, 0.5, (1,)),
}


def build(encoder: Encoder, learner: bool = False) -> ImageTokens:
    """A tokenizer of two cameras with goals, with random weights."""
    stack = ImageStack(("image_a", "image_b"), ("image_a",), HEIGHT, WIDTH)
    config = ImageTokenizer("ImageTokenizer", encoder, learner, 3, task_film_keys=("target", "place"))
    tokens = ImageTokens(config, stack, {"target": (2, 3), "place": (2, 1)})
    torch.manual_seed(1)
    for parameter in tokens.parameters():
        parameter.data = torch.randn(parameter.shape) * 0.2
    return tokens.eval()


def random_inputs(steps: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(steps)

    def image(*lead: int) -> torch.Tensor:
        shape = (*lead, HEIGHT, WIDTH, 3)
        return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)

    return {
        "image_a": image(1, steps),
        "image_b": image(1, steps),
        "goal_image_a": image(1),
        "pad_mask_image_a": torch.arange(steps)[None] > 0,
        "pad_mask_image_b": torch.arange(steps)[None] > 1,
        "task_target": torch.randn(1, 2, 3, generator=generator),
        "task_place": torch.randn(1, 2, 1, generator=generator),
    }


@pytest.mark.parametrize("name", ENCODERS)
def test_each_timestep_is_encoded_alone(name: str) -> None:
    tokens, inputs = build(ENCODERS[name]), random_inputs(3)
    with torch.no_grad():
        condition = tokens.condition(inputs)
        together, mask = tokens(inputs, condition)
        assert together.shape == (1, 3, tokens.count, tokens.width)
        assert mask[0, :, 0].tolist() == [False, True, True]
        for step in range(3):
            alone = {
                key: value[:, step : step + 1] if key.startswith(("image", "pad")) else value
                for key, value in inputs.items()
            }
            torch.testing.assert_close(tokens(alone, condition).values[:, 0], together[:, step])


@pytest.mark.parametrize("name", ENCODERS)
def test_the_condition_is_all_that_a_task_gives(name: str) -> None:
    tokens, inputs = build(ENCODERS[name]), random_inputs(2)
    with torch.no_grad():
        condition = tokens.condition(inputs)
        assert list(condition) == tokens.condition_names()
        observed = {key: value for key, value in inputs.items() if key.startswith(("image", "pad"))}
        answer = tokens(observed, condition).values
        other = {**inputs, "goal_image_a": 255 - inputs["goal_image_a"]}
        assert not torch.allclose(answer, tokens(observed, tokens.condition(other)).values)
        if len(tokens.encoder.films):
            other = {**inputs, "task_place": inputs["task_place"] + 1}
            assert not torch.allclose(answer, tokens(observed, tokens.condition(other)).values)


@pytest.mark.parametrize("name", ENCODERS)
def test_the_first_convolution_is_that_of_frames_and_goals_stacked(name: str) -> None:
    first = build(ENCODERS[name]).encoder.first.double()
    images = torch.randn(1, first.in_channels, HEIGHT, WIDTH, dtype=torch.float64)
    frames = images[:, : first.in_channels - first.goals]
    rows, columns = (
        pads(size, first.kernel_size[0], first.stride[0], first.border) for size in (HEIGHT, WIDTH)
    )
    with torch.no_grad():
        whole = nn.functional.conv2d(
            nn.functional.pad(images, (*columns, *rows)), first.kernel(), first.bias, first.stride
        )
        goal = first.goal(images[:, first.in_channels - first.goals :])
        torch.testing.assert_close(first(frames) + goal, whole)
        fixed = first.standardized()
        torch.testing.assert_close(fixed(frames), first(frames))
        torch.testing.assert_close(fixed.goal(images[:, -first.goals :]), goal)
    assert tuple(whole.shape[-2:]) == first.size(HEIGHT, WIDTH)


@pytest.mark.parametrize("name", ENCODERS)
def test_tokens_can_be_learned_from_patches(name: str) -> None:
    tokens, inputs = build(ENCODERS[name], learner=True), random_inputs(2)
    with torch.no_grad():
        values, mask = tokens(inputs, tokens.condition(inputs))
    assert values.shape == (1, 2, 3, tokens.width)
    assert mask.shape == (1, 2, 3)


@pytest.mark.parametrize("learner", [False, True])
def test_an_image_smaller_than_a_patch_gives_no_tokens(learner: bool) -> None:
    assert build(PatchEncoder("PatchEncoder", True, 64, 16), learner).count == 0


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 40), st.sampled_from([1, 3, 7]), st.integers(1, 3))
def test_same_padding_leaves_one_result_each_stride(size: int, kernel: int, stride: int) -> None:
    before, after = pads(size, kernel, stride, SAME)
    assert 0 <= before <= after <= before + 1
    assert (size + before + after - kernel) // stride + 1 == -(-size // stride)


def test_a_standardized_kernel_has_no_mean_and_unit_deviation() -> None:
    kernel = StandardizedConv(6, 32, 3).kernel().detach()
    torch.testing.assert_close(kernel.mean(dim=(1, 2, 3)), torch.zeros(32), atol=1e-6, rtol=0)
    torch.testing.assert_close(kernel.flatten(1).std(dim=1, correction=0), torch.ones(32), atol=1e-3, rtol=0)
