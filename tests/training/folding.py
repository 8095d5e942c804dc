"""Codecs without training: pixels folded into channels, and the low tones of short blocks of sound. Fast and seeded.

The picture comes back exactly. Of the sound only tones below `HIGHEST_HZ` do.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from avbench import codecs
from avbench.codecs._base import AudioCodec, Origin, VideoCodec
from avbench.training.latent_space import CodecPair
from avbench.training.loader import WindowSpec
from tests.training.rendered_sets import FPS, RATE, write_clips

CODEC_RATE_HZ = 24000
HOP = 480
CHANNELS = 32
HIGHEST_HZ = CODEC_RATE_HZ / 2 * CHANNELS / HOP
WINDOW = WindowSpec(9, FPS, 16, 14400, RATE)


class Scale(nn.Module):
    """One weight, so that a codec has a device and weights that may differ."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))


class FoldedPictures(VideoCodec):
    """2 x 2 pixels of 2 frames become 24 channels; causal: the first latent frame is the first frame twice.

    Args:
        scale: Latents are multiplied by this.
        offset: And then this is added.
    """

    spatial, temporal, causal, channels = 2, 2, True, 24

    def __init__(self, scale: float = 3.0, offset: float = 5.0) -> None:
        digest = hashlib.sha256(str(scale).encode()).hexdigest()
        super().__init__(Scale(scale), Origin("folded", "folder", "", "MIT", digest))
        self.offset, self.calls = offset, 0

    def _encode(self, clip: Tensor) -> Tensor:
        self.calls += 1
        twice = torch.cat([clip[:, :, :1], clip], 2)
        batch, colours, frames, height, width = twice.shape
        folded = twice.view(batch, colours, frames // 2, 2, height // 2, 2, width // 2, 2).permute(
            0, 1, 3, 5, 7, 2, 4, 6
        )
        return folded.flatten(1, 4) * self.network.scale + self.offset

    def _decode(self, latents: Tensor) -> Tensor:
        batch, _, frames, height, width = latents.shape
        plain = ((latents - self.offset) / self.network.scale).view(batch, 3, 2, 2, 2, frames, height, width)
        return plain.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(batch, 3, 2 * frames, 2 * height, 2 * width)[:, :, 1:]


class LowTones(AudioCodec):
    """Blocks of 20 ms at 24 kHz become the first 32 coefficients of their cosine transform."""

    sample_rate_hz, hop, channels = CODEC_RATE_HZ, HOP, CHANNELS

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__(Scale(scale), Origin("low-tones", "folder", "", "MIT", "b" * 64))
        time, tone = torch.arange(HOP) + 0.5, torch.arange(CHANNELS)[:, None]
        self.basis = torch.cos(math.pi / HOP * time * tone) * math.sqrt(2 / HOP)
        self.basis[0] /= math.sqrt(2)
        self.heard: list[int] = []

    def _encode(self, clip: Tensor) -> Tensor:
        self.heard.append(clip.shape[2])
        return (clip.view(1, -1, HOP) @ self.basis.T).transpose(1, 2) * self.network.scale

    def _decode(self, latents: Tensor) -> Tensor:
        return (latents.transpose(1, 2) / self.network.scale @ self.basis).view(1, 1, -1)


def pair(scale: float = 3.0, window: WindowSpec = WINDOW) -> CodecPair:
    """Both codecs for windows of 9 frames of 16 px: 5 latent frames of 8 x 8 cells, 45 latents of sound."""
    return CodecPair(FoldedPictures(scale), LowTones(), window)


def install(patch: pytest.MonkeyPatch, scale: float = 3.0) -> None:
    """Let recipes name these codecs, whatever they call them."""
    patch.setattr(codecs, "load_video", lambda name, **_: FoldedPictures(scale))
    patch.setattr(codecs, "load_audio", lambda name, **_: LowTones())


def write_set(root: Path, clips: int = 3, frames: int = 20, size: int = 16) -> Path:
    """A dataset of noisy pictures, and tones of 200, 250, 300 ... Hz."""
    draw = np.random.default_rng(0)
    time_s = np.arange(round(frames / FPS * RATE)) / RATE
    return write_clips(
        root,
        [
            (
                draw.integers(0, 256, (frames, size, size, 3), np.uint8),
                (0.5 * np.sin(2 * np.pi * (200 + 50 * clip) * time_s)).astype(np.float32),
            )
            for clip in range(clips)
        ],
    )
