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
@pytest.mark.parametrize("training", [True, False])
def test_dilated_audio_convolution_takes_any_dilation(dilation: int, training: bool) -> None:
    """Lengths that the dilation divides, does not divide, and exceeds."""
    conv = nn.Conv1d(6, 10, 3, padding=dilation, dilation=dilation)
    for length in (64, 65, 127):
        audio = torch.randn(2, length, 6)
        with torch.set_grad_enabled(training):
            out = layers.conv_audio(conv, audio)
        assert out.requires_grad is training
        torch.testing.assert_close(out, conv(audio.transpose(1, 2)).transpose(1, 2), check_stride=False)


@pytest.mark.parametrize("bias", [True, False])
def test_frames_are_convolved_with_those_before_and_after(bias: bool) -> None:
    conv, video = nn.Conv3d(6, 3, 3, padding=1, bias=bias).double(), _video().double().requires_grad_()
    out, expected = layers.conv_frames(conv, video), conv(video.permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1)
    torch.testing.assert_close(out, expected)
    grad, tensors = torch.randn_like(out), [video, *conv.parameters()]
    for got, want in zip(
        torch.autograd.grad(out, tensors, grad), torch.autograd.grad(expected, tensors, grad), strict=True
    ):
        torch.testing.assert_close(got, want)
    single = layers.conv_frames(conv, video[:, :1])
    torch.testing.assert_close(single, conv(video[:, :1].permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1))


def test_pointwise_is_a_convolution_of_kernel_one() -> None:
    conv, video = nn.Conv3d(6, 10, 1), _video()
    torch.testing.assert_close(layers.pointwise(conv, video), conv(video.permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1))


@pytest.fixture(params=[True, False], ids=["AVX-512", "no AVX-512"])
def avx512(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Work as on such a processor."""
    monkeypatch.setattr(layers, "has_avx512", lambda: request.param)
    return bool(request.param)


@pytest.mark.parametrize("layer", [nn.Conv1d(6, 10, 1), nn.Linear(6, 10, bias=False)])
@pytest.mark.parametrize(("tokens", "images"), [((3, 7), 21), ((2, 5, 8), 16), ((16, 32), 16), ((3, 5), None)])
def test_pointwise_takes_any_number_of_tokens_and_any_strides(
    layer: nn.Conv1d | nn.Linear, tokens: tuple[int, ...], images: int | None, avx512: bool
) -> None:
    """The smallest number of images from 16 that divides the tokens; a plain product where none does."""
    x = torch.randn(*tokens, 6).transpose(0, 1)
    assert layers._images(x) == (images if avx512 else None)
    with torch.no_grad():
        assert layers._images(x) == images
        torch.testing.assert_close(layers.pointwise(layer, x), F.linear(x, layer.weight.flatten(1), layer.bias))
    torch.testing.assert_close(layers.pointwise(layer, x), F.linear(x, layer.weight.flatten(1), layer.bias))


def test_pointwise_of_many_channels_is_linear_without_avx512(avx512: bool) -> None:
    with torch.no_grad():
        assert [layers._images(torch.zeros(16, channels)) for channels in (1024, 2048)] == [16, 16 if avx512 else None]


def test_pointwise_in_half_precision_is_linear_only_for_the_backward_pass_of_few_tokens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(layers, "has_avx512", lambda: True)
    few, many = torch.randn(16, 6).bfloat16(), torch.randn(32, 6).bfloat16()
    assert (layers._images(few), layers._images(many)) == (None, 16)
    with torch.no_grad():
        assert layers._images(few) == 16
    with torch.autocast("cpu", torch.bfloat16):
        assert layers._images(few.float()) is None


def test_resampling_averages_and_repeats() -> None:
    video, audio = _video(), torch.randn(2, 24, 6)
    small, short = layers.pool(video, audio)
    torch.testing.assert_close(small, video.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).mean((3, 5)))
    torch.testing.assert_close(short, audio.unflatten(1, (-1, 4)).mean(2))
    large, long = layers.repeat(video, audio)
    assert torch.equal(large, video.repeat_interleave(2, 2).repeat_interleave(2, 3))
    assert torch.equal(long, audio.repeat_interleave(4, 1))
