"""Arrays to the device that trains."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from octo_ros.errors import ParameterError


def find_device(name: str) -> torch.device:
    """The device of a name.

    Raises:
        ParameterError: no such device, or it is not there.
    """
    expected = f"device: expected cpu, cuda or cuda:N that is there, got {name!r}"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ParameterError(f"{expected}: {str(error).splitlines()[0]}") from error
    if device.type not in ("cpu", "cuda"):
        raise ParameterError(expected)
    return device


def moved(arrays: Mapping[str, np.ndarray], device: torch.device) -> dict[str, Tensor]:
    """Arrays as tensors on a device."""
    return {name: tensor(array, device) for name, array in arrays.items()}


def tensor(array: np.ndarray, device: torch.device) -> Tensor:
    """One array as a tensor on a device."""
    return torch.from_numpy(np.ascontiguousarray(array)).to(device, non_blocking=True)
