"""What the model must not do, whatever its weights: look ahead, look at what is masked, draw noise."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra 'export')")

from official_checkpoint import VOCABULARY, tiny_config, tiny_example  # noqa: E402

from octo_ros.errors import CheckpointError  # noqa: E402
from octo_ros.export.onnx import policy_zeros  # noqa: E402
from octo_ros.model.inputs import read_inputs  # noqa: E402
from octo_ros.model.octo import Octo  # noqa: E402
from octo_ros.model.official import read_config  # noqa: E402
from octo_ros.model.t5 import T5Sizes  # noqa: E402


def build(config: dict[str, Any]) -> Octo:
    """A tiny model with random weights."""
    read = read_config(config, "config.json")
    inputs = read_inputs(read, tiny_example(), "example_batch.msgpack")
    model = Octo(read, inputs, T5Sizes(VOCABULARY, 12, 8, 20, layers=1, heads=2, buckets=8, gated=False))
    generator = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
    return model.eval()


@pytest.fixture(scope="module")
def model() -> Octo:
    return build(tiny_config())


def random_inputs(model: Octo, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random frames, tokens and noise; every mask True."""
    generator = torch.Generator().manual_seed(seed)
    inputs = {}
    for name, zeros in policy_zeros(model).items():
        if zeros.dtype == torch.bool:
            inputs[name] = torch.ones_like(zeros)
        elif zeros.dtype == torch.uint8:
            inputs[name] = torch.randint(0, 256, zeros.shape, generator=generator, dtype=torch.uint8)
        else:
            inputs[name] = torch.randn(zeros.shape, generator=generator)
    return inputs


def run(model: Octo, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        return model(**inputs)


def test_shapes(model: Octo) -> None:
    outputs = run(model, random_inputs(model))
    shapes = {name: tuple(tensor.shape) for name, tensor in outputs.items()}
    assert shapes == {"actions": (1, 3, 7), "readout": (1, 2, 1, 16), "task_tokens": (1, 6, 16)}


def test_same_inputs_same_answer(model: Octo) -> None:
    first, second = (run(model, random_inputs(model)) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_an_earlier_readout_does_not_see_a_later_frame(model: Octo) -> None:
    inputs = random_inputs(model)
    first = run(model, inputs)
    inputs["image_primary"] = inputs["image_primary"].clone()
    inputs["image_primary"][:, 1] = 255 - inputs["image_primary"][:, 1]
    second = run(model, inputs)
    assert torch.equal(first["readout"][:, 0], second["readout"][:, 0])
    assert torch.equal(first["task_tokens"], second["task_tokens"])
    assert not torch.allclose(first["readout"][:, 1], second["readout"][:, 1])


@pytest.mark.parametrize(
    ("mask", "image"),
    [("pad_mask_image_primary", "goal_image_primary"), ("pad_mask_image_wrist", "image_wrist")],
)
def test_a_masked_camera_is_not_seen(model: Octo, mask: str, image: str) -> None:
    inputs = random_inputs(model)
    inputs[mask] = torch.zeros_like(inputs[mask])
    first = run(model, inputs)
    second = run(model, {**inputs, image: 255 - inputs[image]})
    assert torch.equal(first["readout"], second["readout"])
    assert torch.equal(first["actions"], second["actions"])


def test_a_padded_timestep_is_not_seen(model: Octo) -> None:
    inputs = random_inputs(model)
    inputs["timestep_pad_mask"] = torch.tensor([[False, True]])
    first = run(model, inputs)
    frames = inputs["image_primary"].clone()
    frames[:, 0] = 0
    second = run(model, {**inputs, "image_primary": frames})
    assert torch.equal(first["readout"][:, 1], second["readout"][:, 1])


def test_a_masked_instruction_is_not_seen_by_the_readout(model: Octo) -> None:
    inputs = random_inputs(model)
    inputs["pad_mask_language_instruction"] = torch.tensor([False])
    first = run(model, inputs)
    second = run(model, {**inputs, "language_tokens": inputs["language_tokens"] + 1})
    assert torch.equal(first["readout"], second["readout"])
    assert torch.isfinite(first["task_tokens"]).all()


def test_everything_masked_is_still_finite(model: Octo) -> None:
    inputs = random_inputs(model)
    masked = {n: torch.zeros_like(t) if t.dtype == torch.bool else t for n, t in inputs.items()}
    assert all(torch.isfinite(tensor).all() for tensor in run(model, masked).values())


def test_only_the_newest_noise_counts_and_the_last_draw_does_not(model: Octo) -> None:
    inputs = random_inputs(model)
    first = run(model, inputs)["actions"]
    start, steps = inputs["noise_init"].clone(), inputs["noise_steps"].clone()
    start[:, 0], steps[:, :, 0], steps[-1] = 7.0, 7.0, 7.0
    assert torch.equal(first, run(model, {**inputs, "noise_init": start, "noise_steps": steps})["actions"])
    steps[0, :, -1] += 1.0
    assert not torch.equal(
        first, run(model, {**inputs, "noise_init": start, "noise_steps": steps})["actions"]
    )


def test_actions_stay_within_the_bound(model: Octo) -> None:
    inputs = random_inputs(model)
    inputs["noise_init"] = inputs["noise_init"] * 1000
    assert run(model, inputs)["actions"].abs().max() <= 5.0


def test_a_head_on_unknown_tokens_is_refused() -> None:
    config = tiny_config()
    config["model"]["heads"]["action"]["kwargs"]["readout_key"] = "readout_value"
    with pytest.raises(CheckpointError, match="readout_value"):
        build(config)


def test_an_image_too_small_for_its_encoder_is_refused() -> None:
    config = tiny_config()
    wrist = config["model"]["observation_tokenizers"]["wrist"]["kwargs"]
    wrist["encoder"]["kwargs"]["patch_size"] = 32
    with pytest.raises(CheckpointError, match="obs_wrist"):
        build(config)
