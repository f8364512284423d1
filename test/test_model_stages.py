"""The network in stages against the network at once, for every configuration of the official code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra 'export')")

from hypothesis import example, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from reference_cases import ACTION_TOLERANCE, OURS, OWN, SEEDED, below, cases  # noqa: E402
from seeded_weights import seeded_weights  # noqa: E402
from torch import Tensor  # noqa: E402

from octo_ros.engine.graphs import past_of_task  # noqa: E402
from octo_ros.export.checkpoint import read_checkpoint  # noqa: E402
from octo_ros.export.onnx import example_inputs, observation_zeros, policy_zeros, task_zeros  # noqa: E402
from octo_ros.export.weights import load_weights, t5_sizes, weight_table  # noqa: E402
from octo_ros.model.config import UNetHead  # noqa: E402
from octo_ros.model.folded import FoldedTransformer, Past, fold  # noqa: E402
from octo_ros.model.inputs import NOISES, read_inputs  # noqa: E402
from octo_ros.model.octo import Octo  # noqa: E402
from octo_ros.model.official import read_config  # noqa: E402
from octo_ros.model.stages import LOWEST, Stages  # noqa: E402
from octo_ros.model.transformer import Transformer  # noqa: E402

LONGEST = 4
CLOSE = {"atol": 5e-5, "rtol": 1e-4}
MASK = "timestep_pad_mask"


def official_config(name: str) -> Any:
    config = json.loads((OURS / name / "checkpoint" / "config.json").read_text())
    return read_config(config, "config.json")


def with_window(example: Mapping[str, Any], window: int) -> dict[str, Any]:
    """An example batch whose observations are of another number of timesteps."""

    def cut(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: cut(entry) for key, entry in value.items()}
        return value[:, np.arange(window) % value.shape[1]]

    return {"task": example["task"], "observation": cut(example["observation"])}


def build(name: str, window: int) -> Octo:
    """A reference's model over a window of this many timesteps."""
    config = official_config(name)
    if name in OWN:
        checkpoint = read_checkpoint(OURS / name / "checkpoint")
        given, parameters = checkpoint.example, checkpoint.parameters
    else:
        with np.load(cases(OURS / name)[0]) as case:
            given = {
                "observation": below(case, "obs/") | {"pad_mask_dict": below(case, "obs_pad/")},
                "task": below(case, "task/") | {"pad_mask_dict": below(case, "task_pad/")},
            }
        parameters = None
    inputs = read_inputs(config, with_window(given, window), "example_batch.msgpack")
    t5 = t5_sizes(next(iter(inputs.language)), parameters, name) if inputs.language else None
    model = Octo(config, inputs, t5)
    if parameters is None:
        parameters = seeded_weights({w.official: w.shape for w in weight_table(model, config)})
    load_weights(model, config, parameters, name)
    return model.eval()


