"""Layers that act on channels-last activations: video (B, F, H, W, C) and audio (B, L, C).

One memory layout serves every layer of a video network without a single copy: the frames are an image batch
(B·F, C, H, W) in PyTorch's channels-last format, the time axis is the image (B, C, F, H·W) of the same bytes, and
attention tokens and 1x1 convolutions are matrix products over the last axis. Two things PyTorch 2.11 does slowly there
on a CPU are done otherwise here: `group_norm`, whose channels-last backward takes longer than the convolution beside
it, and `linear` in float32, whose library reaches half of what the convolutions reach on processors of another maker.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_TILE = 2**18
"""Elements that `group_norm` works on at a time on a CPU: intermediate values then stay in the cache, and no allocation
is so large that the system has to hand out fresh pages for it."""

_IMAGES = 16
"""Images that a 1x1 convolution's tokens are split into: PyTorch sends a single image down a slower path."""

_SCORES = 2**20
"""Attention scores computed at a time where they are written out, so that they stay in the cache."""

_MAX_ROWS = 65535
"""Largest batch that every fused CUDA attention kernel takes: it is a grid dimension of the launch."""


def pointwise(conv: nn.Conv1d | nn.Conv2d | nn.Conv3d, x: Tensor) -> Tensor:
    """Apply a convolution of kernel 1 to channels-last ``x`` (..., C_in) as a matrix product -> (..., C_out)."""
    weight, tokens = conv.weight.flatten(1), x.numel() // x.shape[-1]
    images = math.gcd(tokens, _IMAGES)
    if x.device.type != "cpu" or images == 1 or torch.compiler.is_compiling():
        return F.linear(x, weight, conv.bias)
    split = x.reshape(images, 1, -1, x.shape[-1]).permute(0, 3, 1, 2)
    out = F.conv2d(split, weight[:, :, None, None], conv.bias)
    return out.permute(0, 2, 3, 1).reshape(*x.shape[:-1], -1)


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
        (N, T, C). The exponentials are summed in float32 whatever the input type.
    """
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    if _is_written_out(q):
        out = _WrittenOut.apply(q, k, v)
    elif q.shape[0] <= _MAX_ROWS:
        out = F.scaled_dot_product_attention(q, k, v)
    else:
        parts = zip(q.split(_MAX_ROWS), k.split(_MAX_ROWS), v.split(_MAX_ROWS), strict=True)
        out = torch.cat([F.scaled_dot_product_attention(*part) for part in parts])
    return out.transpose(1, 2).flatten(2)


def _is_written_out(q: Tensor) -> bool:
    """Whether plain matrix products beat the fused kernel: bfloat16 on a CPU."""
    return q.device.type == "cpu" and q.dtype == torch.bfloat16 and not torch.compiler.is_compiling()


class _WrittenOut(torch.autograd.Function):
    """Attention by matrix products, as many scores at a time as stay in the cache; the backward pass makes them again.

    With P = softmax(q k^T / sqrt(d)) and o = P v: dv = P^T do, dS = P (do v^T - sum(P do v^T)), dq = dS k / sqrt(d),
    dk = dS^T q / sqrt(d).
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend with q (N, h, T, d), k and v (N, h, S, d) -> (N, h, T, d)."""
        ctx.save_for_backward(q, k, v)
        rows, (queries, keys, values) = _score_blocks(q, k, v)
        out = torch.empty_like(queries)
        for part, query, key, value in zip(*(x.split(rows) for x in (out, queries, keys, values)), strict=True):
            torch.bmm(_probabilities(_scaled(query), key), value, out=part)
        return out.view(*q.shape[:2], *out.shape[1:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See the class."""
        rows, blocks = _score_blocks(*ctx.saved_tensors, grad)
        found = [torch.empty_like(block) for block in blocks[:3]]
        for parts in zip(*(x.split(rows) for x in (*found, *blocks)), strict=True):
            grad_query, grad_key, grad_value, query, key, value, grad_out = parts
            query = _scaled(query)
            shares = _probabilities(query, key)
            torch.bmm(shares.transpose(1, 2), grad_out, out=grad_value)
            slopes = torch.bmm(grad_out, value.transpose(1, 2))
            slopes = torch._softmax_backward_data(slopes, shares, -1, shares.dtype)
            torch.bmm(slopes, key, out=grad_query)
            torch.bmm(slopes.transpose(1, 2), query, out=grad_key)
        grad_q, grad_k, grad_v = (x.view(held.shape) for x, held in zip(found, ctx.saved_tensors, strict=True))
        return _scaled(grad_q), grad_k, grad_v


