"""Convolution of channels-last images, done otherwise on processors without AVX-512.

There PyTorch 2.11 takes three to six times the forward pass for the gradient of a weight, and fourteen for a kernel
that is one wide. Here each tap of the kernel is a matrix product over the tokens of two shifted images. Where that is
faster, the forward pass, the gradient of the images and that of 3x3 kernels go through `_winograd`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from avbench.models import _winograd
from avbench.processor import has_avx2_only

_TILE = 2**19
"""Elements of an image that a product takes at a time, so that all taps find them in the cache."""


def conv2d(images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve images (N, C_in, H, W) in channels-last memory with an odd kernel, zero 'same' padding, stride 1.

    Args:
        images: (N, C_in, H, W).
        weight: (C_out, C_in, 3, 3) or (C_out, C_in, 3, 1).
        bias: (C_out,) or None.

    Returns:
        (N, C_out, H, W) in channels-last memory.
    """
    if images.device.type != "cpu" or torch.compiler.is_compiling() or not has_avx2_only() or _is_half(weight):
        return F.conv2d(images, weight, bias, padding=same(weight))
    return _Conv2d.apply(images, weight, bias) if torch.is_grad_enabled() else _convolved(images, weight, bias)


def same(weight: Tensor) -> tuple[int, int]:
    """Zeros on each side with which a convolution keeps height and width."""
    return weight.shape[2] // 2, weight.shape[3] // 2


def _is_half(weight: Tensor) -> bool:
    """Whether a product with ``weight`` is one in half precision."""
    return torch.finfo(weight.dtype).bits < 32 or torch.is_autocast_enabled("cpu")


def _convolved(images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`conv2d` without gradients, on AVX2."""
    if _winograd.suits(images, weight):
        return _winograd.convolve(images, weight, bias)
    return F.conv2d(images, weight, bias, padding=same(weight))


def conv2d_by_float32(images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`conv2d` of bfloat16, computed in float32 and rounded; only what is given is kept for the backward pass."""
    return _Conv2d.apply(images, weight, bias)


class _Conv2d(torch.autograd.Function):
    """y = w * x + b; dx: dy convolved with w turned by 180 degrees; dw: sum of dy x^T, x shifted by each tap."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """See `conv2d`."""
        ctx.save_for_backward(images, weight)
        out = _convolved(_wide(images), _wide(weight), None if bias is None else _wide(bias))
        return out.to(images.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """See the class."""
        images, weight = (_wide(x) for x in ctx.saved_tensors)
        for_images, for_weight, for_bias = ctx.needs_input_grad
        dtype, grad = grad.dtype, _wide(grad).contiguous(memory_format=torch.channels_last)
        grad_images = _convolved(grad, weight.flip(2, 3).transpose(0, 1), None) if for_images else None
        grad_weight = _weight_gradient(images, grad, weight) if for_weight else None
        grad_bias = grad.sum((0, 2, 3)) if for_bias else None
        return tuple(None if found is None else found.to(dtype) for found in (grad_images, grad_weight, grad_bias))


def _wide(x: Tensor) -> Tensor:
    """At least float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _weight_gradient(images: Tensor, grad: Tensor, weight: Tensor) -> Tensor:
    """Sum over all tokens of dy x^T for each tap -> (C_out, C_in, kernel height, kernel width)."""
    height, width = weight.shape[2:]
    if width > 1 and _winograd.suits(images, weight):
        return _winograd.weight_gradient(images, grad)
    taps = weight.new_zeros(height * width, *weight.shape[:2])
    for x, y, row in _token_runs(images, grad, padded=width > 1):
        length, at_a_time = len(x), max(1, _TILE // x.shape[1])
        offsets = [(i - height // 2) * row + j - width // 2 for i in range(height) for j in range(width)]
        for start in range(0, length, at_a_time):
            for tap, offset in zip(taps, offsets, strict=True):
                first, end = max(start, -offset), min(start + at_a_time, length - max(0, offset))
                if first < end:
                    tap.addmm_(y[first:end].t(), x[first + offset : end + offset])
    return taps.permute(1, 2, 0).unflatten(2, (height, width))


def _token_runs(images: Tensor, grad: Tensor, *, padded: bool) -> Iterator[tuple[Tensor, Tensor, int]]:
    """Tokens (n, C_in) and (n, C_out) of whole images, and the tokens of a row.

    ``padded`` puts a zero after each row, and a row of zeros after each image: a shift along the tokens by a pixel, or
    by a row, then takes zeros from beyond every border.
    """
    at_a_time = max(1, _TILE // images[0].numel()) if padded else 1
    for both in zip(images.split(at_a_time), grad.split(at_a_time), strict=True):
        x, y = (part.permute(0, 2, 3, 1) for part in both)
        if padded:
            x, y = F.pad(x, (0, 0, 0, 1, 0, 1)), F.pad(y, (0, 0, 0, 1, 0, 1))
        yield x.flatten(0, 2), y.flatten(0, 2), x.shape[2]
