"""bfloat16 on a processor that has none: each product computed in float32, and rounded.

PyTorch 2.11 imitates it there: the results are the same, but without AVX-512 a matrix product takes 30 times as long as
in float32, a 3D convolution 270 times, the backward pass of attention 10 times.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint as activation_checkpoint

from avbench.models import _convolution
from avbench.processor import has_bfloat16

T = TypeVar("T")


class _Linear(torch.autograd.Function):
    """`F.linear` of bfloat16 that keeps what it was given, not the copies in float32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Multiply (..., C_in) and (C_out, C_in) -> (..., C_out)."""
        ctx.save_for_backward(x, weight)
        return F.linear(x.float(), weight.float(), None if bias is None else bias.float()).bfloat16()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """dx = dy w, dw = dy^T x, db = sum dy."""
        x, weight = ctx.saved_tensors
        for_x, for_weight, for_bias = ctx.needs_input_grad
        rows = grad.reshape(-1, grad.shape[-1]).float()
        grad_x = (rows @ weight.float()).view_as(x) if for_x else None
        grad_weight = rows.t() @ x.reshape(-1, x.shape[-1]).float() if for_weight else None
        grad_bias = rows.sum(0) if for_bias else None
        return tuple(None if found is None else found.bfloat16() for found in (grad_x, grad_weight, grad_bias))


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return _Linear.apply(x, weight, bias)


def _conv2d(
    images: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    is_plain = stride in (1, (1, 1)) and dilation in (1, (1, 1)) and groups == 1 and images.ndim == 4
    if is_plain and padding == _convolution.same(weight) and all(size % 2 for size in weight.shape[2:]):
        return _convolution.conv2d_by_float32(images, weight, bias)
    return _plainly(F.conv2d)(images, weight, bias, stride, padding, dilation, groups)


def _plainly(product: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A product in float32 of what is widened before; torch keeps that for the backward pass."""

    def is_half(value: Any) -> bool:
        return isinstance(value, Tensor) and value.dtype == torch.bfloat16

    def widened(*args: Any, **named: Any) -> Tensor:
        given = [x.float() if is_half(x) else x for x in args]
        return product(*given, **{name: x.float() if is_half(x) else x for name, x in named.items()}).bfloat16()

    return widened


_PRODUCTS: dict[Callable[..., Any], Callable[..., Tensor]] = {
    F.linear: _linear,
    F.conv2d: _conv2d,
    **{
        product: _plainly(product)
        for product in (
            F.conv1d,
            F.conv3d,
            F.conv_transpose1d,
            F.conv_transpose2d,
            F.conv_transpose3d,
            F.scaled_dot_product_attention,
        )
    },
}
"""What torch imitates slowly, and what takes bfloat16 and computes in float32 instead."""


def bfloat16_by_float32(device: torch.device | str) -> AbstractContextManager[Any]:
    """Within it, bfloat16 takes as long as float32 on a processor that only imitates it; elsewhere nothing changes.

    The same function to the rounding of sums: products of bfloat16 are exact in float32, whose sums are rounded once.
    The backward pass of what is computed within may run outside.

    Args:
        device: Where the networks are.

    Returns:
        A context manager.
    """
    found = torch.device(device)
    return nullcontext() if found.type != "cpu" or has_bfloat16(found) else _Widened()


def checkpoint(block: Callable[..., T], *inputs: Any) -> T:
    """Call ``block``, and again in the backward pass instead of keeping its activations.

    The backward pass leaves every mode of torch, so that `bfloat16_by_float32` has to be entered again for it.
    """
    if torch.compiler.is_compiling() or not _IS_WIDENED.get():
        return activation_checkpoint(block, *inputs, use_reentrant=False)
    return activation_checkpoint(block, *inputs, use_reentrant=False, context_fn=lambda: (nullcontext(), _Widened()))


_IS_WIDENED = ContextVar("_IS_WIDENED", default=False)


class _Widened(TorchFunctionMode):
    """Takes the place of `_PRODUCTS` where their type is bfloat16, also by autocast."""

    def __enter__(self) -> Any:
        """Begin."""
        self._before = _IS_WIDENED.set(True)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        """End."""
        _IS_WIDENED.reset(self._before)
        super().__exit__(*error)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call ``func``, or what computes the same."""
        named, product = kwargs or {}, _PRODUCTS.get(func)
        if product is None or not args or not _is_bfloat16(args[0]):
            return func(*args, **named)
        given, named = [_rounded(x) for x in args], {name: _rounded(x) for name, x in named.items()}
        with torch.autocast(args[0].device.type, enabled=False):
            return product(*given, **named)


def _is_bfloat16(x: Tensor) -> bool:
    """Whether a product of ``x`` is to be one of bfloat16."""
    place = x.device.type
    autocast = torch.get_autocast_dtype(place) if torch.is_autocast_enabled(place) else x.dtype
    return autocast == torch.bfloat16 and x.is_floating_point()


def _rounded(value: Any) -> Any:
    """A tensor of numbers in bfloat16; anything else as it is."""
    return value.bfloat16() if isinstance(value, Tensor) and value.is_floating_point() else value
