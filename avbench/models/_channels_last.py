"""Layers that act on channels-last activations: video (B, F, H, W, C) and audio (B, L, C).

One memory layout serves every layer of a video network without a single copy: the frames are an image batch
(B·F, C, H, W) in PyTorch's channels-last format, the time axis is the image (B, C, F, H·W) of the same bytes, and
attention tokens and 1x1 convolutions are matrix products over the last axis. The one layer that PyTorch 2.11 runs
slowly there is `group_norm` (on a CPU its channels-last backward takes longer than the convolution beside it), hence
the one below.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_MAX_ROWS = 65535
"""Largest batch that every fused CUDA attention kernel takes: it is a grid dimension of the launch."""


def pointwise(conv: nn.Conv1d | nn.Conv2d | nn.Conv3d, x: Tensor) -> Tensor:
    """Apply a convolution of kernel 1 to channels-last ``x`` (..., C_in) as a matrix product -> (..., C_out)."""
    return F.linear(x, conv.weight.flatten(1), conv.bias)


def conv_spatial(conv: nn.Conv2d, video: Tensor) -> Tensor:
    """Convolve each frame: (B, F, H, W, C_in) -> (B, F, H, W, C_out), zero 'same' padding."""
    frames = video.flatten(0, 1).permute(0, 3, 1, 2)
    out = F.conv2d(frames, conv.weight, conv.bias, padding="same")
    return out.permute(0, 2, 3, 1).unflatten(0, video.shape[:2])


def conv_temporal(conv: nn.Conv1d, video: Tensor) -> Tensor:
    """Convolve each pixel along time: (B, F, H, W, C_in) -> (B, F, H, W, C_out), zero 'same' padding."""
    out = _conv_rows(conv, video.flatten(2, 3))
    return out.unflatten(2, video.shape[2:4])


def conv_audio(conv: nn.Conv1d, audio: Tensor) -> Tensor:
    """Convolve along time with ``conv``'s dilation d: (B, L, C_in) -> (B, L, C_out), zero 'same' padding.

    A convolution with dilation d is an ordinary one over every d-th sample, so the time axis is folded to (L/d, d).
    The fold is a view; where d does not divide L, zeros that the padding stands for anyway fill the last row.
    """
    length, dilation = audio.shape[1], conv.dilation[0]
    folded = F.pad(audio, (0, 0, 0, -length % dilation)).unflatten(1, (-1, dilation))
    return _conv_rows(conv, folded).flatten(1, 2)[:, :length]


def _conv_rows(conv: nn.Conv1d, x: Tensor) -> Tensor:
    """Undilated convolution along axis 1 of (B, N, M, C_in) -> (B, N, M, C_out)."""
    padding = (conv.kernel_size[0] // 2, 0)
    out = F.conv2d(x.permute(0, 3, 1, 2), conv.weight.unsqueeze(-1), conv.bias, padding=padding)
    return out.permute(0, 2, 3, 1)


def pool(video: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
    """Average-pool video by (1, 2, 2) and audio by 4."""
    small = F.avg_pool2d(video.flatten(0, 1).permute(0, 3, 1, 2), 2)
    short = F.avg_pool2d(audio.unsqueeze(1).permute(0, 3, 1, 2), (1, 4))
    return small.permute(0, 2, 3, 1).unflatten(0, video.shape[:2]), short.permute(0, 2, 3, 1).squeeze(1)


def repeat(video: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
    """Repeat video by (1, 2, 2) and audio by 4: nearest-neighbour up-sampling."""
    large = F.interpolate(video.flatten(0, 1).permute(0, 3, 1, 2), scale_factor=2.0, mode="nearest")
    long = audio.unsqueeze(2).expand(-1, -1, 4, -1).flatten(1, 2)
    return large.permute(0, 2, 3, 1).unflatten(0, video.shape[:2]), long


def attention(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """softmax(q k^T / sqrt(d)) v per head; head h owns the h-th run of d = C / heads channels.

    Args:
        q: Queries (N, T, C).
        k: Keys (N, S, C).
        v: Values (N, S, C).
        heads: Number of heads.

    Returns:
        (N, T, C). The softmax is computed in float32 by the fused kernels whatever the input type.
    """
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    if q.shape[0] <= _MAX_ROWS:
        out = F.scaled_dot_product_attention(q, k, v)
    else:
        parts = zip(q.split(_MAX_ROWS), k.split(_MAX_ROWS), v.split(_MAX_ROWS), strict=True)
        out = torch.cat([F.scaled_dot_product_attention(*part) for part in parts])
    return out.transpose(1, 2).flatten(2)


def group_norm(x: Tensor, norm: nn.GroupNorm, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
    """GroupNorm over everything but the batch, then ``* (1 + scale) + shift``, at least in float32.

    Args:
        x: Activations (B, ..., C); the statistics are over all axes between B and C, and the channels of a group.
        norm: Holds groups, eps, weight and bias.
        scale: Per-sample scale (B, C), or None.
        shift: Per-sample shift (B, C), or None.

    Returns:
        The shape and type of ``x``.
    """
    wide = torch.promote_types(x.dtype, torch.float32)
    weight, bias = norm.weight.to(wide).expand(x.shape[0], -1), norm.bias.to(wide).expand(x.shape[0], -1)
    if scale is not None and shift is not None:
        weight, bias = weight * (1 + scale), bias * (1 + scale) + shift
    out = _GroupNorm.apply(x.flatten(1, -2).to(wide), weight, bias, norm.num_groups, norm.eps)
    return out.to(x.dtype).view_as(x)


class _GroupNorm(torch.autograd.Function):
    """y = (x - m) r w + b with m, r = mean and 1 / sqrt(variance + eps) per sample and group.

    Every reduction is over the token axis first, which channels-last memory makes contiguous.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
        """Normalise ``x`` (B, N, C) with per-sample ``weight`` and ``bias`` (B, C)."""
        mean = _group_mean(x.mean(1), groups)
        centred = x - mean.unsqueeze(1)
        rstd = (_group_mean(centred.square().mean(1), groups) + eps).rsqrt()
        ctx.save_for_backward(x, weight, mean, rstd)
        ctx.groups = groups
        return torch.addcmul(bias.unsqueeze(1), centred, (rstd * weight).unsqueeze(1))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        """With g = w dy and z = (x - m) r: dx = r (g - mean(g) - z mean(g z)); dw = sum(dy z); db = sum(dy)."""
        x, weight, mean, rstd = ctx.saved_tensors
        tokens = x.shape[1]
        grad_bias = grad.sum(1)
        grad_weight = ((grad * x).sum(1) - mean * grad_bias) * rstd
        mean_g = _group_mean(weight * grad_bias / tokens, ctx.groups)
        mean_gz = _group_mean(weight * grad_weight / tokens, ctx.groups)
        slope = -rstd.square() * mean_gz
        offset = -rstd * mean_g - mean * slope
        from_x = torch.addcmul(offset.unsqueeze(1), x, slope.unsqueeze(1))
        grad_x = torch.addcmul(from_x, grad, (rstd * weight).unsqueeze(1))
        return grad_x, grad_weight, grad_bias, None, None


def _group_mean(x: Tensor, groups: int) -> Tensor:
    """Replace each channel of (B, C) by the mean of its group."""
    grouped = x.unflatten(-1, (groups, -1))
    return grouped.mean(-1, keepdim=True).expand_as(grouped).flatten(1)
