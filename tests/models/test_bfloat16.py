"""bfloat16 computed in float32 is bfloat16: rounded where a processor that has it rounds, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from avbench.models import _convolution, bfloat16
from avbench.models.bfloat16 import bfloat16_by_float32

ULP = 2.0**-8
"""Largest relative error of one rounding to bfloat16, and a bit."""

PRODUCTS: dict[str, tuple[Callable[..., Tensor], list[tuple[int, ...]]]] = {
    "linear": (F.linear, [(5, 24), (7, 24), (7,)]),
    "conv1d": (F.conv1d, [(2, 6, 20), (8, 6, 3), (8,)]),
    "conv2d": (lambda x, w, b: F.conv2d(x, w, b, stride=2), [(2, 6, 9, 8), (8, 6, 3, 3), (8,)]),
    "conv2d same": (lambda x, w, b: F.conv2d(x, w, b, padding=(1, 1)), [(2, 6, 9, 8), (8, 6, 3, 3), (8,)]),
    "conv2d even": (lambda x, w, b: F.conv2d(x, w, b, padding=(1, 1)), [(2, 6, 9, 8), (8, 6, 2, 2), (8,)]),
    "conv2d of one": (lambda x, w, b: F.conv2d(x, w, b, padding=(1, 1)), [(6, 9, 8), (8, 6, 3, 3), (8,)]),
    "conv2d of groups": (lambda x, w, b: F.conv2d(x, w, b, 1, (1, 1), 1, 2), [(2, 6, 9, 8), (8, 3, 3, 3), (8,)]),
    "conv2d own": (_convolution.conv2d, [(2, 6, 9, 8), (8, 6, 3, 1), (8,)]),
    "conv3d": (F.conv3d, [(1, 3, 4, 5, 6), (4, 3, 2, 3, 3), (4,)]),
    "transposed 1d": (F.conv_transpose1d, [(2, 6, 20), (6, 8, 4), (8,)]),
    "transposed 2d": (F.conv_transpose2d, [(2, 6, 5, 4), (6, 8, 2, 2), (8,)]),
    "transposed 3d": (F.conv_transpose3d, [(1, 3, 4, 5, 6), (3, 4, 2, 2, 2), (4,)]),
    "attention": (F.scaled_dot_product_attention, [(2, 3, 40, 8), (2, 3, 50, 8), (2, 3, 50, 8)]),
}


@pytest.fixture(autouse=True)
def _without_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(bfloat16, "has_bfloat16", lambda device: False)
    monkeypatch.setattr(_convolution, "has_avx2_only", lambda: True)


def _inputs(name: str, dtype: torch.dtype) -> list[Tensor]:
    return [torch.randn(shape).to(dtype).requires_grad_() for shape in PRODUCTS[name][1]]


def _close(got: Tensor, want: Tensor, roundings: int) -> bool:
    """Whether two tensors differ by no more than some roundings of their largest values."""
    return float((got.double() - want).abs().max()) <= roundings * ULP * float(want.abs().max())


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("autocast", [False, True])
def test_products_and_their_gradients_are_rounded_once(name: str, autocast: bool) -> None:
    product = PRODUCTS[name][0]
    inputs = _inputs(name, torch.float32 if autocast else torch.bfloat16)
    exact = [x.detach().bfloat16().double().requires_grad_() for x in inputs]
    with bfloat16_by_float32("cpu"), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        out = product(*inputs)
    wanted = product(*exact)
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, wanted.bfloat16()) or _close(out, wanted, 1)
    grad = torch.randn_like(out)
    found, want = torch.autograd.grad(out, inputs, grad), torch.autograd.grad(wanted, exact, grad.double())
    for got, true, of in zip(found, want, inputs, strict=True):
        assert got.dtype == of.dtype
        assert _close(got, true, 2)


def test_float32_stays_as_it_is_and_names_are_taken() -> None:
    for name, (product, _) in PRODUCTS.items():
        inputs = _inputs(name, torch.float32)
        with bfloat16_by_float32("cpu"):
            out = product(*inputs)
        assert torch.equal(out, product(*inputs))
    x = torch.randn(3, 4).bfloat16()
    with bfloat16_by_float32("cpu"):
        named = F.linear(x, weight=x, bias=None)
    assert torch.equal(named, (x.float() @ x.float().t()).bfloat16())


def test_a_device_that_has_bfloat16_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(bfloat16_by_float32(torch.device("cpu")), bfloat16._Widened)
    assert not isinstance(bfloat16_by_float32("cuda"), bfloat16._Widened)
    monkeypatch.setattr(bfloat16, "has_bfloat16", lambda device: True)
    assert not isinstance(bfloat16_by_float32("cpu"), bfloat16._Widened)
