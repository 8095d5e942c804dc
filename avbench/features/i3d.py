"""400 Kinetics logits of a clip, averaged over time: the embedding of FVD and KVD.

Network: two-stream inflated 3D Inception, RGB stream (Carreira and Zisserman 2017, arXiv 1705.07750), in the port that
VideoGPT, TATS and MM-Diffusion share (``pytorch_i3d.py``): TensorFlow's SAME padding, batch-norm epsilon 1e-5, average
pool 2x7x7, logits before the softmax. Its file is ``i3d_pretrained_400.pt``.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avbench.errors import UserError
from avbench.features._base import VideoFeature, WeightSource
from avbench.weights import Weight

SIDE = 224
"""Pixels of the square picture the network sees."""

CHUNK_CLIPS = 4
"""Clips per forward pass: bounds memory at about 0.3 GB for 16 frames."""

WEIGHT = Weight(
    name="i3d",
    file="i3d_pretrained_400.pt",
    urls=(
        "https://huggingface.co/spaces/LanguageBind/Open-Sora-Plan-v1.0.0/resolve/"
        "810fa8c4bdb3a4c8eec9bd57375c29bde6fb46de/opensora/eval/fvd/videogpt/i3d_pretrained_400.pt",
        "https://github.com/songweige/TATS/raw/main/tats/fvd/i3d_pretrained_400.pt",
        "https://github.com/bytedance/pv3d/releases/download/v1.0.0/i3d_pretrained_400.pt",
    ),
    sha256="55095f049e706479d48e221adcdb145b2b9dc930ba28b081ed72367ffaa32343",
    size_bytes=50_939_526,
    licence="Apache-2.0",
    note="deepmind/i3d-kinetics-400, converted by VideoGPT; sha256 and size as in the first address's Git LFS entry",
)

Triple = tuple[int, int, int]


class Feature(VideoFeature):
    """I3D logits: one row of 400 per clip.

    Args:
        weights: None for the published weights; or a file; or a state dict.
        device: Where the network runs.
        resize: ``crop``: shorter side to 224, then the centre square (VideoGPT, MM-Diffusion). ``stretch``: both sides
            to 224 (TATS, cd-fvd). Both bilinear without antialiasing. Scores of the two do not compare.
    """

    name = "i3d"
    dim = 400
    min_frames = 9
    weight = WEIGHT

    def __init__(
        self,
        weights: WeightSource = None,
        device: str | torch.device = "cpu",
        resize: Literal["crop", "stretch"] = "crop",
    ) -> None:
        if resize not in ("crop", "stretch"):
            raise UserError(f"feature i3d: resize is crop or stretch, not {resize!r}")
        super().__init__(weights, device)
        self.resize = resize
        self.settings["resize"] = resize

    @staticmethod
    def architecture() -> nn.Module:
        """The network without its weights."""
        return InceptionI3D()

    def _embed(self, clips: Tensor) -> Tensor:
        return torch.cat([self.network(self.preprocess(chunk)) for chunk in clips.split(CHUNK_CLIPS)])

    def preprocess(self, clips: Tensor) -> Tensor:
        """What the network sees: uint8 (B, T, H, W, 3) -> float32 (B, 3, T, 224, 224) in [-1, 1]."""
        b, t, h, w, _ = clips.shape
        frames = clips.to(self.device).permute(0, 1, 4, 2, 3).reshape(b * t, 3, h, w).float() / 255
        size = shorter_side_size(h, w) if self.resize == "crop" else (SIDE, SIDE)
        frames = F.interpolate(frames, size=size, mode="bilinear", align_corners=False, antialias=False)
        top, left = (size[0] - SIDE) // 2, (size[1] - SIDE) // 2
        frames = frames[:, :, top : top + SIDE, left : left + SIDE] * 2 - 1
        return frames.reshape(b, t, 3, SIDE, SIDE).transpose(1, 2).contiguous()


def shorter_side_size(height: int, width: int) -> tuple[int, int]:
    """Height and width after bringing the shorter side to 224, the other rounded up as VideoGPT does."""
    scale = SIDE / min(height, width)
    if height < width:
        return SIDE, math.ceil(width * scale)
    return math.ceil(height * scale), SIDE


class InceptionI3D(nn.Sequential):
    """The RGB stream: float (B, 3, T, 224, 224) in [-1, 1], T at least 9 -> logits (B, 400).

    Submodules are called as in ``i3d_pretrained_400.pt``. Channels are those of Inception v1.
    """

    def __init__(self) -> None:
        super().__init__(
            OrderedDict(
                Conv3d_1a_7x7=Unit(3, 64, (7, 7, 7), (2, 2, 2)),
                MaxPool3d_2a_3x3=SamePool((1, 3, 3), (1, 2, 2)),
                Conv3d_2b_1x1=Unit(64, 64),
                Conv3d_2c_3x3=Unit(64, 192, (3, 3, 3)),
                MaxPool3d_3a_3x3=SamePool((1, 3, 3), (1, 2, 2)),
                Mixed_3b=Mixed(192, 64, (96, 128), (16, 32), 32),
                Mixed_3c=Mixed(256, 128, (128, 192), (32, 96), 64),
                MaxPool3d_4a_3x3=SamePool((3, 3, 3), (2, 2, 2)),
                Mixed_4b=Mixed(480, 192, (96, 208), (16, 48), 64),
                Mixed_4c=Mixed(512, 160, (112, 224), (24, 64), 64),
                Mixed_4d=Mixed(512, 128, (128, 256), (24, 64), 64),
                Mixed_4e=Mixed(512, 112, (144, 288), (32, 64), 64),
                Mixed_4f=Mixed(528, 256, (160, 320), (32, 128), 128),
                MaxPool3d_5a_2x2=SamePool((2, 2, 2), (2, 2, 2)),
                Mixed_5b=Mixed(832, 256, (160, 320), (32, 128), 128),
                Mixed_5c=Mixed(832, 384, (192, 384), (48, 128), 128),
                pool=nn.AvgPool3d((2, 7, 7), stride=1),
                logits=Unit(1024, 400, final=True),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits of each temporal cell, averaged over the cells."""
        cells: Tensor = super().forward(x)
        return cells.flatten(2).mean(dim=2)


