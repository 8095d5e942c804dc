"""Drops clips that people would not call good pictures, by LAION's aesthetic predictor (needs weights)."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn
from torch.nn import functional

from avbench.features import _base as networks
from avbench.features.clip import clip_network, preprocess
from avbench.filters._base import ClipFilter
from avbench.filters._signals import ClipSignals
from avbench.weights import Weight

if TYPE_CHECKING:
    from torch import Tensor

CLIP_WEIGHT = Weight(
    name="clip-l14",
    file="clip_vit_l14_openai.safetensors",
    urls=("https://huggingface.co/timm/vit_large_patch14_clip_224.openai/resolve/main/open_clip_model.safetensors",),
    sha256="9ce2e8a8ebfff3793d7d375ad6d3c35cb9aebf3de7ace0fc7308accab7cd207e",
    size_bytes=1_710_500_000,
    licence="MIT",
    note="OpenAI's CLIP ViT-L/14 as open_clip stores it; sha256 as several public repositories record it",
)

HEAD_WEIGHT = Weight(
    name="aesthetic",
    file="sac+logos+ava1-l14-linearMSE.pth",
    urls=(
        "https://github.com/christophschuhmann/improved-aesthetic-predictor/raw/"
        "6934dd81792f086e613a121dbce43082cb8be85e/sac%2Blogos%2Bava1-l14-linearMSE.pth",
        "https://github.com/christophschuhmann/improved-aesthetic-predictor/raw/main/"
        "sac%2Blogos%2Bava1-l14-linearMSE.pth",
    ),
    sha256="21dd590f3ccdc646f0d53120778b296013b096a035a2718c9cb0d511bff0f1e0",
    size_bytes=3_714_759,
    licence="Apache-2.0",
    note="LAION's improved aesthetic predictor; sha256 and size as several public repositories record them",
)

DIM = 768
"""Numbers that CLIP ViT-L/14 describes a picture by."""


class Filter(ClipFilter):
    """LAION's improved aesthetic predictor: the mean over first, middle and last still, about 1 to 10.

    A picture's CLIP ViT-L/14 embedding, brought to length 1, goes through five linear layers that were fitted to
    people's ratings of art and photographs; so it likes paintings, and is no measure of video. Three stills as in
    Open-Sora, because one takes seconds on a CPU.

    Attributes:
        min_score: Lowest score kept. Default 4.5: MUG-V's; Open-Sora calls 5.5 fair and 6.5 high.
    """

    min_score: float = 4.5

    unit: ClassVar[str] = "aesthetic score"
    lowest: ClassVar[str] = "min_score"
    weights: ClassVar[tuple[Weight, ...]] = (CLIP_WEIGHT, HEAD_WEIGHT)

    def measure(self, clip: ClipSignals) -> float:
        """Mean score of the three stills."""
        stills = clip.stills
        chosen = torch.from_numpy(stills[[0, len(stills) // 2, -1]])
        tower, head = _networks()
        with torch.inference_mode():
            rows = functional.normalize(tower(preprocess(chosen)), dim=-1)
            return float(head(rows).mean())

    def said(self, value: float) -> str:
        """See `ClipFilter.said`."""
        return f"aesthetic score {value:.2f}"


def head_network() -> nn.Module:
    """The five linear layers; between them stood only dropout, which is off when scores are made."""
    widths = (DIM, 1024, 128, 64, 16, 1)
    # the numbers that the published file gives the layers, with dropout at 1, 3 and 5
    places = ("0", "2", "4", "6", "7")
    head = nn.Sequential()
    for place, wide, narrow in zip(places, widths[:-1], widths[1:], strict=True):
        head.add_module(place, nn.Linear(wide, narrow))
    return head


def tower_network() -> nn.Module:
    """CLIP's picture tower; its text tower is not needed."""
    tower: nn.Module = clip_network("ViT-L-14", quick_gelu=True).visual
    return tower


@functools.cache
def _networks() -> tuple[nn.Module, nn.Module]:
    """Picture tower and head, read once in each worker."""
    tower = networks.assemble("clip-l14", tower_network, _part(CLIP_WEIGHT, "visual."))
    return tower, networks.assemble("aesthetic", head_network, _part(HEAD_WEIGHT, "layers."))


def _part(weight: Weight, prefix: str) -> dict[str, Tensor]:
    """The tensors of a file below ``prefix``, without it."""
    tensors, _, _ = networks.read_weights(weight, None)
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
