"""GroupNorm of channels-last activations computes what PyTorch's computes, and differentiates as it should."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avbench.models import _group_norm as layers


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def test_group_norm_equals_pytorch_then_scale_and_shift() -> None:
    norm, video = nn.GroupNorm(3, 6), 5 + 3 * torch.randn(2, 5, 4, 8, 6)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    plain = norm(video.permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1)
    torch.testing.assert_close(layers.group_norm(video, norm), plain)
    scale, shift = torch.randn(2, 6), torch.randn(2, 6)
    expected = plain * (1 + scale[:, None, None, None]) + shift[:, None, None, None]
    torch.testing.assert_close(layers.group_norm(video, norm, scale, shift), expected)


@pytest.mark.parametrize("silu", [False, True])
@pytest.mark.parametrize("shape", [(2, 40, 6), (7, 4, 6), (5, 9, 6)])
def test_group_norm_in_tiles_is_group_norm_at_once(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], silu: bool
) -> None:
    """Tiles of tokens (the last one shorter), tiles of rows, and one row at a time: values and gradients."""
    norm, results = nn.GroupNorm(3, 6), []
    nn.init.normal_(norm.weight)
    x, scale, shift = torch.randn(shape), torch.randn(shape[0], 6), torch.randn(shape[0], 6)
    for tile in (2**18, 60):
        monkeypatch.setattr(layers, "_TILE", tile)
        inputs = [t.clone().requires_grad_() for t in (x, scale, shift)]
        out = layers.group_norm(inputs[0], norm, *inputs[1:], silu=silu)
        results.append([out, *torch.autograd.grad(out.square().sum(), [*inputs, norm.weight, norm.bias])])
    expected = norm(x.transpose(1, 2)).transpose(1, 2) * (1 + scale[:, None]) + shift[:, None]
    torch.testing.assert_close(results[1][0], F.silu(expected) if silu else expected)
    for tiled, whole in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(tiled, whole, atol=1e-4, rtol=1e-4)


def test_group_norm_keeps_only_its_input_for_the_backward_pass() -> None:
    """SiLU's input is computed again from it: half the activations of a Res."""
    kept: list[Tensor] = []
    x = torch.randn(1, 4096, 8, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: (kept.append(tensor), tensor)[1], lambda tensor: tensor
    ):
        layers.group_norm(x, nn.GroupNorm(4, 8), silu=True)
    assert sum(tensor.numel() for tensor in kept) < 1.1 * x.numel()


def test_group_norm_survives_a_mean_far_from_zero() -> None:
    """A variance by E[x²] - E[x]² in float32 would be noise here."""
    audio = torch.randn(1, 4096, 4) + 3e3
    out = layers.group_norm(audio, nn.GroupNorm(4, 4))
    torch.testing.assert_close(out.std(1, unbiased=False), torch.ones(1, 4), atol=1e-3, rtol=0)


@pytest.mark.parametrize("silu", [False, True])
def test_group_norm_gradients_match_finite_differences(silu: bool) -> None:
    norm = nn.GroupNorm(2, 4).double()
    nn.init.normal_(norm.weight)

    def run(x: Tensor, scale: Tensor, shift: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        moved = nn.GroupNorm(2, 4)
        del moved.weight, moved.bias
        moved.weight, moved.bias = weight, bias  # type: ignore[assignment]
        return layers.group_norm(x, moved, scale, shift, silu=silu)

    inputs = [torch.randn(shape, dtype=torch.float64) for shape in ((2, 5, 4), (2, 4), (2, 4), (4,), (4,))]
    assert torch.autograd.gradcheck(run, [x.requires_grad_() for x in inputs])


def test_group_norm_of_half_precision_is_computed_in_float32() -> None:
    norm, audio = nn.GroupNorm(4, 8), (300 * torch.randn(1, 512, 8)).bfloat16()
    out = layers.group_norm(audio, norm)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out, layers.group_norm(audio.float(), norm).bfloat16())


@pytest.mark.parametrize("silu", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize(("tokens", "channels", "fast"), [(50, 8, False), (50, 64, True), (1024, 8, True)])
def test_group_norm_of_half_precision_and_its_gradients_are_close_to_float64(
    monkeypatch: pytest.MonkeyPatch, silu: bool, scaled: bool, tokens: int, channels: int, fast: bool
) -> None:
    """By torch's kernel and by tiles of two samples."""
    monkeypatch.setattr(layers, "_TILE", 2 * tokens * channels)
    torch.manual_seed(3)
    norm = nn.GroupNorm(4, channels)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    half = (5 + torch.randn(3, tokens, channels)).bfloat16().requires_grad_()
    scale, shift = (torch.randn(3, channels), torch.randn(3, channels)) if scaled else (None, None)
    grad = torch.randn(3, tokens, channels).bfloat16()
    assert layers._has_fast_kernel(half, 4) is fast

    out = layers.group_norm(half, norm, scale, shift, silu=silu)
    (got,) = torch.autograd.grad(out, half, grad)

    exact = half.detach().double().requires_grad_()
    want = F.group_norm(exact.transpose(1, 2), 4, norm.weight.double(), norm.bias.double(), norm.eps).transpose(1, 2)
    if scale is not None and shift is not None:
        want = want * (1 + scale.double().unsqueeze(1)) + shift.double().unsqueeze(1)
    want = F.silu(want) if silu else want
    (want_grad,) = torch.autograd.grad(want, exact, grad.double())
    assert out.dtype == got.dtype == torch.bfloat16
    # bfloat16 keeps 8 bits, and the norm rounds once before SiLU
    torch.testing.assert_close(out.double(), want.detach(), rtol=2**-6, atol=2**-7)
    torch.testing.assert_close(got.double(), want_grad, rtol=2**-6, atol=2**-5)
