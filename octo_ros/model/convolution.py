"""Convolutions of the image encoders, with the official padding, split where goal images enter.

An encoder's first convolution reads frames and, on further channels, goal images. It is linear, so
it is the sum of two, one over each; the goals' share is the same at every timestep of a task.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

SAME = None
"""Padding that makes ceil(size / stride) of a size, the larger half after it: the official "SAME"."""


def pads(size: int, kernel: int, stride: int, padding: int | None) -> tuple[int, int]:
    """Zeros before and after an axis of this size."""
    if padding is not SAME:
        return padding, padding
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class ImageConv(nn.Conv2d):
    """A convolution whose last input channels may be those of goal images.

    Args:
        inputs: input channels, those of goals included.
        features: output channels.
        kernel: size of its kernel [pixel], both ways.
        stride: both ways.
        padding: zeros on every side, or `SAME`.
        bias: whether it has one.
        goals: how many of the input channels are goals'.
    """

    def __init__(
        self,
        inputs: int,
        features: int,
        kernel: int,
        stride: int = 1,
        padding: int | None = 0,
        bias: bool = True,
        goals: int = 0,
    ):
        super().__init__(inputs, features, kernel, stride, bias=bias)
        self.border = padding
        self.goals = goals

    def kernel(self) -> Tensor:
        """What the images are convolved with, (features, inputs, kernel, kernel)."""
        return self.weight

    def halves(self) -> tuple[Tensor, Tensor | None]:
        """The kernel over frames and the one over goals, None where there are none."""
        kernel = self.kernel()
        frames = self.in_channels - self.goals
        return (kernel[:, :frames], kernel[:, frames:]) if self.goals else (kernel, None)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the result for an image of this size; below 1 where it is too small."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        rows, columns = (
            (size + sum(pads(size, kernel, stride, self.border)) - kernel) // stride + 1
            for size in (height, width)
        )
        return rows, columns

    def goal(self, goals: Tensor) -> Tensor:
        """Goals (B, goals, H, W) to their share of the result (B, features, H', W')."""
        return convolve(goals, self.halves()[1], None, self.stride[0], self.border)

    def forward(self, frames: Tensor) -> Tensor:
        """Frames (N, inputs - goals, H, W) to the result, less the goals' share (N, features, H', W')."""
        return convolve(frames, self.halves()[0], self.bias, self.stride[0], self.border)

    def standardized(self) -> FixedConv:
        """The same function for engines: the kernel as it is used, its halves apart."""
        return FixedConv(self)


class StandardizedConv(ImageConv):
    """A convolution whose kernel is brought to mean 0 and deviation 1 per output channel."""

    def kernel(self) -> Tensor:
        """See `ImageConv.kernel`."""
        centred = self.weight - self.weight.mean(dim=(1, 2, 3), keepdim=True)
        deviation = centred.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
        return centred / (deviation + 1e-5)


class FixedConv(nn.Module):
    """An `ImageConv` whose kernels are computed."""

    def __init__(self, convolution: ImageConv):
        super().__init__()
        frames, goals = convolution.halves()
        self.stride = convolution.stride[0]
        self.border = convolution.border
        self.frames = _constant(frames)
        self.goals = None if goals is None else _constant(goals)
        self.bias = None if convolution.bias is None else _constant(convolution.bias)

    def goal(self, goals: Tensor) -> Tensor:
        """See `ImageConv.goal`."""
        return convolve(goals, self.goals, None, self.stride, self.border)

    def forward(self, frames: Tensor) -> Tensor:
        """See `ImageConv.forward`."""
        return convolve(frames, self.frames, self.bias, self.stride, self.border)


def convolve(images: Tensor, kernel: Tensor, bias: Tensor | None, stride: int, padding: int | None) -> Tensor:
    """Images (N, C, H, W) with a kernel (F, C, k, k), to (N, F, H', W')."""
    rows, columns = (pads(size, kernel.shape[-1], stride, padding) for size in images.shape[-2:])
    if rows[0] == rows[1] and columns[0] == columns[1]:
        return nn.functional.conv2d(images, kernel, bias, stride, (rows[0], columns[0]))
    return nn.functional.conv2d(nn.functional.pad(images, (*columns, *rows)), kernel, bias, stride)


def _constant(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor.detach().clone(memory_format=torch.contiguous_format), requires_grad=False)
