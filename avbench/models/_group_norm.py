"""GroupNorm of channels-last activations, with a scale, a shift and SiLU in the same pass.

PyTorch 2.11 does it slowly on a CPU: in channels-last memory the backward pass takes longer than the convolution beside
it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_TILE = 2**19
"""Elements that `group_norm` works on at a time on a CPU: intermediate values then stay in the cache, and no allocation
is so large that the system has to hand out fresh pages for it."""


def group_norm(
    x: Tensor, norm: nn.GroupNorm, scale: Tensor | None = None, shift: Tensor | None = None, *, silu: bool = False
) -> Tensor:
    """GroupNorm over everything but the batch, then ``* (1 + scale) + shift``, then SiLU, at least in float32.

    Args:
        x: Activations (B, ..., C); the statistics are over all axes between B and C, and the channels of a group.
        norm: Holds groups, eps, weight and bias.
        scale: Per-sample scale (B, C), or None.
        shift: Per-sample shift (B, C), or None.
        silu: End with SiLU.

    Returns:
        The shape and type of ``x``.
    """
    wide = torch.promote_types(x.dtype, torch.float32)
    weight, bias = norm.weight.to(wide).expand(x.shape[0], -1), norm.bias.to(wide).expand(x.shape[0], -1)
    if scale is not None and shift is not None:
        scale = 1 + scale.to(wide)
        weight, bias = weight * scale, bias * scale + shift
    return _GroupNorm.apply(x.flatten(1, -2), weight, bias, norm.num_groups, norm.eps, silu).view_as(x)


class _GroupNorm(torch.autograd.Function):
    """y = f(z w + b), z = (x - m) r; m, r = mean and 1 / sqrt(variance + eps) per sample and group; f: SiLU or none.

    Every reduction is over the token axis first, which channels-last memory makes contiguous. The backward pass needs
    ``x`` and the statistics only.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float, silu: bool) -> Tensor:
        """Normalise ``x`` (B, N, C) with per-sample ``weight`` and ``bias`` (B, C), both at least float32."""
        ctx.groups, ctx.silu = groups, silu
        if x.device.type != "cpu" or torch.compiler.is_compiling():
            norm = _whole_norm
        elif x.dtype == weight.dtype:
            norm = _tiled_norm
        else:
            norm = _half_group_norm if _has_fast_kernel(x, groups) else _few_tokens_norm
        out, mean, rstd = norm(x, weight, bias, groups, eps, silu)
        ctx.save_for_backward(x, weight, bias, mean, rstd)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None, None]:
        """With g = f'(z w + b) dy: dw = sum(g z), db = sum(g), dx = r (w g - mean(w g) - z mean(w g z))."""
        saved = ctx.saved_tensors
        rows, run = _tile(saved[0])
        parts = zip(*(tensor.split(rows) for tensor in (grad, *saved)), strict=True)
        done = [_group_norm_backward(part, ctx.groups, ctx.silu, run) for part in parts]
        grad_x, grad_weight, grad_bias = (
            column[0] if len(done) == 1 else torch.cat(column) for column in zip(*done, strict=True)
        )
        return grad_x, grad_weight, grad_bias, None, None, None


