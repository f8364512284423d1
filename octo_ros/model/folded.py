"""The transformer as an engine runs it: the same numbers from fewer, larger operations.

The queries' scale is part of their matrix; matrices lie as ONNX multiplies them; standardised kernels
are standardised once. A block takes the keys and values of
tokens that came before as they are, which is what lets a graph run over new tokens alone.
Activations have no batch axis: an engine serves one robot.
"""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from octo_ros.model.convolution import ImageConv
from octo_ros.model.transformer import Block, Transformer


class Past(NamedTuple):
    """Keys and values of earlier tokens in one block.

    Attributes:
        keys: (heads, L, width / heads) float32, biases included.
        values: the same shape.
    """

    keys: Tensor
    values: Tensor

    def extended(self, newer: Past) -> Past:
        """These, then the newer ones."""
        return Past(*(torch.cat(pair, dim=1) for pair in zip(self, newer, strict=True)))


class Matrix(nn.Module):
    """A linear layer whose matrix lies as (inputs, outputs), as the official file has it."""

    def __init__(self, weight: Tensor, bias: Tensor | None):
        super().__init__()
        self.weight = nn.Parameter(weight.contiguous(), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)

    @classmethod
    def of(cls, linear: nn.Linear) -> Matrix:
        """The same layer."""
        return cls(linear.weight.detach().T, None if linear.bias is None else linear.bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) to (..., outputs)."""
        product = x @ self.weight
        return product if self.bias is None else product + self.bias


class FoldedBlock(nn.Module):
    """One transformer block over new tokens and the keys and values of earlier ones."""

    def __init__(self, block: Block):
        super().__init__()
        attention = block.attention
        self.heads = attention.query.heads
        self.attention_norm = block.attention_norm
        query, scale = attention.query, attention.scale
        self.query = Matrix((query.weight * scale).detach().T, (query.bias * scale).detach())
        self.key = Matrix.of(attention.key)
        self.value = Matrix.of(attention.value)
        self.out = Matrix.of(attention.out)
        self.feed_forward_norm = block.feed_forward_norm
        self.into = Matrix.of(block.feed_forward.into)
        self.shrink = Matrix.of(block.feed_forward.out)

    def forward(
        self, x: Tensor, bias: Tensor, past: Past | None, rows: slice = slice(None)
    ) -> tuple[Tensor, Past]:
        """New tokens through the block.

        Args:
            x: (n, width), the new tokens.
            bias: (rows, L + n), 0 where a row sees a token, the lowest float32 where it does not.
            past: of the L earlier tokens; None where there are none.
            rows: which of the new tokens are wanted.

        Returns:
            The wanted tokens (rows, width), and the keys and values of earlier and new tokens.
        """
        normed = self.attention_norm(x)
        past = self._remember(normed, past)
        query = self._heads(self.query(normed[rows]))
        scores = query @ past.keys.transpose(1, 2) + bias  # (heads, rows, L + n)
        mixed = torch.softmax(scores, dim=-1) @ past.values  # (heads, rows, width / heads)
        y = x[rows] + self.out(mixed.transpose(0, 1).flatten(1))
        return y + self.shrink(gelu(self.into(self.feed_forward_norm(y)))), past

    def remember(self, x: Tensor, past: Past | None) -> Past:
        """Keys and values alone: what later tokens need of new tokens (n, width) in the last block."""
        return self._remember(self.attention_norm(x), past)

    def _remember(self, normed: Tensor, past: Past | None) -> Past:
        newer = Past(self._heads(self.key(normed)), self._heads(self.value(normed)))
        return newer if past is None else past.extended(newer)

    def _heads(self, x: Tensor) -> Tensor:
        """(n, width) to (heads, n, width / heads)."""
        return x.unflatten(1, (self.heads, -1)).transpose(0, 1)


def gelu(x: Tensor) -> Tensor:
    """GELU, tanh form, spelled as ONNX Runtime recognises it and runs it in one pass."""
    return x * 0.5 * (1.0 + torch.tanh(x * 0.7978845608028654 * (1.0 + 0.044715 * x * x)))


class FoldedTransformer(nn.Module):
    """All blocks, and the last norm."""

    def __init__(self, transformer: Transformer):
        super().__init__()
        self.blocks = nn.ModuleList([FoldedBlock(block) for block in transformer.blocks])
        self.norm = transformer.norm

    def forward(
        self, x: Tensor, bias: Tensor, past: list[Past] | None, rows: slice = slice(None)
    ) -> tuple[Tensor, list[Past]]:
        """New tokens through every block; of the last one only the wanted rows.

        Args:
            x: (n, width).
            bias: (n, L + n), see `FoldedBlock.forward`.
            past: of each block, or None.
            rows: the new tokens that are wanted in the end.

        Returns:
            The wanted tokens after the last norm, (rows, width), and the memory of each block.
        """
        memory = []
        for index, block in enumerate(self.blocks):
            wanted = rows if index == len(self.blocks) - 1 else slice(None)
            x, present = block(x, bias[wanted], None if past is None else past[index], wanted)
            memory.append(present)
        return self.norm(x), memory

    def remember(self, x: Tensor, bias: Tensor, past: list[Past] | None) -> list[Past]:
        """The memory of each block alone, for tokens whose own outputs nobody reads."""
        memory = []
        for index, block in enumerate(self.blocks):
            before = None if past is None else past[index]
            if index == len(self.blocks) - 1:
                memory.append(block.remember(x, before))
            else:
                x, present = block(x, bias, before)
                memory.append(present)
        return memory


def fold(module: nn.Module) -> nn.Module:
    """A copy for engines: the same function, linear layers as matrices, kernels standardised.

    The module's parameters are shared with the copy where they need no change.
    """
    parameters = {id(parameter): parameter for parameter in module.parameters()}
    return _folded(copy.deepcopy(module, parameters))


def _folded(module: nn.Module) -> nn.Module:
    if isinstance(module, Transformer):
        return _children_folded(FoldedTransformer(module))
    if isinstance(module, nn.Linear) and type(module) is nn.Linear:
        return Matrix.of(module)
    if isinstance(module, ImageConv):
        return module.standardized()
    return _children_folded(module)


def _children_folded(module: nn.Module) -> nn.Module:
    for name, child in module.named_children():
        setattr(module, name, _folded(child))
    return module
