"""Convolution over polynomials is convolution: exact in rational arithmetic, as exact as PyTorch's in float32."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from avbench.models import _convolution, _winograd
from avbench.models._convolution import conv2d
from avbench.models._winograd import convolve, suits, weight_gradient

SIZES = [(2, 96, 96, 32, 32, 3), (9, 96, 128, 16, 16, 3), (32, 128, 96, 8, 8, 3), (2, 128, 130, 8, 260, 1)]
"""Images, channels in and out, height, width, width of the kernel; all are suitable."""

SMALL = [(3, 2, 5, 12, 8, 3), (1, 3, 2, 4, 4, 3), (2, 4, 3, 4, 5, 1), (1, 2, 2, 12, 7, 1)]
"""The same of images that would be slower, for the borders and the parts that images are taken in."""


def _inputs(size: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    count, channels, made, height, width, across = size
    images = torch.randn(count, height, width, channels).permute(0, 3, 1, 2)
    weight = torch.randn(made, channels, 3, across) / (channels * 3 * across) ** 0.5
    return images, weight, torch.randn(made)


def _exact(images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    wide = None if bias is None else bias.double()
    return F.conv2d(images.double(), weight.double(), wide, padding=(1, weight.shape[3] // 2))


def test_products_at_six_points_are_a_convolution() -> None:
    torch.manual_seed(0)
    of_pixels, of_weights, back = _winograd._changes()
    pixels, weights = torch.randn(6, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    made = back @ ((of_weights @ weights) * (of_pixels @ pixels))
    torch.testing.assert_close(made, pixels.unfold(0, 3, 1) @ weights, rtol=0, atol=1e-13)


@pytest.mark.parametrize("size", SIZES)
def test_as_exact_as_torch(size: tuple[int, ...]) -> None:
    images, weight, bias = _inputs(size)
    assert suits(images, weight)
    exact, found = _exact(images, weight, bias), convolve(images, weight, bias)
    plain = F.conv2d(images, weight, bias, padding=(1, weight.shape[3] // 2))
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert (found - exact).std() < 3 * (plain - exact).std()
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=2e-5)


@pytest.mark.parametrize("held", [1, 2000, 2**20])
@pytest.mark.parametrize("size", SMALL)
def test_the_same_in_parts_of_any_size(size: tuple[int, ...], held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_winograd, "_FRAME_ELEMENTS", held)
    monkeypatch.setattr(_winograd, "_ROW_ELEMENTS", held)
    images, weight, bias = _inputs(size)
    torch.testing.assert_close(convolve(images, weight, bias).double(), _exact(images, weight, bias), rtol=0, atol=2e-5)


@pytest.mark.parametrize("across", [1, 3])
def test_a_kernel_of_one_pixel_gives_that_pixel_and_zeros_beyond_the_border(across: int) -> None:
    images, weight, _ = _inputs((2, 3, 3, 8, 8, across))
    weight.zero_()[range(3), range(3), 0, 0] = 1.0
    found = convolve(images, weight, None)
    above = F.pad(images, (across // 2, 0, 1, 0))[:, :, :8, :8]
    torch.testing.assert_close(found, above, rtol=0, atol=1e-5)


@pytest.mark.parametrize("held", [1, 2000, 2**23])
@pytest.mark.parametrize("size", [size for size in SMALL + SIZES if size[-1] == 3])
def test_the_gradient_of_the_kernel_is_that_of_torch(
    size: tuple[int, ...], held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_winograd, "_FRAME_ELEMENTS", held)
    images, weight, _ = _inputs(size)
    grad = torch.randn(size[0], size[3], size[4], size[2]).permute(0, 3, 1, 2)
    wide = weight.double().requires_grad_()
    (wanted,) = torch.autograd.grad(_exact(images, wide, None), wide, grad.double())
    found = weight_gradient(images, grad)
    assert (found - wanted).abs().max() < 2e-5 * wanted.std()


def test_images_in_any_memory() -> None:
    images, weight, bias = _inputs(SMALL[0])
    every_other = images.repeat_interleave(2, 3)[:, :, :, ::2].contiguous()
    torch.testing.assert_close(convolve(every_other, weight, bias), convolve(images, weight, bias))


@pytest.mark.parametrize(
    "size",
    [
        (3, 96, 96, 32, 30, 3),
        (3, 96, 96, 30, 32, 3),
        (3, 96, 95, 32, 32, 3),
        (1, 96, 96, 32, 32, 3),
        (1, 128, 128, 8, 255, 1),
        (1, 128, 128, 6, 256, 1),
        (1, 96, 96, 8, 512, 1),
    ],
)
def test_what_would_be_slower_or_does_not_fit_is_left(size: tuple[int, ...]) -> None:
    images, weight, _ = _inputs(size)
    assert not suits(images, weight)


def test_other_types_and_kernels_are_left() -> None:
    images, weight, _ = _inputs(SIZES[0])
    assert suits(images, weight)
    assert not suits(images.double(), weight.double())
    assert not suits(images, weight[:, :, :1])
    assert not suits(images.transpose(2, 3), weight[:, :, :1].transpose(2, 3)[..., :1])


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    seen: list[tuple[int, ...]] = []

    def counting(images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        seen.append(tuple(weight.shape))
        return convolve(images, weight, bias)

    monkeypatch.setattr(_winograd, "convolve", counting)
    monkeypatch.setattr(_convolution, "has_avx2_only", lambda: True)
    return seen


def test_used_forwards_and_for_the_gradients(counted: list[tuple[int, ...]]) -> None:
    images, weight, bias = (x.requires_grad_() for x in _inputs((2, 96, 128, 32, 32, 3)))
    out = conv2d(images, weight, bias)
    grad = torch.randn_like(out)
    found = torch.autograd.grad(out, (images, weight), grad)
    wanted = torch.autograd.grad(_exact(images, weight, bias), (images, weight), grad.double())
    for got, want in zip(found, wanted, strict=True):
        assert (got - want).abs().max() < 1e-4 * want.std()
    assert counted == [(128, 96, 3, 3), (96, 128, 3, 3)]


def test_used_where_no_gradient_is_asked_for(counted: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    images, weight, bias = _inputs(SIZES[0])
    with torch.inference_mode():
        conv2d(images, weight, bias)
    assert len(counted) == 1
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        conv2d(images, weight, bias)
    monkeypatch.setattr(_convolution, "has_avx2_only", lambda: False)
    conv2d(images, weight, bias)
    assert len(counted) == 1
