"""Attention over channels-last tokens: PyTorch's fused kernels, or written out where that is faster."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from avbench.processor import has_bfloat16

_SCORES = 2**21
"""Attention scores that a thread computes at a time where they are written out, so that they stay in the cache."""

_MAX_EXPONENT = 64.0
"""Powers of two up to which exponentials, and sums of 2**60 of them, stay far inside bfloat16 in both directions."""

_MAX_ROWS = 65535
"""Largest batch that every fused CUDA attention kernel takes: it is a grid dimension of the launch."""


def attention(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """softmax(q k^T / sqrt(d)) v per head; head h owns the h-th run of d = C / heads channels.

    Args:
        q: Queries (N, T, C).
        k: Keys (N, S, C).
        v: Values (N, S, C).
        heads: Number of heads.

    Returns:
        (N, T, C). The exponentials are summed in float32 whatever the input type; written out, the sum is then rounded
        to that type.
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
    """Whether plain matrix products beat the fused kernel: on a CPU that computes in bfloat16.

    Where it is imitated, the fused kernel is ten times as fast: it multiplies in float32.
    """
    if q.device.type != "cpu" or q.dtype != torch.bfloat16 or torch.compiler.is_compiling():
        return False
    return has_bfloat16(q.device)


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
        sizes = _largest_scores(queries, keys).split(rows)
        for size, *parts in zip(sizes, *(x.split(rows) for x in (out, queries, keys, values)), strict=True):
            part, query, key, value = parts
            shares = _unnormalised(query, key, size)
            torch.bmm(shares, value, out=part)
            part /= shares.sum(-1, keepdim=True)
        return out.view(*q.shape[:2], *out.shape[1:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See the class."""
        rows, blocks = _score_blocks(*ctx.saved_tensors, grad)
        found = [torch.empty_like(block) for block in blocks[:3]]
        sizes = _largest_scores(*blocks[:2]).split(rows)
        for size, *parts in zip(sizes, *(x.split(rows) for x in (*found, *blocks)), strict=True):
            grad_query, grad_key, grad_value, query, key, value, grad_out = parts
            shares = _unnormalised(query, key, size)
            shares /= shares.sum(-1, keepdim=True)
            torch.bmm(shares.transpose(1, 2), grad_out, out=grad_value)
            slopes = torch.bmm(grad_out, value.transpose(1, 2))
            slopes = torch._softmax_backward_data(slopes, shares, -1, shares.dtype)
            torch.bmm(slopes, key, out=grad_query)
            torch.bmm(slopes.transpose(1, 2), query, out=grad_key)
        grad_q, grad_k, grad_v = (x.view(held.shape) for x, held in zip(found, ctx.saved_tensors, strict=True))
        return grad_q * grad_q.shape[-1] ** -0.5, grad_k * math.log(2), grad_v


def _score_blocks(q: Tensor, *others: Tensor) -> tuple[int, list[Tensor]]:
    """Rows to work on at a time, then q log2(e) / sqrt(d) and the others, each as rows (N h, T, d); k is the second.

    Powers of two are the fastest exponentials.
    """
    scaled = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    torch.mul(q, math.log2(math.e) * q.shape[-1] ** -0.5, out=scaled)
    blocks = [x.reshape(-1, *x.shape[2:]) for x in (scaled, *others)]
    return max(1, torch.get_num_threads() * _SCORES // (blocks[0].shape[1] * blocks[1].shape[1])), blocks


def _largest_scores(queries: Tensor, keys: Tensor) -> Tensor:
    """What no score of a row exceeds, by Cauchy and Schwarz: (N, T, d) -> (N,)."""
    return queries.norm(dim=-1).amax(-1) * keys.norm(dim=-1).amax(-1)


def _unnormalised(query: Tensor, key: Tensor, largest: Tensor) -> Tensor:
    """Exponentials of the scores of each row, which have to be divided by their sums.

    The largest score is subtracted only where an exponential could leave the range of the type otherwise: finding it
    takes as long as all exponentials.
    """
    scores = torch.bmm(query, key.transpose(1, 2))
    if not (largest <= _MAX_EXPONENT).all():
        scores -= scores.amax(-1, keepdim=True)
    return scores.exp2_()
