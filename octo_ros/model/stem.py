"""Image encoders: frames to one feature vector per patch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from octo_ros.model.config import PatchEncoder, SmallStem
from octo_ros.model.support import NORM_GROUPS, STEM_PATCH

EPSILON = 1e-6
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


class StandardizedConv(nn.Conv2d):
    """A convolution whose kernel is brought to mean 0 and deviation 1 per output channel."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, features, H', W')."""
        centred = self.weight - self.weight.mean(dim=(1, 2, 3), keepdim=True)
        deviation = centred.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
        return nn.functional.conv2d(x, centred / (deviation + 1e-5), self.bias, self.stride, self.padding)


class Stem(nn.Module):
    """`SmallStem` and `PatchEncoder`: normalization, convolutions if any, then the patch embedding.

    Args:
        config: the official encoder's keywords.
        channels: channels of the stacked images, a multiple of 3.
    """

    def __init__(self, config: SmallStem | PatchEncoder, channels: int):
        super().__init__()
        self.normalization = config.img_norm_type
        self.convolutions = nn.ModuleList()
        self.norms = nn.ModuleList()
        patch = config.patch_size
        if isinstance(config, SmallStem):
            patch //= STEM_PATCH
            rows = zip(config.kernel_sizes, config.strides, config.features, config.padding, strict=False)
            for kernel, stride, features, padding in rows:
                self.convolutions.append(StandardizedConv(channels, features, kernel, stride, padding))
                self.norms.append(nn.GroupNorm(NORM_GROUPS, features, eps=EPSILON))
                channels = features
        self.embedding = nn.Conv2d(channels, config.num_features, patch, patch)

    def forward(self, images: Tensor) -> Tensor:
        """Stacked images (B, H, W, C) uint8 to patches, row by row, (B, patches, features)."""
        x = self._normalize(images).permute(0, 3, 1, 2)  # (B, C, H, W)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = torch.relu(norm(convolution(x)))
        return self.embedding(x).flatten(2).transpose(1, 2)

    def patches(self, height: int, width: int) -> int:
        """Number of patches of an image of this size [pixel]; 0 if it is too small."""
        for convolution in [*self.convolutions, self.embedding]:
            kernel, stride, padding = (
                convolution.kernel_size[0],
                convolution.stride[0],
                convolution.padding[0],
            )
            height, width = ((size + 2 * padding - kernel) // stride + 1 for size in (height, width))
            if min(height, width) < 1:
                return 0
        return height * width

    def _normalize(self, images: Tensor) -> Tensor:
        if self.normalization == "default":
            return images.float() / 127.5 - 1.0
        repeats = images.shape[-1] // 3
        mean = torch.tensor(_IMAGENET_MEAN * repeats)
        std = torch.tensor(_IMAGENET_STD * repeats)
        return (images.float() / 255 - mean) / std