def _score_blocks(*tensors: Tensor) -> tuple[int, list[Tensor]]:
    """Rows to work on at a time, then each of (N, h, T, d) as rows (N h, T, d); the first two are queries and keys."""
    blocks = [x.reshape(-1, *x.shape[2:]) for x in tensors]
    return max(1, _SCORES // (blocks[0].shape[1] * blocks[1].shape[1])), blocks


def _probabilities(query: Tensor, key: Tensor) -> Tensor:
    """Softmax of the products of each row's queries, which are scaled already, and keys."""
    return torch.bmm(query, key.transpose(1, 2)).softmax(-1)


def _scaled(query: Tensor) -> Tensor:
    """q / sqrt(d)."""
    return query * query.shape[-1] ** -0.5


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
        if x.dtype != weight.dtype and x.device.type == "cpu" and not torch.compiler.is_compiling():
            out, mean, rstd = _half_group_norm(x, weight, bias, groups, eps, silu)
            ctx.save_for_backward(x, weight, bias, mean, rstd)
            return out
        wide, tokens = weight.dtype, x.shape[1]
        rows, run = _tile(x)
        blocks, means, rstds = [], [], []
        for part, w, b in zip(x.split(rows), weight.split(rows), bias.split(rows), strict=True):
            tiles = part.split(run, 1)
            fused = rows == 1 and x.device.type == "cpu" and not torch.compiler.is_compiling()
            mean, variance = (_fused_moments if fused else _moments)(tiles, tokens, wide)
            # of a group from those of its channels
            apart = mean - _group_mean(mean, groups)
            mean = (mean - apart).unsqueeze(1)
            rstd = (_group_mean(variance + apart.square(), groups) + eps).rsqrt().unsqueeze(1)
            slope, offset = rstd * w.unsqueeze(1), b.unsqueeze(1)
            # a subtraction of two types takes a pass of its own; what it would save of digits, half precision has not
            centre, offset = (mean, offset) if x.dtype == wide else (None, offset - mean * slope)
            done = (_affine(tile, centre, slope, offset, silu) for tile in tiles)
            blocks.append(_joined(done, like=part, run=run))
            means.append(mean)
            rstds.append(rstd)
        ctx.save_for_backward(x, weight, bias, torch.cat(means), torch.cat(rstds))
        return blocks[0] if len(blocks) == 1 else torch.cat(blocks)

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


def _half_group_norm(
    x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float, silu: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """What `_GroupNorm` gives and keeps of half precision on a CPU: torch's own kernel, which sums in float32.

    It makes no copy in float32, and takes a fifth to four fifths of the time.
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
    mean, rstd = (
        torch.cat(each).to(weight.dtype).repeat_interleave(channels // groups, 1).unsqueeze(1)
        for each in (means, rstds)
    )
    return done[0] if len(done) == 1 else torch.cat(done), mean, rstd


def _group_norm_backward(parts: Sequence[Tensor], groups: int, silu: bool, run: int) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, weight and bias, from dy, x, weight, bias, mean and rstd, ``run`` tokens at a time."""
    grad, x, weight, bias, mean, rstd = parts
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


def _moments(tiles: Sequence[Tensor], tokens: int, wide: torch.dtype) -> tuple[Tensor, Tensor]:
    """Mean and variance (B, C) over ``tokens`` tokens, given in runs (B, N, C)."""
    mean = _total(tile.to(wide).sum(1) for tile in tiles) / tokens
    centre = mean.unsqueeze(1)
    return mean, _total((tile - centre).square().sum(1) for tile in tiles) / tokens


def _fused_moments(tiles: Sequence[Tensor], tokens: int, wide: torch.dtype) -> tuple[Tensor, Tensor]:
    """`_moments` of one sample, a call per run: a fifth of the time where a run is long.

    The runs are put together by Chan, Golub and LeVeque (1983): no sum is so long that float32 loses digits.
    """
    # only running statistics of the wide type keep bfloat16 from rounding what is returned
    running = torch.zeros(2, tiles[0].shape[-1], dtype=wide)
    images = (tile.unsqueeze(1).permute(0, 3, 1, 2) for tile in tiles)
    found = [torch.batch_norm_update_stats(image, running[0], running[1], 0.0) for image in images]
    means, variances = (torch.stack(each) for each in zip(*found, strict=True))
    shares = torch.tensor([tile.shape[1] / tokens for tile in tiles], dtype=wide).unsqueeze(1)
    mean = (shares * means).sum(0, keepdim=True)
    return mean, (shares * (variances + (means - mean).square())).sum(0, keepdim=True)


def _tile(x: Tensor) -> tuple[int, int]:
    """Rows and tokens of ``x`` (B, N, C) to work on at a time: all, but for a CPU without a compiler."""
    batch, tokens, channels = x.shape
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return batch, tokens
    return max(1, _TILE // (tokens * channels)), max(1, _TILE // channels)


def _affine(tile: Tensor, centre: Tensor | None, slope: Tensor, offset: Tensor, silu: bool) -> Tensor:
    """SiLU or nothing, after ``(tile - centre) * slope + offset``."""
    y = torch.addcmul(offset, tile.to(slope.dtype) if centre is None else tile - centre, slope)
    return F.silu(y) if silu else y


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
