"""Octo: tokens of task and observations through the transformer to the action head.

Each stage is a method of its own, so that an engine may run them at different times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from octo_ros.errors import CheckpointError
from octo_ros.model.attention import Group, attention_mask
from octo_ros.model.config import ImageTokenizer, OctoConfig
from octo_ros.model.heads import build_head
from octo_ros.model.inputs import INSTRUCTION, LANGUAGE_TOKENS, TIMESTEP_MASK, Inputs, vector_name
from octo_ros.model.t5 import T5Encoder, T5Sizes
from octo_ros.model.tokenizers import ImageTokens, LanguageTokens, ProprioTokens, Tokens
from octo_ros.model.transformer import Transformer


class Octo(nn.Module):
    """The whole model of one checkpoint, with random weights until they are loaded.

    Args:
        config: the model.
        inputs: what it reads.
        t5: sizes of the language encoder, or None where no instruction is read.

    Raises:
        CheckpointError: a head that reads a group of tokens that does not exist.
    """

    def __init__(self, config: OctoConfig, inputs: Inputs, t5: T5Sizes | None):
        super().__init__()
        self.inputs = inputs
        self.repeat_task_tokens = config.repeat_task_tokens
        width = config.token_embedding_size
        self.text = None
        self.task_tokenizers = nn.ModuleDict()
        if t5 is not None:
            ((name, length),) = inputs.language.items()
            self.text = T5Encoder(t5, length)
            self.task_tokenizers[f"task_{name}"] = LanguageTokens(
                config.task_tokenizers[name], LANGUAGE_TOKENS, length, t5.width
            )
        if INSTRUCTION in inputs.vectors:
            *length, size = inputs.vectors[INSTRUCTION]
            for name, tokenizer in config.task_tokenizers.items():
                self.task_tokenizers[f"task_{name}"] = LanguageTokens(
                    tokenizer, vector_name(INSTRUCTION), length[0] if length else 1, size
                )
        self.observation_tokenizers = nn.ModuleDict()
        for name, tokenizer in config.observation_tokenizers.items():
            if name in inputs.stacks:
                assert isinstance(tokenizer, ImageTokenizer)
                self.observation_tokenizers[f"obs_{name}"] = ImageTokens(
                    tokenizer, inputs.stacks[name], inputs.vectors
                )
            elif name in inputs.proprio:
                self.observation_tokenizers[f"obs_{name}"] = ProprioTokens(tokenizer, inputs.proprio[name])
        self.readouts = [Group(f"readout_{name}", count) for name, count in config.readouts.items()]
        self.projections = nn.ModuleDict()
        self.positions = nn.ParameterDict()
        for name, tokenizer in self.task_tokenizers.items():
            self.projections[name] = nn.Linear(tokenizer.width, width)
            self.positions[name] = nn.Parameter(torch.zeros(1, tokenizer.count, width))
        for name, tokenizer in self.observation_tokenizers.items():
            self.projections[name] = nn.Linear(tokenizer.width, width)
            self.positions[name] = nn.Parameter(torch.zeros(1, config.max_horizon, tokenizer.count, width))
        for group in self.readouts:
            self.positions[group.name] = nn.Parameter(torch.zeros(1, config.max_horizon, group.tokens, width))
        sizes = config.transformer
        self.transformer = Transformer(width, sizes.num_layers, sizes.mlp_dim, sizes.num_attention_heads)
        self.readout_key = config.head.readout_key
        self._check_groups()
        self.head = build_head(config.head, width, self._readout_tokens())
        rules = attention_mask(self.prefix, self.timestep, inputs.window, config.use_correct_attention)
        self.register_buffer("rules", torch.from_numpy(rules), persistent=False)

    @property
    def prefix(self) -> list[Group]:
        """Groups of the task, before the first timestep."""
        return [Group(name, tokenizer.count) for name, tokenizer in self.task_tokenizers.items()]

    @property
    def timestep(self) -> list[Group]:
        """Groups of each timestep, in order."""
        observations = [
            Group(name, tokenizer.count) for name, tokenizer in self.observation_tokenizers.items()
        ]
        repeated = [Group(f"obs_{group.name}", group.tokens) for group in self.prefix]
        return [*observations, *(repeated if self.repeat_task_tokens else []), *self.readouts]

    def encode_language(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Ids and mask (B, L) int64 to language tokens (B, L, d_text) float32."""
        return self.text(input_ids, attention_mask)

    def task_tokens(self, inputs: Mapping[str, Tensor]) -> dict[str, Tokens]:
        """The task's groups at the transformer's width, positions added: (B, n, width) each."""
        tokens = {}
        for name, tokenizer in self.task_tokenizers.items():
            values, mask = tokenizer(inputs)
            tokens[name] = Tokens(self.projections[name](values) + self.positions[name], mask)
        return tokens

    def conditions(self, inputs: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """What each observation tokenizer needs of the task, under the names of their groups."""
        return {name: tokenizer.condition(inputs) for name, tokenizer in self.observation_tokenizers.items()}

    def timestep_tokens(
        self,
        inputs: Mapping[str, Tensor],
        conditions: Mapping[str, Mapping[str, Tensor]],
        task: Mapping[str, Tokens],
    ) -> dict[str, Tokens]:
        """The groups of every timestep, positions added: (B, window, n, width) each."""
        window = self.inputs.window
        seen = inputs[TIMESTEP_MASK]  # (B, window)
        tokens = {}
        for name, tokenizer in self.observation_tokenizers.items():
            values, mask = tokenizer(inputs, conditions[name])
            values = self.projections[name](values) + self.positions[name][:, :window]
            real = seen[:, :, None].expand(-1, -1, tokenizer.count)
            tokens[name] = Tokens(values, real if mask is None else real & mask)
        if self.repeat_task_tokens:
            for name, (values, mask) in task.items():
                tokens[f"obs_{name}"] = Tokens(
                    values[:, None].expand(-1, window, -1, -1),
                    None if mask is None else mask[:, None].expand(-1, window, -1),
                )
        for group in self.readouts:
            position = self.positions[group.name][:, :window]
            tokens[group.name] = Tokens(position.expand(seen.shape[0], -1, -1, -1), None)
        return tokens

    def run_transformer(
        self, task: Mapping[str, Tokens], timestep: Mapping[str, Tokens]
    ) -> dict[str, Tokens]:
        """Runs all groups through the transformer and takes them apart again, under the same names."""
        batch = next(iter(timestep.values())).values.shape[0]
        prefix_tokens, prefix_mask = _join(list(task.values()), (batch,))
        step_tokens, step_mask = _join(list(timestep.values()), (batch, self.inputs.window))
        if prefix_tokens is None:
            sequence, real = step_tokens.flatten(1, 2), step_mask.flatten(1)
        else:
            sequence = torch.cat([prefix_tokens, step_tokens.flatten(1, 2)], dim=1)  # (B, total, width)
            real = torch.cat([prefix_mask, step_mask.flatten(1)], dim=1)  # (B, total)
        out = self.transformer(sequence, (self.rules & real[:, None, :])[:, None])
        prefix_count = sum(group.tokens for group in self.prefix)
        steps = out[:, prefix_count:].unflatten(1, (self.inputs.window, -1))
        return {
            **_split(out[:, :prefix_count], self.prefix, task),
            **_split(steps, self.timestep, timestep),
        }

    def readout(self, outputs: Mapping[str, Tokens]) -> Tokens:
        """The tokens that the head reads, (B, window, n, width)."""
        if self.readout_key != "obs":
            return outputs[self.readout_key]
        groups = [outputs[group.name] for group in self.timestep if group.name.startswith("obs_")]
        shape = groups[0].values.shape[:2]
        return Tokens(*_join(groups, shape))

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        """The whole policy, under the names and shapes of the bundle's graph "policy".

        Returns:
            "actions" (B, horizon, action_dim), "readout" (B, window, n, width) and, where the
            checkpoint has task tokens, "task_tokens" (B, n_task, width), all float32.
        """
        task = self.task_tokens(inputs)
        timestep = self.timestep_tokens(inputs, self.conditions(inputs), task)
        outputs = self.run_transformer(task, timestep)
        readout = self.readout(outputs)
        noise = {name: inputs[name] for name in self.head.noise_shapes(self.inputs.window)}
        result = {"actions": self.head(readout, **noise), "readout": readout.values}
        if self.prefix:
            result["task_tokens"] = torch.cat([outputs[group.name].values for group in self.prefix], dim=1)
        return result

    def _readout_tokens(self) -> int:
        """How many tokens of each timestep the head reads."""
        if self.readout_key == "obs":
            return sum(group.tokens for group in self.timestep if group.name.startswith("obs_"))
        return next(group.tokens for group in self.timestep if group.name == self.readout_key)

    def _check_groups(self) -> None:
        empty = [group.name for group in [*self.prefix, *self.timestep] if group.tokens < 1]
        if empty:
            raise CheckpointError(f"config: no tokens in {empty}: the images are too small for the encoder")
        readable = ["obs", *(group.name for group in self.timestep)]
        if self.readout_key not in readable:
            raise CheckpointError(
                f"config: heads.action: readout_key: expected one of {readable}, got {self.readout_key!r}"
            )


def _join(groups: Sequence[Tokens], shape: tuple[int, ...]) -> tuple[Tensor | None, Tensor | None]:
    """Groups one after another: values (*shape, n, width) and mask (*shape, n)."""
    if not groups:
        return None, None
    masks = [
        torch.ones((*shape, group.values.shape[-2]), dtype=torch.bool) if group.mask is None else group.mask
        for group in groups
    ]
    return torch.cat([group.values for group in groups], dim=-2), torch.cat(masks, dim=-1)


def _split(out: Tensor, groups: Sequence[Group], tokens: Mapping[str, Tokens]) -> dict[str, Tokens]:
    """The parts of (..., n, width) that belong to each group, with the masks they came with."""
    parts = out.split([group.tokens for group in groups], dim=-2) if groups else ()
    return {
        group.name: Tokens(part, tokens[group.name].mask) for group, part in zip(groups, parts, strict=True)
    }
