"""Each channels-last layer computes what PyTorch's channels-first layer computes, and differentiates as it should."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avbench.models import _channels_last as layers


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def _video(channels: int = 6) -> Tensor:
    return torch.randn(2, 5, 4, 8, channels)


def test_spatial_convolution_is_a_2d_convolution_of_each_frame() -> None:
    conv, video = nn.Conv2d(6, 10, 3, padding=1), _video()
    expected = torch.stack([conv(frame.permute(0, 3, 1, 2)).permute(0, 2, 3, 1) for frame in video.unbind(1)], 1)
    torch.testing.assert_close(layers.conv_spatial(conv, video), expected)


def test_temporal_convolution_is_a_1d_convolution_of_each_pixel() -> None:
    conv, video = nn.Conv1d(6, 10, 3, padding=1), _video()
    for y, x in ((0, 0), (3, 5)):
        expected = conv(video[:, :, y, x].transpose(1, 2)).transpose(1, 2)
        torch.testing.assert_close(layers.conv_temporal(conv, video)[:, :, y, x], expected)


@pytest.mark.parametrize("dilation", [1, 2, 8, 32, 64, 512])
def test_dilated_audio_convolution_folds_any_dilation(dilation: int) -> None:
    """Lengths that the dilation divides, does not divide, and exceeds."""
    conv = nn.Conv1d(6, 10, 3, padding=dilation, dilation=dilation)
    for length in (64, 65, 127):
        audio = torch.randn(2, length, 6)
        torch.testing.assert_close(layers.conv_audio(conv, audio), conv(audio.transpose(1, 2)).transpose(1, 2))


def test_pointwise_is_a_convolution_of_kernel_one() -> None:
    conv, video = nn.Conv3d(6, 10, 1), _video()
    torch.testing.assert_close(layers.pointwise(conv, video), conv(video.permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1))


@pytest.mark.parametrize("tokens", [(3, 7), (2, 5, 8), (16, 32)])
def test_pointwise_takes_any_number_of_tokens_and_any_strides(tokens: tuple[int, ...]) -> None:
    """16 images where 16 divides the tokens, fewer where not, a plain product where nothing does."""
    conv, x = nn.Conv1d(6, 10, 1), torch.randn(*tokens, 6).transpose(0, 1)
    expected = F.linear(x, conv.weight[:, :, 0], conv.bias)
    torch.testing.assert_close(layers.pointwise(conv, x), expected)


def test_resampling_averages_and_repeats() -> None:
    video, audio = _video(), torch.randn(2, 24, 6)
    small, short = layers.pool(video, audio)
    torch.testing.assert_close(small, video.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).mean((3, 5)))
    torch.testing.assert_close(short, audio.unflatten(1, (-1, 4)).mean(2))
    large, long = layers.repeat(video, audio)
    assert torch.equal(large, video.repeat_interleave(2, 2).repeat_interleave(2, 3))
    assert torch.equal(long, audio.repeat_interleave(4, 1))


def test_group_norm_equals_pytorch_then_scale_and_shift() -> None:
    norm, video = nn.GroupNorm(3, 6), 5 + 3 * _video()
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
def test_group_norm_of_half_precision_and_its_gradients_are_close_to_float64(silu: bool, scaled: bool) -> None:
    torch.manual_seed(3)
    norm = nn.GroupNorm(4, 8)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    half = (5 + torch.randn(3, 50, 8)).bfloat16().requires_grad_()
    scale, shift = (torch.randn(3, 8), torch.randn(3, 8)) if scaled else (None, None)
    grad = torch.randn(3, 50, 8).bfloat16()

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


def test_attention_gives_each_head_its_run_of_channels() -> None:
    q, k, v = torch.randn(3, 7, 12), torch.randn(3, 9, 12), torch.randn(3, 9, 12)
    heads = []
    for h in range(3):
        part = slice(4 * h, 4 * h + 4)
        scores = (q[..., part] @ k[..., part].transpose(1, 2) / 2).softmax(-1)
        heads.append(scores @ v[..., part])
    torch.testing.assert_close(layers.attention(q, k, v, 3), torch.cat(heads, -1))


def test_attention_of_more_rows_than_a_grid_allows_is_split(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = torch.randn(3, 7, 5, 8).unbind(0)
    whole, calls, fused = layers.attention(q, k, v, 2), [], F.scaled_dot_product_attention
    monkeypatch.setattr(layers, "_MAX_ROWS", 3)
    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda *a: calls.append(len(a[0])) or fused(*a))
    torch.testing.assert_close(layers.attention(q, k, v, 2), whole)
    assert calls == [3, 3, 1]


@pytest.mark.parametrize("scores", [64, 2**20])
def test_attention_in_half_precision_and_its_gradient_are_close_to_float32(
    monkeypatch: pytest.MonkeyPatch, scores: int
) -> None:
    """Written out, one row at a time or all at once; autocast, under which networks train, changes nothing."""
    monkeypatch.setattr(layers, "_SCORES", scores)
    inputs = [torch.randn(2, tokens, 32).bfloat16() for tokens in (5, 9, 9)]
    grad = torch.randn(2, 5, 32).bfloat16()
    wide = [x.float().requires_grad_() for x in inputs]
    wanted = layers.attention(*wide, 2)
    wanted_grads = torch.autograd.grad(wanted, wide, grad.float())
    with torch.no_grad():
        plain = layers.attention(*inputs, 2)
    with torch.autocast("cpu", torch.bfloat16):
        out = layers.attention(*(x.requires_grad_() for x in inputs), 2)
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, plain)
    torch.testing.assert_close(out.float(), wanted, atol=0.02, rtol=0.02)
    for got, want in zip(torch.autograd.grad(out, inputs, grad), wanted_grads, strict=True):
        assert got.dtype == torch.bfloat16
        torch.testing.assert_close(got.float(), want, atol=0.03, rtol=0.03)