def _whole_norm(
    x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float, silu: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """What `_GroupNorm` gives and keeps, by plain operations over all of ``x``, which a compiler puts together."""
    mean, rstd = _group_moments(*_moments(x, weight.dtype), groups, eps)
    slope, offset = rstd * weight.unsqueeze(1), bias.unsqueeze(1)
    if x.dtype == weight.dtype:
        y = torch.addcmul(offset, x - mean, slope)
    else:  # a subtraction of two types takes a pass of its own; what it would save of digits, half precision has not
        y = torch.addcmul(offset - mean * slope, x.to(weight.dtype), slope)
    return (F.silu(y) if silu else y).to(x.dtype), mean, rstd


def _tiled_norm(
    x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float, silu: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """`_whole_norm` of the type of the statistics on a CPU: in place, while a tile is in the cache."""
    out, (rows, run) = torch.empty_like(x, memory_format=torch.contiguous_format), _tile(x)
    means, rstds = [], []
    for place, part, w, b in zip(*(each.split(rows) for each in (out, x, weight, bias)), strict=True):
        tiles = part.split(run, 1)
        mean, rstd = _group_moments(*(_fused_moments(tiles) if rows == 1 else _moments(part)), groups, eps)
        slope, offset = rstd * w.unsqueeze(1), b.unsqueeze(1)
        for y, tile in zip(place.split(run, 1), tiles, strict=True):
            torch.addcmul(offset, torch.sub(tile, mean, out=y), slope, out=y)
            if silu:
                F.silu(y, inplace=True)
        means.append(mean)
        rstds.append(rstd)
    return out, torch.cat(means), torch.cat(rstds)


def _has_fast_kernel(x: Tensor, groups: int) -> bool:
    """Whether `_half_group_norm` is the faster one for ``x`` (B, N, C).

    The kernel of torch 2.11 takes two to twenty times as long where there are few tokens, and the channels of a group
    fill no vector register.
    """
    return x.shape[1] >= 1024 or x.shape[2] // groups % 16 == 0


def _half_group_norm(
    x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float, silu: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """What `_GroupNorm` gives and keeps of half precision on a CPU: torch's own kernel, which sums in float32.

    It makes no copy in float32, and takes a fifth to a half of the time.
    """
    tokens, channels = x.shape[1:]
    rows = len(x) if weight.stride(0) == bias.stride(0) == 0 else 1  # those of the same weights go together
    done, means, rstds = [], [], []
    for place, part in enumerate(x.split(rows)):
        image = part.contiguous().unsqueeze(1).permute(0, 3, 1, 2)
        y, mean, rstd = torch.native_group_norm(
            image, weight[place], bias[place], len(part), channels, tokens, groups, eps
        )
        y = y.permute(0, 2, 3, 1).squeeze(1)
        done.append(F.silu(y, inplace=True) if silu else y)
        means.append(mean)
        rstds.append(rstd)
    mean, rstd = (torch.cat(each).to(weight.dtype).unsqueeze(1) for each in (means, rstds))
    return done[0] if len(done) == 1 else torch.cat(done), mean, rstd


def _few_tokens_norm(
    x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float, silu: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """`_half_group_norm`, some samples at a time: their float32 copy stays in the cache and is worked on in place."""
    out, rows = torch.empty_like(x, memory_format=torch.contiguous_format), _tile(x)[0]
    means, rstds = [], []
    for place, part, w, b in zip(*(each.split(rows) for each in (out, x, weight, bias)), strict=True):
        y = part.to(weight.dtype)
        means.append(_group_mean(y.mean(1), groups).unsqueeze(1))
        y -= means[-1]
        rstds.append((_group_mean(y.square().mean(1), groups) + eps).rsqrt().unsqueeze(1))
        torch.addcmul(b.unsqueeze(1), y, rstds[-1] * w.unsqueeze(1), out=y)
        place.copy_(F.silu(y, inplace=True) if silu else y)
    return out, torch.cat(means), torch.cat(rstds)


def _group_norm_backward(parts: Sequence[Tensor], groups: int, silu: bool, run: int) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, weight and bias, from dy, x, weight, bias, mean and rstd, ``run`` tokens at a time."""
    grad, x, weight, bias, *moments = parts
    # statistics are kept by group or by channel
    mean, rstd = (each.repeat_interleave(x.shape[-1] // each.shape[-1], -1) for each in moments)
    tokens, inner, sums, products = x.shape[1], [], [], []
    slope = rstd * weight.unsqueeze(1)
    for tile, grad_tile in zip(x.split(run, 1), grad.split(run, 1), strict=True):
        centred, g = tile - mean, grad_tile.to(weight.dtype)
        if silu:
            g = torch.ops.aten.silu_backward(g, torch.addcmul(bias.unsqueeze(1), centred, slope))
        inner.append(g)
        sums.append(g.sum(1))
        products.append((g * centred).sum(1))
    grad_bias, grad_weight = _total(sums), _total(products) * rstd.squeeze(1)
    offset = -rstd * _group_mean(weight * grad_bias / tokens, groups).unsqueeze(1)
    drift = -rstd.square() * _group_mean(weight * grad_weight / tokens, groups).unsqueeze(1)
    moved = (
        torch.addcmul(torch.addcmul(offset, tile - mean, drift), g, slope)
        for tile, g in zip(x.split(run, 1), inner, strict=True)
    )
    return _joined(moved, like=x, run=run), grad_weight, grad_bias


def _group_moments(mean: Tensor, variance: Tensor, groups: int, eps: float) -> tuple[Tensor, Tensor]:
    """m and r of `_GroupNorm`, (B, 1, C), from the moments of each channel (B, C)."""
    apart = mean - _group_mean(mean, groups)
    rstd = (_group_mean(variance + apart.square(), groups) + eps).rsqrt()
    return (mean - apart).unsqueeze(1), rstd.unsqueeze(1)


def _moments(x: Tensor, wide: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
    """Mean and variance (B, C) over the tokens of ``x`` (B, N, C)."""
    mean = x.mean(1, dtype=wide)
    return mean, (x - mean.unsqueeze(1)).square().mean(1)


def _fused_moments(tiles: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """`_moments` of one sample, given in runs of tokens, a call per run: a fifth of the time where a run is long.

    The runs are put together by Chan, Golub and LeVeque (1983): no sum is so long that float32 loses digits.
    """
    images = (tile.unsqueeze(1).permute(0, 3, 1, 2) for tile in tiles)
    found = [torch.batch_norm_update_stats(image, None, None, 0.0) for image in images]
    means, variances = (torch.stack(each) for each in zip(*found, strict=True))
    shares = torch.tensor([tile.shape[1] for tile in tiles], dtype=means.dtype).unsqueeze(1)
    shares /= shares.sum()
    mean = (shares * means).sum(0, keepdim=True)
    return mean, (shares * (variances + (means - mean).square())).sum(0, keepdim=True)


def _tile(x: Tensor) -> tuple[int, int]:
    """Rows and tokens of ``x`` (B, N, C) to work on at a time: all, but for a CPU without a compiler."""
    batch, tokens, channels = x.shape
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return batch, tokens
    return max(1, _TILE // (tokens * channels)), max(1, _TILE // channels)


def _joined(parts: Iterable[Tensor], *, like: Tensor, run: int) -> Tensor:
    """Put runs of tokens together in the shape and type of ``like``, one at a time."""
    if like.shape[1] <= run:
        return next(iter(parts)).to(like.dtype)
    out = torch.empty_like(like, memory_format=torch.contiguous_format)
    for place, part in zip(out.split(run, 1), parts, strict=True):
        place.copy_(part)
    return out


def _total(parts: Iterable[Tensor]) -> Tensor:
    """Sum of tensors."""
    return functools.reduce(torch.add, parts)


def _group_mean(x: Tensor, groups: int) -> Tensor:
    """Replace each channel of (B, C) by the mean of its group."""
    grouped = x.unflatten(-1, (groups, -1))
    return grouped.mean(-1, keepdim=True).expand_as(grouped).flatten(1)
