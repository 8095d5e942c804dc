"""Convolution and its gradients are PyTorch's, also where they are computed another way."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from avbench.models import _convolution
from avbench.models._convolution import conv2d

SIZES = [(5, 6, 4, 7, 9, 3), (1, 3, 8, 1, 1, 3), (3, 1, 5, 6, 1, 1), (2, 6, 4, 5, 40, 1), (2, 4, 4, 1, 3, 1)]
"""Images, channels in and out, height, width, width of the kernel."""


@pytest.fixture(params=[2**19, 64, 1])
def _tiles(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_convolution, "has_avx2_only", lambda: True)
    monkeypatch.setattr(_convolution, "_TILE", request.param)


def _inputs(size: tuple[int, ...]) -> list[Tensor]:
    torch.manual_seed(0)
    images, channels, out, height, width, across = size
    tensors = torch.randn(images, height, width, channels), torch.randn(out, channels, 3, across), torch.randn(out)
    return [tensor.double().requires_grad_() for tensor in tensors]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.usefixtures("_tiles")
def test_gradients_are_those_of_torch(size: tuple[int, ...]) -> None:
    images, weight, bias = tensors = _inputs(size)
    planes = images.permute(0, 3, 1, 2)
    out = conv2d(planes, weight, bias)
    assert out.grad_fn is not None
    assert out.grad_fn.name() == "_Conv2dBackward"
    expected = F.conv2d(planes, weight, bias, padding=(1, weight.shape[3] // 2))
    torch.testing.assert_close(out, expected)
    grad = torch.randn_like(out)
    found, wanted = torch.autograd.grad(out, tensors, grad), torch.autograd.grad(expected, tensors, grad)
    for got, want in zip(found, wanted, strict=True):
        torch.testing.assert_close(got, want)


@pytest.mark.usefixtures("_tiles")
def test_only_the_gradients_that_are_needed_are_computed() -> None:
    images, weight, _ = _inputs(SIZES[0])
    planes = images.detach().permute(0, 3, 1, 2)
    (found,) = torch.autograd.grad(conv2d(planes, weight, None).square().sum(), weight)
    (wanted,) = torch.autograd.grad(F.conv2d(planes, weight, padding=1).square().sum(), weight)
    torch.testing.assert_close(found, wanted)
    frozen = weight.detach()
    assert torch.autograd.grad(conv2d(images.permute(0, 3, 1, 2), frozen, None).sum(), images)[0].shape == images.shape


def test_torch_differentiates_elsewhere_and_in_half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    images, weight, bias = (tensor.detach().float().requires_grad_() for tensor in _inputs(SIZES[0]))
    planes = images.permute(0, 3, 1, 2)
    monkeypatch.setattr(_convolution, "has_avx2_only", lambda: False)
    assert "_Conv2d" not in str(conv2d(planes, weight, bias).grad_fn)
    monkeypatch.setattr(_convolution, "has_avx2_only", lambda: True)
    assert "_Conv2d" in str(conv2d(planes, weight, bias).grad_fn)
    with torch.autocast("cpu", torch.bfloat16):
        assert "_Conv2d" not in str(conv2d(planes, weight, bias).grad_fn)
    with torch.no_grad():
        assert not conv2d(planes, weight, bias).requires_grad
