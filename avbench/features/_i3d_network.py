"""The network of `avbench.features.i3d`: inflated Inception v1 with TensorFlow's SAME padding, quick on CPUs.

It has the tensors of ``i3d_pretrained_400.pt``, and after `InceptionI3D.fold` the same answers from fewer steps.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

Triple = tuple[int, int, int]


class InceptionI3D(nn.Sequential):
    """The RGB stream: float (B, 3, T, 224, 224) in [-1, 1], T at least 9 -> logits (B, 400).

    Submodules are called as in ``i3d_pretrained_400.pt``. Channels are those of Inception v1.
    """

    def __init__(self) -> None:
        super().__init__(
            OrderedDict(
                Conv3d_1a_7x7=Unit(3, 64, (7, 7, 7), (2, 2, 2)),
                MaxPool3d_2a_3x3=SamePool((1, 3, 3), (1, 2, 2)),
                Conv3d_2b_1x1=Unit(64, 64),
                Conv3d_2c_3x3=Unit(64, 192, (3, 3, 3)),
                MaxPool3d_3a_3x3=SamePool((1, 3, 3), (1, 2, 2)),
                Mixed_3b=Mixed(192, 64, (96, 128), (16, 32), 32),
                Mixed_3c=Mixed(256, 128, (128, 192), (32, 96), 64),
                MaxPool3d_4a_3x3=SamePool((3, 3, 3), (2, 2, 2)),
                Mixed_4b=Mixed(480, 192, (96, 208), (16, 48), 64),
                Mixed_4c=Mixed(512, 160, (112, 224), (24, 64), 64),
                Mixed_4d=Mixed(512, 128, (128, 256), (24, 64), 64),
                Mixed_4e=Mixed(512, 112, (144, 288), (32, 64), 64),
                Mixed_4f=Mixed(528, 256, (160, 320), (32, 128), 128),
                MaxPool3d_5a_2x2=SamePool((2, 2, 2), (2, 2, 2)),
                Mixed_5b=Mixed(832, 256, (160, 320), (32, 128), 128),
                Mixed_5c=Mixed(832, 384, (192, 384), (48, 128), 128),
                pool=FloatPool((2, 7, 7), stride=1),
                logits=Unit(1024, 400, final=True),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits of each temporal cell, averaged over the cells."""
        cells: Tensor = super().forward(x)
        return cells.flatten(2).mean(dim=2)

    def fold(self, dtype: torch.dtype = torch.float32) -> InceptionI3D:
        """Work batch norm into the convolutions and store them channels last; nothing but rounding changes.

        Args:
            dtype: Of the convolutions; the average pool and the logits are float32 in any case.
        """
        for unit in [module for module in self.modules() if isinstance(module, Unit)]:
            unit.fold()
        self.to(dtype)
        # mypy does not know this overload
        self.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.logits.float()
        return self


class Unit(nn.Module):
    """Convolution with SAME padding, then batch norm and ReLU; the final one has a bias instead."""

    def __init__(
        self, inputs: int, outputs: int, kernel: Triple = (1, 1, 1), stride: Triple = (1, 1, 1), final: bool = False
    ) -> None:
        super().__init__()
        self.final = final
        # an odd kernel at stride 1 is padded alike on both sides, which the convolution does without a copy
        self.even = stride == (1, 1, 1)
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2) if self.even else 0
        self.conv3d = nn.Conv3d(inputs, outputs, kernel, stride, padding, bias=final)
        self.bn = None if final else nn.BatchNorm3d(outputs, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the unit to (B, C, T, H, W)."""
        x = self.conv3d(x if self.even else same_pad(x, self.conv3d.kernel_size, self.conv3d.stride))
        if self.bn is not None:
            x = self.bn(x)
        return x if self.final else F.relu_(x)

    def fold(self) -> None:
        """Make the batch norm, with the statistics it has, a part of the convolution."""
        if self.bn is not None:
            self.conv3d, self.bn = fuse_conv_bn_eval(self.conv3d, self.bn), None


class SamePool(nn.Module):
    """Max pooling with SAME padding. Padding never wins: TensorFlow pads with -inf."""

    def __init__(self, kernel: Triple, stride: Triple) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """Apply the pool to (B, C, T, H, W)."""
        if x.is_cuda or x.requires_grad:
            # behind a ReLU zeros pad as well as -inf
            return F.max_pool3d(same_pad(x, self.kernel, self.stride), self.kernel, self.stride)
        # torch's own pool on a CPU looks for indices that nobody asked for, and takes a third of the whole network
        for dim, k, s in zip((4, 3, 2), self.kernel[::-1], self.stride[::-1], strict=True):
            x = max_along(x, dim, k, s)
        return x


class FloatPool(nn.AvgPool3d):
    """Average pooling in float32: torch has none in bfloat16 on CPUs."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply the pool to (B, C, T, H, W)."""
        return super().forward(x.float())


class Mixed(nn.Module):
    """An inflated Inception block: 1x1x1 | 1x1x1 then 3x3x3 | 1x1x1 then 3x3x3 | pool then 1x1x1, concatenated."""

    def __init__(self, inputs: int, single: int, middle: tuple[int, int], narrow: tuple[int, int], pooled: int) -> None:
        super().__init__()
        self.b0 = Unit(inputs, single)
        self.b1a, self.b1b = Unit(inputs, middle[0]), Unit(*middle, (3, 3, 3))
        self.b2a, self.b2b = Unit(inputs, narrow[0]), Unit(*narrow, (3, 3, 3))
        self.b3a, self.b3b = SamePool((3, 3, 3), (1, 1, 1)), Unit(inputs, pooled)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to (B, C, T, H, W)."""
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))], dim=1)


def same_pad(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """Pad (B, C, T, H, W) with zeros so that the output is ``ceil(size / stride)``; the odd cell goes behind."""
    pads: list[int] = []
    for size, k, s in zip(x.shape[:1:-1], kernel[::-1], stride[::-1], strict=True):
        front, behind = padding(size, k, s)
        pads += [front, behind]
    return F.pad(x, pads)


def padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Cells of SAME padding before and behind."""
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def max_along(x: Tensor, dim: int, kernel: int, stride: int) -> Tensor:
    """SAME max pooling along one dimension: windows that reach over an end take what is there."""
    if kernel == stride == 1:
        return x
    size = x.shape[dim]
    front, _ = padding(size, kernel, stride)

    def cut(tensor: Tensor, *bounds: int) -> Tensor:
        return tensor[(slice(None),) * dim + (slice(*bounds),)]

    # every window has the cell its stride points at; its other cells lie `offset` away, where the tensor reaches
    best = cut(x, 0, size, stride).clone()
    for offset in range(-front, kernel - front):
        first = -(offset // stride) if offset < 0 else 0
        last = min(best.shape[dim] - 1, (size - 1 - offset) // stride)
        if offset and first <= last:
            here = cut(best, first, last + 1)
            there = cut(x, first * stride + offset, last * stride + offset + 1, stride)
            torch.maximum(here, there, out=here)
    return best
