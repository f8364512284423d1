"""A loop in Python and the same loop as one node of a graph; the U-Net's denoising as such a loop."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra 'export')")
pytest.importorskip("onnxscript", reason="onnxscript is not installed (extra 'export')")

import onnx  # noqa: E402
import onnxruntime  # noqa: E402
from onnx_ir.passes.common import ClearMetadataAndDocStringPass  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from octo_ros.export.simplify import simplify  # noqa: E402
from octo_ros.model.config import UNetHead  # noqa: E402
from octo_ros.model.heads.loop import repeat  # noqa: E402
from octo_ros.model.heads.schedule import cosine_betas  # noqa: E402
from octo_ros.model.heads.unet_diffusion import UNetActions  # noqa: E402
from octo_ros.model.tokenizers import Tokens  # noqa: E402

WIDTH = 40


class Walk(nn.Module):
    """A loop over one matrix, with a share and a vector of each turn."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(WIDTH, WIDTH)

    def turn(self, x: Tensor, slices: Sequence[Tensor]) -> Tensor:
        share, vector = slices
        return share * torch.tanh(self.linear(x)) + vector

    def forward(self, x: Tensor, shares: Tensor, vectors: Tensor) -> Tensor:
        return repeat(self.turn, x, (shares, vectors))


def walk_inputs(turns: int) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(turns)
    return torch.randn(2, WIDTH), torch.randn(turns), torch.randn(turns, 2, WIDTH)


def exported(turns: int) -> onnx.ModelProto:
    with torch.no_grad():
        traced = torch.export.export(Walk().eval(), walk_inputs(turns), strict=False)
        program = torch.onnx.export(traced, opset_version=18, optimize=False, verbose=False)
    simplify(program.model)
    ClearMetadataAndDocStringPass()(program.model)
    return program.model_proto


@torch.no_grad()
def test_each_turn_takes_its_own_slices() -> None:
    x, shares, vectors = walk_inputs(3)
    walk = Walk()
    expected = x
    for index in range(3):
        expected = walk.turn(expected, (shares[index], vectors[index]))
    assert torch.equal(walk(x, shares, vectors), expected)


@pytest.mark.parametrize("turns", [1, 2, 100])
def test_a_graph_loops_as_python_does(turns: int) -> None:
    inputs = walk_inputs(turns)
    with torch.no_grad():
        expected = Walk()(*inputs).numpy()
    session = onnxruntime.InferenceSession(
        exported(turns).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    feed = {entry.name: tensor.numpy() for entry, tensor in zip(session.get_inputs(), inputs, strict=True)}
    np.testing.assert_allclose(session.run(None, feed)[0], expected, rtol=1e-5, atol=1e-5)


def test_a_graph_holds_the_turn_once_and_its_weights_with_the_others() -> None:
    few, many = exported(2), exported(100)
    for model in (few, many):
        onnx.checker.check_model(model, full_check=True)
        (loop,) = (node for node in model.graph.node if node.op_type == "Scan")
        body = onnx.helper.get_node_attr_value(loop, "body")
        assert not body.initializer
        assert not any(node.op_type == "Constant" for node in body.node)
        sizes = [int(np.prod(tensor.dims)) for tensor in model.graph.initializer]
        assert sizes.count(WIDTH * WIDTH) == 1
    assert [node.op_type for node in few.graph.node] == [node.op_type for node in many.graph.node]
    assert exported(2).SerializeToString(deterministic=True) == few.SerializeToString(deterministic=True)


def official_walk(
    head: UNetActions, config: UNetHead, readout: Tensor, init: Tensor, fresh: Tensor
) -> Tensor:
    """`_sample_actions` of the official head, written out: posterior of the guess, time by time."""
    alphas = torch.from_numpy(1 - cosine_betas(config.timesteps))
    kept = torch.cumprod(alphas, dim=0)
    modulations = head.unet.modulations(readout)  # from the noisiest time to the last
    x = init
    for index, time in enumerate(reversed(range(config.timesteps))):
        features = head.unet(x, [modulation[index] for modulation in modulations])
        epsilon = head.action_projection(features.transpose(1, 2)).transpose(1, 2)
        guess = (x - (1 - kept[time]).sqrt() * epsilon) / kept[time].sqrt()
        if config.clip_sample is not None:
            guess = guess.clamp(-config.clip_sample, config.clip_sample)
        if time == 0:
            return guess
        before = kept[time - 1]
        mean = before.sqrt() * (1 - alphas[time]) * guess + alphas[time].sqrt() * (1 - before) * x
        variance = 1 - alphas[time]
        if config.variance_type == "fixed_small":
            variance = (variance * (1 - before) / (1 - kept[time])).clamp(min=1e-20)
        x = mean / (1 - kept[time]) + variance.sqrt() * fresh[index]
    raise AssertionError("no steps")


@pytest.mark.parametrize(
    ("timesteps", "clip", "variance"),
    [(1, 1.0, "fixed_large"), (4, None, "fixed_large"), (5, 1.5, "fixed_small")],
)
@torch.no_grad()
def test_the_unet_walks_the_official_way(timesteps: int, clip: float | None, variance: str) -> None:
    config = UNetHead(
        "UNetDDPMActionHead", "readout_action", 7, 4, False,
        timesteps=timesteps, clip_sample=clip, variance_type=variance,
    )  # fmt: skip
    torch.manual_seed(timesteps)
    head = UNetActions(config, 16, 1).eval()
    readout = torch.randn(1, 1, 1, 16)
    noise = {name: torch.randn(shape) for name, shape in head.noise_shapes(1).items()}
    init, fresh = (noise[name].unflatten(-1, (4, 7)).transpose(-1, -2) for name in noise)
    expected = official_walk(head, config, readout[:, 0, 0], init[:, 0], fresh[:, :, 0])
    actions = head(Tokens(readout, None), **noise)
    torch.testing.assert_close(actions.transpose(1, 2), expected, rtol=1e-4, atol=1e-4)
