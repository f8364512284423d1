"""Mixed precision: layers multiply in bfloat16, everything between them stays float32.

Attention scores, norms, softmax and the loss are then exact, and the weights and the optimiser are
float32 anyway. Autocast around the whole model would not do: the lowest float32 by which attention
is masked is minus infinity in bfloat16, and a row that may see nothing would be NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

LAYERS = (nn.Linear, nn.Conv2d, nn.Conv1d, nn.ConvTranspose1d)


def use_bfloat16(model: nn.Module) -> None:
    """Lets every linear layer and convolution of a model multiply in bfloat16, from now on."""
    for module in model.modules():
        if isinstance(module, LAYERS):
            module.forward = _in_bfloat16(module.forward)


def _in_bfloat16(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def run(x: Tensor, *arguments: Any) -> Tensor:
        with torch.autocast(x.device.type, dtype=torch.bfloat16):
            return forward(x, *arguments).float()

    return run