@dataclass(frozen=True)
class Pair:
    """A model and its stages."""

    model: Octo
    stages: Stages

    def whole(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return self.model(**inputs)

    def task(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the stage "task" makes of a policy's inputs; nothing where the model has no such stage."""
        if "task" not in self.stages.names:
            return {}
        return self.stages.task({name: inputs[name] for name in task_zeros(self.model)})

    def step(
        self, inputs: Mapping[str, Tensor], time: int, task: Mapping[str, Tensor], past: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """The stage "step" on one timestep of a policy's inputs."""
        frame = {name: inputs[name][:, time : time + 1] for name in observation_zeros(self.model, 1)}
        noise = {
            name: inputs[name][:, :, -1:] if name == "noise_steps" else inputs[name][:, -1:]
            for name in NOISES
            if name in inputs
        }
        return self.stages.step({**frame, **noise, **self.stages.step_parts(task), **past})

    def history(self, inputs: Mapping[str, Tensor], task: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The stage "history" on the timesteps before the newest, each from a step of its own."""
        if "history" not in self.stages.names:
            return past_of_task(task)
        blank = example_inputs(self.model, self.stages)["step"]
        past = {name: tensor for name, tensor in blank.items() if name.startswith("past_")}
        steps = [self.step(inputs, time, task, past) for time in range(self.stages.window - 1)]
        tokens = {name: torch.stack([step[name] for step in steps]) for name in ("tokens", "tokens_seen")}
        return self.stages.history({**self.stages.task_parts(task), **tokens, MASK: inputs[MASK][:, :-1]})

    def staged(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The newest timestep's answer by way of every stage."""
        task = self.task(inputs)
        step = self.step(inputs, -1 % self.stages.window, task, self.history(inputs, task))
        return {name: step[name] for name in ("actions", "readout")}

    def random(self, seed: int, masked: bool = False, padded: int = 0) -> dict[str, Tensor]:
        """Random inputs of "policy"; masks true, or some of them at random; some first steps padding.

        A head that reads observations sees at least the newest frame of the first camera: where it
        sees nothing, the official attention mixes padding evenly, whatever its place.
        """
        generator = torch.Generator().manual_seed(seed)
        inputs = {}
        for name, zeros in policy_zeros(self.model).items():
            if zeros.dtype == torch.bool:
                inputs[name] = torch.rand(zeros.shape, generator=generator) < (0.6 if masked else 1.1)
            elif zeros.dtype == torch.uint8:
                inputs[name] = torch.randint(0, 256, zeros.shape, generator=generator, dtype=torch.uint8)
            else:
                inputs[name] = torch.randn(zeros.shape, generator=generator)
        if not self.model.readout_key.startswith("readout_"):
            inputs[f"pad_mask_{next(iter(self.model.inputs.images))}"][:, -1] = True
        window = self.stages.window
        inputs[MASK] = torch.arange(window)[None] >= min(padded, window - 1)
        return inputs


def assert_same_answer(pair: Pair, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """That the stages answer as the whole; the answer."""
    whole, staged = pair.whole(inputs), pair.staged(inputs)
    torch.testing.assert_close(staged["readout"], whole["readout"][:, -1:], **CLOSE)
    torch.testing.assert_close(staged["actions"], whole["actions"], atol=ACTION_TOLERANCE, rtol=0)
    return staged


def windows(name: str) -> range:
    """The windows that a reference's configuration allows."""
    config = official_config(name)
    return range(1, 1 + (1 if isinstance(config.head, UNetHead) else min(LONGEST, config.max_horizon)))


WINDOWS = [(name, window) for name in (*OWN, *SEEDED) for window in windows(name)]


@pytest.fixture(params=WINDOWS, ids=lambda param: f"{param[0]}-{param[1]}", scope="module")
def pair(request: pytest.FixtureRequest) -> Pair:
    model = build(*request.param)
    return Pair(model, Stages(model).eval())


@settings(max_examples=6, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**16), masked=st.booleans(), padded=st.integers(0, LONGEST - 1))
@example(seed=0, masked=False, padded=0)
@example(seed=1, masked=False, padded=LONGEST - 1)
@torch.no_grad()
def test_stages_answer_as_the_whole(pair: Pair, seed: int, masked: bool, padded: int) -> None:
    assert_same_answer(pair, pair.random(seed, masked, padded))


@torch.no_grad()
def test_a_graph_of_all_stages_answers_as_the_whole(pair: Pair) -> None:
    inputs = pair.random(2)
    whole, policy = pair.whole(inputs), pair.stages.policy(inputs)
    assert list(whole) == list(policy)
    torch.testing.assert_close(policy["readout"], whole["readout"], **CLOSE)
    torch.testing.assert_close(policy["actions"], whole["actions"], atol=ACTION_TOLERANCE, rtol=0)
    if pair.stages.prefix:
        for tokens in (policy["task_tokens"], pair.task(inputs)["task_tokens"]):
            torch.testing.assert_close(tokens, whole["task_tokens"], **CLOSE)


@torch.no_grad()
def test_with_every_mask_down_a_readout_is_still_the_same(pair: Pair) -> None:
    if not pair.model.readout_key.startswith("readout_"):
        pytest.skip("a head that reads observations and sees none: padding counts by its place")
    inputs = pair.random(3)
    down = {name: torch.zeros_like(inputs[name]) for name in inputs if inputs[name].dtype == torch.bool}
    assert_same_answer(pair, {**inputs, **down, MASK: inputs[MASK]})


@torch.no_grad()
def test_nothing_of_the_newest_frame_enters_task_or_history(pair: Pair) -> None:
    inputs = pair.random(5)
    observed = observation_zeros(pair.model, 1)
    changed = dict(inputs)
    for name in observed:
        changed[name] = inputs[name].clone()
        changed[name][:, -1] = pair.random(6)[name][:, -1]
    task, task_changed = pair.task(inputs), pair.task(changed)
    assert all(torch.equal(task[name], task_changed[name]) for name in task)
    past, past_changed = pair.history(inputs, task), pair.history(changed, task_changed)
    assert all(torch.equal(past[name], past_changed[name]) for name in past)
    first, second = assert_same_answer(pair, inputs), assert_same_answer(pair, changed)
    assert not torch.equal(first["readout"], second["readout"])
    graphs = example_inputs(pair.model, pair.stages)
    assert not set(graphs.get("task", {})) & set(observed)
    for name in ("tokens", "tokens_seen"):
        assert "history" not in graphs or len(graphs["history"][name]) == pair.stages.window - 1


@torch.no_grad()
def test_a_later_task_counts_from_the_next_action_on(pair: Pair) -> None:
    inputs, later = pair.random(7), dict(pair.random(7))
    later |= {name: tensor for name, tensor in pair.random(8).items() if name in task_zeros(pair.model)}
    first, second = assert_same_answer(pair, inputs), assert_same_answer(pair, later)
    assert not torch.equal(first["readout"], second["readout"])
    if pair.stages.conditions() or "history" not in pair.stages.names:
        return
    task, task_later = pair.task(inputs), pair.task(later)  # no encoder looks at the task:
    past = pair.history(inputs, task)
    steps = [pair.step(inputs, 0, of, past) for of in (task, task_later)]
    assert torch.equal(steps[0]["tokens"], steps[1]["tokens"])  # tokens of earlier frames stay good
    stale = pair.step(later, -1 % pair.stages.window, task_later, past)["readout"]
    assert not torch.allclose(stale, second["readout"], **CLOSE)  # keys and values of the old task do not


def transformer(seed: int, heads: int) -> Transformer:
    plain = Transformer(6 * heads, layers=2, inner=20, heads=heads).eval()
    generator = torch.Generator().manual_seed(seed)
    for parameter in plain.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.4
    return plain


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**16),
    heads=st.integers(1, 3),
    count=st.integers(1, 9),
    earlier=st.integers(0, 8),
    density=st.floats(0.1, 1),
    data=st.data(),
)
@torch.no_grad()
def test_the_folded_transformer_answers_as_the_plain_one(
    seed: int, heads: int, count: int, earlier: int, density: float, data: st.DataObject
) -> None:
    plain, earlier = transformer(seed, heads), min(earlier, count - 1)
    folded = fold(plain)
    assert isinstance(folded, FoldedTransformer)
    x = torch.randn(count, 6 * heads)
    allowed = torch.rand(count, count) < density
    allowed[:earlier, earlier:] = False  # what comes earlier sees nothing later
    allowed.fill_diagonal_(True)
    bias = torch.where(allowed, 0.0, LOWEST)
    expected = plain(x[None], allowed[None, None])[0]
    out, memory = folded(x, bias, None)
    torch.testing.assert_close(out, expected, **CLOSE)
    past: list[Past] | None = None
    if earlier:
        past = folded.remember(x[:earlier], bias[:earlier, :earlier], None)
        for kept, whole in zip(past, memory, strict=True):
            torch.testing.assert_close(kept.keys, whole.keys[:, :earlier], **CLOSE)
            torch.testing.assert_close(kept.values, whole.values[:, :earlier], **CLOSE)
    start = data.draw(st.integers(0, count - earlier - 1))
    rows = slice(start, data.draw(st.integers(start + 1, count - earlier)))
    newer, again = folded(x[earlier:], bias[earlier:], past, rows)
    torch.testing.assert_close(newer, expected[earlier:][rows], **CLOSE)
    for joined, whole in zip(again, memory, strict=True):
        torch.testing.assert_close(joined.keys, whole.keys, **CLOSE)


@torch.no_grad()
def test_a_row_that_sees_nothing_attends_evenly_to_everything() -> None:
    plain = transformer(0, 2)
    x, allowed = torch.randn(5, 12), torch.zeros(5, 5, dtype=torch.bool)
    out, _ = fold(plain)(x, torch.where(allowed, 0.0, LOWEST), None)
    torch.testing.assert_close(out, plain(x[None], allowed[None, None])[0], **CLOSE)
    everything = torch.ones_like(allowed)
    assert not torch.allclose(out, plain(x[None], everything[None, None])[0], **CLOSE)
