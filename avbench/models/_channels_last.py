"""Convolutions and re-sampling of channels-last activations: video (B, F, H, W, C) and audio (B, L, C).

One memory layout serves every layer of a video network without a single copy: the frames are an image batch
(B·F, C, H, W) in PyTorch's channels-last format, the time axis is the image (B, C, F, H·W) of the same bytes, and
attention tokens and 1x1 convolutions are matrix products over the last axis. `linear`, whose library leaves AVX-512 of
another maker's processors unused in float32, is done otherwise there.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avbench.models._convolution import conv2d
from avbench.processor import has_avx512

_IMAGES = range(16, 65)
"""Images that the tokens of a matrix product may be split into: with one thread, fewer go down a slower path."""

_MANY_CHANNELS = 1024
"""Channels beyond which a convolution takes up to three times as long as `linear` on a processor without AVX-512."""


def pointwise(layer: nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d, x: Tensor) -> Tensor:
    """Apply a matrix or a convolution of kernel 1 to each token of channels-last ``x`` (..., C_in) -> (..., C_out)."""
    weight, images = layer.weight.flatten(1), _images(x)
    if images is None:
        return F.linear(x, weight, layer.bias)
    split = x.reshape(images, 1, -1, x.shape[-1]).permute(0, 3, 1, 2)
    out = F.conv2d(split, weight[:, :, None, None], layer.bias)
    return out.permute(0, 2, 3, 1).reshape(*x.shape[:-1], -1)


def _images(x: Tensor) -> int | None:
    """Images to split the tokens of ``x`` into for a convolution; None where `linear` is faster, or no number fits.

    With AVX-512 it is faster in the backward pass in half precision where tokens are few and channels many. Without, in
    every backward pass, and in the forward pass where channels are many.
    """
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return None
    tokens, channels = x.numel() // x.shape[-1], x.shape[-1]
    if has_avx512():
        half = x.dtype != torch.float32 or torch.is_autocast_enabled("cpu")
        is_slower = half and torch.is_grad_enabled() and tokens < 4 * channels
    else:
        is_slower = torch.is_grad_enabled() or channels > _MANY_CHANNELS
    return None if is_slower else next((count for count in _IMAGES if tokens % count == 0), None)


def conv_spatial(conv: nn.Conv2d, video: Tensor) -> Tensor:
    """Convolve each frame: (B, F, H, W, C_in) -> (B, F, H, W, C_out), zero 'same' padding."""
    frames = video.flatten(0, 1).permute(0, 3, 1, 2)
    out = conv2d(frames, conv.weight, conv.bias)
    return out.permute(0, 2, 3, 1).unflatten(0, video.shape[:2])


def conv_temporal(conv: nn.Conv1d, video: Tensor) -> Tensor:
    """Convolve each pixel along time: (B, F, H, W, C_in) -> (B, F, H, W, C_out), zero 'same' padding."""
    out = _conv_rows(conv, video.flatten(2, 3))
    return out.unflatten(2, video.shape[2:4])


def conv_frames(conv: nn.Conv3d, video: Tensor) -> Tensor:
    """Convolve with a 3x3x3 kernel: (B, F, H, W, C_in) -> (B, F, H, W, C_out), zero 'same' padding.

    Made for few outputs, which fill no register: those of the three frames are computed side by side, then added.
    """
    before, here, after = conv.weight.unbind(2)
    frames = video.flatten(0, 1).permute(0, 3, 1, 2)
    each = F.conv2d(frames, torch.cat([before, here, after]), padding="same")
    from_before, out, from_after = each.permute(0, 2, 3, 1).unflatten(0, video.shape[:2]).chunk(3, -1)
    out = (
        out + F.pad(from_before[:, :-1], (0, 0, 0, 0, 0, 0, 1, 0)) + F.pad(from_after[:, 1:], (0, 0, 0, 0, 0, 0, 0, 1))
    )
    return out if conv.bias is None else out + conv.bias


def conv_audio(conv: nn.Conv1d, audio: Tensor) -> Tensor:
    """Convolve along time with ``conv``'s dilation d: (B, L, C_in) -> (B, L, C_out), zero 'same' padding.

    A convolution with dilation d is an ordinary one over every d-th sample, so the time axis is folded to (L/d, d).
    The fold is a view; where d does not divide L, zeros that the padding stands for anyway fill the last row. Only the
    forward pass of a CPU is faster without, up to twice.
    """
    length, dilation = audio.shape[1], conv.dilation[0]
    if audio.device.type == "cpu" and not torch.is_grad_enabled():
        row = audio.unsqueeze(1).permute(0, 3, 1, 2)
        out = F.conv2d(row, conv.weight.unsqueeze(2), conv.bias, padding=(0, dilation), dilation=(1, dilation))
        return out.permute(0, 2, 3, 1).squeeze(1)
    folded = F.pad(audio, (0, 0, 0, -length % dilation)).unflatten(1, (-1, dilation))
    return _conv_rows(conv, folded).flatten(1, 2)[:, :length]


def _conv_rows(conv: nn.Conv1d, x: Tensor) -> Tensor:
    """Undilated convolution along axis 1 of (B, N, M, C_in) -> (B, N, M, C_out)."""
    out = conv2d(x.permute(0, 3, 1, 2), conv.weight.unsqueeze(-1), conv.bias)
    return out.permute(0, 2, 3, 1)


def plus(x: Tensor, made: Tensor) -> Tensor:
    """Sum of ``x`` and what a layer has just made, written over the latter where no gradient needs it."""
    return x + made if torch.is_grad_enabled() or x.dtype != made.dtype else made.add_(x)


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