class Unit(nn.Module):
    """Convolution with SAME padding, then batch norm and ReLU; the final one has a bias instead."""

    def __init__(
        self, inputs: int, outputs: int, kernel: Triple = (1, 1, 1), stride: Triple = (1, 1, 1), final: bool = False
    ) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(inputs, outputs, kernel, stride, bias=final)
        self.bn = None if final else nn.BatchNorm3d(outputs, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the unit to (B, C, T, H, W)."""
        x = self.conv3d(same_pad(x, self.conv3d.kernel_size, self.conv3d.stride))
        return x if self.bn is None else F.relu(self.bn(x))


class SamePool(nn.Module):
    """Max pooling with SAME padding. Zeros pad as well as TensorFlow's -inf would: a ReLU precedes every pool."""

    def __init__(self, kernel: Triple, stride: Triple) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """Apply the pool to (B, C, T, H, W)."""
        return F.max_pool3d(same_pad(x, self.kernel, self.stride), self.kernel, self.stride)


class Mixed(nn.Module):
    """An inflated Inception block: 1x1x1 | 1x1x1 then 3x3x3 | 1x1x1 then 3x3x3 | pool then 1x1x1, concatenated."""

    def __init__(self, inputs: int, single: int, middle: tuple[int, int], narrow: tuple[int, int], pooled: int) -> None:
        super().__init__()
        self.b0 = Unit(inputs, single)
        self.b1a, self.b1b = Unit(inputs, middle[0]), Unit(*middle, (3, 3, 3))
        self.b2a, self.b2b = Unit(inputs, narrow[0]), Unit(*narrow, (3, 3, 3))
        self.b3a, self.b3b = SamePool((3, 3, 3), (1, 1, 1)), Unit(inputs, pooled)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to (B, C, T, H, W)."""
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))], dim=1)


def same_pad(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """Pad (B, C, T, H, W) with zeros so that the output is ``ceil(size / stride)``; the odd cell goes behind."""
    pads: list[int] = []
    for size, k, s in zip(x.shape[:1:-1], kernel[::-1], stride[::-1], strict=True):
        total = max((math.ceil(size / s) - 1) * s + k - size, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads)
