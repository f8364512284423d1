"""Octo cut where block-causal attention allows: what each graph of a bundle computes.

Task tokens see task tokens alone, and a timestep sees the task and timesteps up to its own. So the
task's keys and values are computed when the task changes ("task"), those of the frames before when
an action is out ("history"), and between a frame and its action only the newest timestep is left
("step"). "policy" is all of it at once, for comparison and for callers that keep no state.

Nothing here has a batch axis except at the graphs' borders, where it is 1.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from octo_ros.engine.graphs import HISTORY, POLICY, STEP, TASK, TOKENS, TOKENS_SEEN
from octo_ros.model.folded import Past, fold
from octo_ros.model.inputs import LANGUAGE_TOKENS, NOISES, TIMESTEP_MASK
from octo_ros.model.octo import Octo
from octo_ros.model.tokenizers import Tokens

TASK_EMBEDDING = "task_embedding"
TASK_SEEN = "task_seen"
PAST_SEEN = "past_seen"

LOWEST = torch.finfo(torch.float32).min
"""Added to a forbidden score. Not minus infinity: where nothing at all is seen, the official code
attends evenly to everything, and so does this."""


def memory_names(of: str, layers: int) -> list[tuple[str, str]]:
    """Names of the keys and values of each block; `of` is "task" or "past" (task and history)."""
    return [(f"{of}_keys_{layer:02d}", f"{of}_values_{layer:02d}") for layer in range(layers)]


class Stages(nn.Module):
    """The graphs of one model, on one set of folded weights.

    Attributes:
        octo: the folded model; do not call its `forward`.
        window: timesteps.
        observed: tokens of one timestep that come from sensors.
    """

    def __init__(self, model: Octo):
        super().__init__()
        octo = fold(model)
        assert isinstance(octo, Octo)
        self.octo = octo
        self.window = model.inputs.window
        self.layers = len(model.transformer.blocks)
        self.prefix = sum(group.tokens for group in model.prefix)
        self.timestep = sum(group.tokens for group in model.timestep)
        self.observed = sum(tokenizer.count for tokenizer in model.observation_tokenizers.values())
        self.rows = _rows_of(model)
        places = [octo.positions[name][0, : self.window] for name in octo.observation_tokenizers]
        self.register_buffer("places", torch.cat(places, dim=1).detach(), persistent=False)
        read = [octo.positions[group.name][0, : self.window] for group in octo.readouts]
        self.register_buffer("readouts", torch.cat(read, dim=1).detach(), persistent=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The graphs that this model has, besides "language"."""
        history = (HISTORY,) if self.window > 1 else ()
        task = (TASK,) if self.prefix or self.conditions() else ()
        return (*task, *history, STEP, POLICY)

    def conditions(self) -> list[str]:
        """Names of what the task gives the image encoders."""
        return [
            f"{name}_{key}"
            for name, tokenizer in self.octo.observation_tokenizers.items()
            for key in tokenizer.condition_names()
        ]

    def task_parts(self, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Of what `task` gave, what `history` takes."""
        if not self.prefix:
            return {}
        names = [name for pair in memory_names("task", self.layers) for name in pair]
        repeated = [TASK_EMBEDDING] * self.octo.repeat_task_tokens
        return {name: given[name] for name in [*repeated, TASK_SEEN, *names]}

    def step_parts(self, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Of what `task` gave, what `step` takes besides the past."""
        repeated = [TASK_EMBEDDING, TASK_SEEN] if self.octo.repeat_task_tokens and self.prefix else []
        return {name: given[name] for name in [*self.conditions(), *repeated]}

    def language(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Ids and mask (1, L) int64 to {"language_tokens": (1, L, d_text) float32}."""
        return {LANGUAGE_TOKENS: self.octo.encode_language(**inputs)}

    def task(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What a task fixes.

        Returns:
            What the encoders need of it, by `conditions`; and where the model has task tokens,
            "task_embedding" (P, width) as they enter the transformer, "task_seen" (P,) bool, the
            keys and values "task_keys_00" (heads, P, width / heads) ... of each block, and
            "task_tokens" (1, P, width), the transformer's output, which nothing needs.
        """
        result = self._conditions(inputs)
        if self.prefix:
            x, seen = self._task_tokens(inputs)
            out, memory = self.octo.transformer(x, self._bias(slice(0, self.prefix), seen), None)
            result |= {TASK_EMBEDDING: x, TASK_SEEN: seen}
            result |= _named("task", memory)
            result["task_tokens"] = out[None]
        return result

    def history(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the timesteps before the newest one fix.

        Args:
            inputs: what `task` gave of task tokens; of the window - 1 timesteps, oldest first,
                "tokens" (window - 1, observed, width), "tokens_seen" (window - 1, observed) bool as
                `step` gave them, and "timestep_pad_mask" (1, window - 1) bool.

        Returns:
            "past_seen" (P + H,) bool and "past_keys_00" (heads, P + H, width / heads) ... of task
            and timesteps together.
        """
        real = inputs[TOKENS_SEEN] & inputs[TIMESTEP_MASK][0, :, None]
        x, seen = self._timesteps(inputs, inputs[TOKENS], real, 0)
        seen = torch.cat([inputs[TASK_SEEN], seen]) if self.prefix else seen
        rows = slice(self.prefix, self.prefix + len(x))
        past = self._memory("task", inputs) if self.prefix else None
        memory = self.octo.transformer.remember(x, self._bias(rows, seen), past)
        return {PAST_SEEN: seen, **_named("past", memory)}

    def step(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The newest timestep: from its frames to the actions.

        Args:
            inputs: frames (1, 1, H, W, 3) uint8, proprioception (1, 1, n) and their masks (1, 1);
                what `task` gave of the encoders and "task_embedding"; what `history` gave (what
                `task` gave, under the same "past_..." names, where the window is 1); noise of one
                timestep.

        Returns:
            "actions" (1, horizon, action_dim), "readout" (1, 1, n, width); where the window is
            larger than 1 also "tokens" (observed, width) and "tokens_seen" (observed,) bool, which
            the next history takes.
        """
        tokens, real = self._observe(inputs, inputs)
        x, seen = self._timesteps(inputs, tokens, real, self.window - 1)
        past = self._memory("past", inputs) if PAST_SEEN in inputs else None
        known = torch.cat([inputs[PAST_SEEN], seen]) if past is not None else seen
        bias = self._bias(slice(len(known) - len(x), len(known)), known)
        out, _ = self.octo.transformer(x, bias, past, self.rows)
        mask = None if self.octo.readout_key.startswith("readout_") else seen[self.rows][None, None]
        readout = Tokens(out[None, None], mask)
        result = {"actions": self._act(readout, inputs), "readout": readout.values}
        if self.window > 1:
            result |= {TOKENS: tokens[0], TOKENS_SEEN: real[0]}
        return result

    def policy(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """All at once; arguments and results as `Octo.forward`, batch 1."""
        tokens, real = self._observe(inputs, self._conditions(inputs))
        real = real & inputs[TIMESTEP_MASK][0, :, None]
        task: dict[str, Tensor] = {}
        if self.prefix:
            task[TASK_EMBEDDING], task[TASK_SEEN] = self._task_tokens(inputs)
        x, seen = self._timesteps(task, tokens, real, 0)
        if self.prefix:
            x, seen = torch.cat([task[TASK_EMBEDDING], x]), torch.cat([task[TASK_SEEN], seen])
        out, _ = self.octo.transformer(x, self._bias(slice(None), seen), None)
        steps = out[self.prefix :].unflatten(0, (self.window, -1))[None]  # (1, window, timestep, width)
        mask = seen[self.prefix :].unflatten(0, (self.window, -1))[None]
        masked = not self.octo.readout_key.startswith("readout_")
        readout = Tokens(steps[:, :, self.rows], mask[:, :, self.rows] if masked else None)
        result = {"actions": self._act(readout, inputs), "readout": readout.values}
        if self.prefix:
            result["task_tokens"] = out[None, : self.prefix]
        return result

    def _conditions(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {
            f"{name}_{key}": value
            for name, tokenizer in self.octo.observation_tokenizers.items()
            for key, value in tokenizer.condition(inputs).items()
        }

    def _task_tokens(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The task's tokens (P, width), positions added, and which are real (P,)."""
        groups = self.octo.task_tokens(inputs).values()
        values = torch.cat([group.values[0] for group in groups])
        return values, torch.cat([_mask(group)[0] for group in groups])

    def _observe(
        self, inputs: Mapping[str, Tensor], conditions: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """What sensors give, without positions: (t, observed, width) and which is real (t, observed)."""
        values, seen = [], []
        for name, tokenizer in self.octo.observation_tokenizers.items():
            own = {key: conditions[f"{name}_{key}"] for key in tokenizer.condition_names()}
            group = tokenizer(inputs, own)
            values.append(self.octo.projections[name](group.values[0]))
            seen.append(_mask(group)[0])
        return torch.cat(values, dim=1), torch.cat(seen, dim=1)

    def _timesteps(
        self, task: Mapping[str, Tensor], tokens: Tensor, real: Tensor, first: int
    ) -> tuple[Tensor, Tensor]:
        """Every token of consecutive timesteps as it enters the transformer.

        Args:
            task: with "task_embedding" and "task_seen", where tokens of the task are repeated.
            tokens: (t, observed, width), of sensors.
            real: (t, observed) bool.
            first: position of the first timestep in the window.

        Returns:
            (t * timestep, width), and which are real (t * timestep,) bool.
        """
        count = len(tokens)
        times = slice(first, first + count)
        values, seen = [tokens + self.places[times]], [real]
        if self.octo.repeat_task_tokens and self.prefix:
            values.append(task[TASK_EMBEDDING].expand(count, -1, -1))
            seen.append(task[TASK_SEEN].expand(count, -1))
        values.append(self.readouts[times])
        seen.append(torch.ones(values[-1].shape[:2], dtype=torch.bool))
        return torch.cat(values, dim=1).flatten(0, 1), torch.cat(seen, dim=1).flatten()

    def _bias(self, rows: slice, seen: Tensor) -> Tensor:
        """What is added to the scores of these rows over the first tokens of all, (rows, len(seen))."""
        allowed = self.octo.rules[rows, : len(seen)] & seen
        return torch.where(allowed, 0.0, LOWEST)

    def _memory(self, of: str, inputs: Mapping[str, Tensor]) -> list[Past]:
        return [Past(inputs[keys], inputs[values]) for keys, values in memory_names(of, self.layers)]

    def _act(self, readout: Tokens, inputs: Mapping[str, Tensor]) -> Tensor:
        return self.octo.head(readout, **{name: inputs[name] for name in NOISES if name in inputs})


def _named(of: str, memory: list[Past]) -> dict[str, Tensor]:
    return {
        name: tensor
        for names, past in zip(memory_names(of, len(memory)), memory, strict=True)
        for name, tensor in zip(names, past, strict=True)
    }


def _mask(group: Tokens) -> Tensor:
    """Which tokens are real, as its own tensor even where all are."""
    if group.mask is None:
        return torch.ones(group.values.shape[:-1], dtype=torch.bool)
    return group.mask


def _rows_of(model: Octo) -> slice:
    """Where in a timestep the tokens lie that the head reads."""
    groups = model.timestep
    if model.readout_key == "obs":
        return slice(0, sum(group.tokens for group in groups if group.name.startswith("obs_")))
    start = 0
    for group in groups:
        if group.name == model.readout_key:
            return slice(start, start + group.tokens)
        start += group.tokens
    raise KeyError(model.readout_key)
