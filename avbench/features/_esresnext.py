"""The audio tower of AudioCLIP: ESResNeXt-FBSP (Guzhov et al. 2021, arXiv 2104.11587, in the form of arXiv 2106.13043).

A learned bank of complex filters (frequency B-spline wavelets) makes a spectrogram of 1025 bins; its power in decibels,
cut into three bands of 341, is the three-channel picture of a ResNeXt-50 whose stages are weighted by attention.
Tensors are called as in ``AudioCLIP-Full-Training.pt`` without the prefix ``audio.``.
"""

from __future__ import annotations

import math

import scipy.signal
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet

DIM = 1024
FFT, WINDOW, HOP = 2048, 1654, 561
BINS = FFT // 2 + 1
BAND = BINS // 3
"""Bins of one of the three bands; the two highest bins of the spectrogram are in none."""

LOWEST_POWER = 1e-18
EPSILON = 1e-8


class ESResNeXt(ResNet):
    """Sound (B, 1, samples) at 44.1 kHz -> embeddings (B, 1024).

    Expects the range of int16; sound in [-1, 1] passes through all the same, some 90 dB more quietly.
    """

    window: Tensor

    def __init__(self) -> None:
        super().__init__(Bottleneck, [3, 4, 6, 3], num_classes=DIM, groups=32, width_per_group=4)
        self.att1 = Attention(64, 256, (3, 1))
        self.att2 = Attention(256, 512, (1, 5))
        self.att3 = Attention(512, 1024, (3, 1))
        self.att4 = Attention(1024, 2048, (1, 5))
        self.att5 = Attention(2048, 2048, (3, 5))
        self.fbsp = FilterBank()
        self.register_buffer("window", torch.empty(WINDOW))

    def forward(self, x: Tensor) -> Tensor:
        """Embed a batch of mono sounds of one length."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(self.picture(x)))))
        for stage, attention in (
            (self.layer1, self.att1),
            (self.layer2, self.att2),
            (self.layer3, self.att3),
            (self.layer4, self.att4),
            (self.avgpool, self.att5),
        ):
            after = stage(x)
            x = after * attention(x, after.shape[-2:])
        answer: Tensor = self.fc(x.flatten(1))
        return answer

    def picture(self, x: Tensor) -> Tensor:
        """Sound (B, 1, samples) -> decibels (B, 3, 341, frames)."""
        # in this order: on sound in [-1, 1] the sum loses most of its digits, and published scores rest on what is left
        x = ((x.squeeze(1) + 32768.0) * 2.0) / 65535.0 - 1.0
        frames = 1 + max(0, math.ceil((x.shape[-1] - WINDOW) / HOP))
        missing = (frames - 1) * HOP + WINDOW - x.shape[-1]
        windows = F.pad(x, (missing // 2, missing - missing // 2)).unfold(-1, WINDOW, HOP) * self.window
        beside = FFT - WINDOW
        power = self.fbsp(F.pad(windows, (beside // 2, beside - beside // 2))).transpose(1, 2)
        bands = power[:, : 3 * BAND].unflatten(1, (3, BAND))
        return 10 * torch.log10(torch.where(bands > 0, bands, LOWEST_POWER))

    def use_batch_statistics(self) -> None:
        """Normalise by the batch at hand, as a network does that was never told to stop training."""
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.track_running_stats = False
                module.running_mean = module.running_var = None


class FilterBank(nn.Module):
    """Frequency B-spline filters of 2048 taps, as many as bins; their shape is learned: order, bandwidth, centre."""

    def __init__(self) -> None:
        super().__init__()
        self.m = nn.Parameter(torch.empty(BINS))
        self.fb = nn.Parameter(torch.empty(BINS))
        self.fc = nn.Parameter(torch.empty(BINS))
        self.bias = nn.Parameter(torch.empty(0))
        self._filters: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Power of windows (B, frames, 2048) in each bin: (B, frames, 1025)."""
        if self._filters is None or self._filters.device != x.device:
            self._filters = self.filters()
        return F.linear(x, self._filters[..., 0]).square() + F.linear(x, self._filters[..., 1]).square()

    def filters(self) -> Tensor:
        """The filters' real and imaginary parts: (1025, 2048, 2).

        A filter is a complex wave of frequency ``fc`` under the ``m``-th power of a sinc of width ``m / fb``. The gates
        of the network can turn a difference in the last digit into one in the third, so the steps round as AudioCLIP's.
        """
        t = torch.pi * torch.linspace(-1, 1, FFT, device=self.m.device) + EPSILON
        m, fb, fc = self.m[:, None], self.fb[:, None], self.fc[:, None]
        x = fb * t / (m + EPSILON)
        sinc = torch.where(x == 0, 1.0, x.sin() / x)
        # a power of a negative number turns it in the complex plane: by m half turns
        size = sinc.square() ** (0.5 * m)
        angle = m * torch.atan2(torch.zeros_like(sinc), sinc)
        real, imaginary = size * angle.cos(), size * angle.sin()
        cosine, sine = (fc * t).cos(), -(fc * t).sin()
        parts = torch.stack([real * cosine - imaginary * sine, real * sine + imaginary * cosine], dim=-1)
        return fb.sqrt()[..., None] * parts / FFT**0.5


class Attention(nn.Module):
    """Weights in (0, 1) for every cell of a stage's output, from the stage's input."""

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int]) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.conv_depth = nn.Conv2d(inputs, inputs, kernel, padding=padding, groups=inputs)
        self.conv_point = nn.Conv2d(inputs, outputs, 1)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor, size: torch.Size) -> Tensor:
        """Input (B, C, H, W) and the size of the output -> weights (B, outputs, *size)."""
        return torch.sigmoid(self.bn(self.conv_point(self.conv_depth(F.adaptive_max_pool2d(x, tuple(size))))))


def untrained() -> dict[str, Tensor]:
    """Filters and window as training begins: a plain Fourier transform under a Blackman-Harris window."""
    return {
        "fbsp.m": torch.zeros(BINS),
        "fbsp.fb": torch.ones(BINS),
        "fbsp.fc": torch.arange(BINS, dtype=torch.float32),
        "fbsp.bias": torch.empty(0),
        "window": torch.from_numpy(scipy.signal.get_window("blackmanharris", WINDOW)).float(),
    }
