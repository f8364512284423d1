"""The table from our parameters to the official ones: complete, and strict."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra 'export')")

from official_checkpoint import VOCABULARY, tiny_config, tiny_example, tiny_weights  # noqa: E402

from octo_ros.errors import CheckpointError  # noqa: E402
from octo_ros.export.weights import load_weights, t5_sizes, weight_table  # noqa: E402
from octo_ros.model.config import OctoConfig  # noqa: E402
from octo_ros.model.inputs import read_inputs  # noqa: E402
from octo_ros.model.octo import Octo  # noqa: E402
from octo_ros.model.official import read_config  # noqa: E402
from octo_ros.model.t5 import T5Sizes  # noqa: E402

Weights = dict[str, np.ndarray]
T5 = "octo_transformer/task_tokenizers_language/hf_model"
KERNEL = "octo_transformer/task_language_projection/kernel"


@pytest.fixture(scope="module")
def config() -> OctoConfig:
    return read_config(tiny_config(), "config.json")


@pytest.fixture(scope="module")
def weights() -> Weights:
    return tiny_weights(tiny_config(), tiny_example())


def build(config: OctoConfig, weights: Weights) -> Octo:
    inputs = read_inputs(config, tiny_example(), "example_batch.msgpack")
    return Octo(config, inputs, t5_sizes("language", weights, "checkpoint"))


def test_every_parameter_has_one_official_name(config: OctoConfig, weights: Weights) -> None:
    model = build(config, weights)
    table = weight_table(model, config)
    assert sorted(weight.ours for weight in table) == sorted(name for name, _ in model.named_parameters())
    assert len({weight.official for weight in table}) == len(table)


def test_loading_fills_every_parameter_and_keeps_every_value(config: OctoConfig, weights: Weights) -> None:
    model = build(config, weights)
    for parameter in model.parameters():
        parameter.data.fill_(float("nan"))
    load_weights(model, config, weights, "checkpoint")
    loaded = dict(model.named_parameters())
    for weight in weight_table(model, config):
        np.testing.assert_array_equal(
            np.sort(loaded[weight.ours].detach().numpy(), axis=None),
            np.sort(weights[weight.official], axis=None),
        )


def test_sizes_of_the_language_encoder_are_read_off_its_weights(weights: Weights) -> None:
    expected = T5Sizes(VOCABULARY, 12, 8, 20, layers=2, heads=2, buckets=8, gated=False)
    assert t5_sizes("language", weights, "checkpoint") == expected


def misshape(name: str, shape: tuple[int, ...]) -> Callable[[Weights], object]:
    return lambda weights: weights.update({name: np.zeros(shape, np.float32)})


BLOCK = "octo_transformer/BlockTransformer_0/Transformer_0/encoderblock_1"
REFUSED: dict[str, tuple[Callable[[Weights], object], str]] = {
    "missing": (lambda weights: weights.pop(KERNEL), f"missing: {KERNEL}"),
    "left over": (lambda weights: weights.update(extra=np.zeros(1)), "left over: extra"),
    "a block too many": (
        lambda weights: weights.update({f"{BLOCK[:-1]}2/LayerNorm_0/bias": np.zeros(16)}),
        "left over: .*encoderblock_2",
    ),
    "a block too few": (
        lambda weights: [weights.pop(name) for name in list(weights) if name.startswith(BLOCK)],
        "missing: .*encoderblock_1.* and 11 more",
    ),
    "transposed": (misshape(KERNEL, (16, 12)), r"task_language_projection/kernel: expected shape \(12, 16\)"),
    "other heads": (
        misshape(f"{BLOCK}/MultiHeadDotProductAttention_0/query/kernel", (16, 4, 4)),
        r"query/kernel: expected shape \(16, 2, 8\), got \(16, 4, 4\)",
    ),
    "other image size": (
        misshape("octo_transformer/obs_primary_pos_embedding", (1, 4, 9, 16)),
        r"obs_primary_pos_embedding: expected shape \(1, 4, 4, 16\)",
    ),
    "a scalar": (misshape(KERNEL, ()), r"expected shape \(12, 16\), got \(\)"),
    "no embedding table": (
        lambda weights: weights.pop(f"{T5}/shared/embedding"),
        "shared/embedding: missing",
    ),
    "an embedding table of one axis": (
        misshape(f"{T5}/shared/embedding", (40,)),
        "shared/embedding: .*matrix",
    ),
    "no position bias": (
        lambda weights: weights.pop(
            f"{T5}/encoder/block/0/layer/0/SelfAttention/relative_attention_bias/embedding"
        ),
        "relative_attention_bias/embedding: missing",
    ),
    "heads that do not divide": (
        misshape(f"{T5}/encoder/block/0/layer/0/SelfAttention/relative_attention_bias/embedding", (8, 3)),
        "3 heads",
    ),
    "a language block missing": (
        lambda weights: weights.pop(f"{T5}/encoder/block/1/layer/0/SelfAttention/q/kernel"),
        "missing: .*block/1/layer/0/SelfAttention/q/kernel",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(config: OctoConfig, weights: Weights, name: str) -> None:
    edit, said = REFUSED[name]
    damaged = dict(weights)
    edit(damaged)
    with pytest.raises(CheckpointError, match=said) as caught:
        load_weights(build(config, damaged), config, damaged, "checkpoint: step 7")
    assert "checkpoint: step 7" in str(caught.value) or "checkpoint: octo" in str(caught.value)
