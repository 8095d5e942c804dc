"""400 Kinetics logits of a clip, averaged over time: the embedding of FVD and KVD.

Network: two-stream inflated 3D Inception, RGB stream (Carreira and Zisserman 2017, arXiv 1705.07750), in the port that
VideoGPT, TATS and MM-Diffusion share (``pytorch_i3d.py``): TensorFlow's SAME padding, batch-norm epsilon 1e-5, average
pool 2x7x7, logits before the softmax. Its file is ``i3d_pretrained_400.pt``.

The network runs with batch norm folded into its convolutions, channels last: 1e-6 of a standard deviation away from
the port, in about half its time on a CPU. ``precision = "bfloat16"`` is another feature under the same name: quicker
again where the CPU knows the type, and about 1e-2 of a standard deviation away, so it belongs in a protocol.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from avbench.errors import MediaError, UserError
from avbench.features._base import VideoFeature, WeightSource
from avbench.features._i3d_network import InceptionI3D
from avbench.models.bfloat16 import bfloat16_by_float32
from avbench.weights import Weight

SIDE = 224
"""Pixels of the square picture the network sees."""

CHUNK_CLIPS = 2
"""Clips per forward pass: bounds memory at about 0.2 GB for 16 frames, and is quickest on one core and on two."""

RESIZES = ("crop", "stretch", "tf1")
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}

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


class Feature(VideoFeature):
    """I3D logits: one row of 400 per clip.

    Called as a module it takes what the reference network takes: float (B, 3, T, 224, 224) in [-1, 1].

    Args:
        weights: None for the published weights; or a file; or a state dict.
        device: Where the network runs.
        resize: ``crop``: shorter side to 224, then the centre square (VideoGPT, MM-Diffusion). ``stretch``: both sides
            to 224 (TATS, cd-fvd). Both bilinear without antialiasing. ``tf1``: both sides to 224 as TensorFlow 1 did
            for the original FVD: output pixel i reads at ``i * size / 224``, without half-pixel centres. Scores of two
            kinds do not compare.
        precision: ``float32``; or ``bfloat16`` for the convolutions. Scores of the two do not compare either.
    """

    name = "i3d"
    dim = 400
    min_frames = 9
    weight = WEIGHT
    network: InceptionI3D

    def __init__(
        self,
        weights: WeightSource = None,
        device: str | torch.device = "cpu",
        resize: Literal["crop", "stretch", "tf1"] = "crop",
        precision: Literal["float32", "bfloat16"] = "float32",
    ) -> None:
        if resize not in RESIZES:
            raise UserError(f"feature i3d: resize is crop, stretch or tf1, not {resize!r}")
        if precision not in PRECISIONS:
            raise UserError(f"feature i3d: precision is float32 or bfloat16, not {precision!r}")
        super().__init__(weights, device)
        self.resize = resize
        self.settings |= {"resize": resize, "precision": precision}
        self.dtype = PRECISIONS[precision]
        self.network.fold(self.dtype)

    @staticmethod
    def architecture() -> InceptionI3D:
        """The network without its weights."""
        return InceptionI3D()

    def forward(self, x: Tensor) -> Tensor:
        """Logits of clips as the network sees them: float (B, 3, T, 224, 224) in [-1, 1] -> float32 (B, 400).

        Raises:
            MediaError: Fewer than 9 frames.
        """
        if x.shape[2] < self.min_frames:
            raise MediaError(f"feature i3d: a clip of {x.shape[2]} frames is too short, it needs {self.min_frames}")
        with bfloat16_by_float32(self.device):
            logits: Tensor = self.network(x.to(self.dtype, memory_format=torch.channels_last_3d))
        return logits

    def _embed(self, clips: Tensor) -> Tensor:
        return torch.cat([self(self.preprocess(chunk)) for chunk in clips.split(CHUNK_CLIPS)])

    def preprocess(self, clips: Tensor) -> Tensor:
        """What the network sees: uint8 (B, T, H, W, 3) -> float32 (B, 3, T, 224, 224) in [-1, 1], channels last."""
        b, t, h, w, _ = clips.shape
        # stays channels last, as it came: nothing is copied to reorder it
        frames = clips.to(self.device).flatten(0, 1).permute(0, 3, 1, 2).float() / 255
        if self.resize == "tf1":
            frames = legacy_bilinear(frames)
        else:
            size = shorter_side_size(h, w) if self.resize == "crop" else (SIDE, SIDE)
            frames = F.interpolate(frames, size=size, mode="bilinear", align_corners=False, antialias=False)
            top, left = (size[0] - SIDE) // 2, (size[1] - SIDE) // 2
            frames = frames[:, :, top : top + SIDE, left : left + SIDE]
        return (frames * 2 - 1).unflatten(0, (b, t)).transpose(1, 2).contiguous(memory_format=torch.channels_last_3d)


def legacy_bilinear(frames: Tensor) -> Tensor:
    """Both sides to 224 as ``tf.image.resize_bilinear`` of TensorFlow 1: (N, C, H, W) -> (N, C, 224, 224).

    Pixel i of the output lies at ``i * size / 224`` of the input; what lies beyond the last pixel repeats it.
    """
    for dim in (2, 3):
        size = frames.shape[dim]
        place = torch.arange(SIDE, device=frames.device, dtype=torch.float32) * (size / SIDE)
        before = place.floor().long()
        weight = (place - before).reshape((-1, 1) if dim == 2 else (-1,))
        first = frames.index_select(dim, before)
        frames = first + (frames.index_select(dim, (before + 1).clamp(max=size - 1)) - first) * weight
    return frames


def shorter_side_size(height: int, width: int) -> tuple[int, int]:
    """Height and width after bringing the shorter side to 224, the other rounded up as VideoGPT does."""
    scale = SIDE / min(height, width)
    if height < width:
        return SIDE, math.ceil(width * scale)
    return math.ceil(height * scale), SIDE
