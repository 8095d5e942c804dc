"""Resize pictures with torch as public evaluators do, for protocols that follow them (part of `avbench.media`).

Sizes and offsets follow them too. ``letterbox``: a side that is not whole is rounded down, as torchvision, MM-Diffusion
and JavisBench have it; padding that cannot be halved puts the odd row below and the odd column to the right. ``crop``:
a side that is not whole is rounded up and the odd row or column is cut off behind, as VideoGPT, TATS, cd-fvd and
common_metrics have it.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

TorchResize = Literal[
    "torch-bicubic", "torch-bicubic-plain", "torch-bilinear", "torch-bilinear-plain", "torch-bilinear-floor"
]
"""Modes of `torch.nn.functional.interpolate`, with antialiasing unless ``-plain`` ends the name. Results are rounded to
whole levels; ``-floor`` cuts their decimals off, as evaluators do that go on in floating point."""

TORCH_RESIZES: tuple[str, ...] = get_args(TorchResize)


class Placed(NamedTuple):
    """Where a picture goes along one axis.

    Attributes:
        length: Length it is scaled to, pixels.
        skip: Pixels of the scaled picture cut off before the canvas begins.
        pad: Pixels of the canvas left black before the picture begins.
    """

    length: int
    skip: int
    pad: int


def torch_fit(picture: NDArray[np.uint8], size: tuple[int, int], fit: str, resize: str) -> NDArray[np.uint8]:
    """Scale a picture with torch and place it on a black canvas.

    Args:
        picture: uint8 (H, W, 3).
        size: (width, height) of the canvas, pixels.
        fit: ``letterbox``, ``stretch`` or ``crop``.
        resize: One of `TORCH_RESIZES`.

    Returns:
        uint8 (height, width, 3).
    """
    have = (picture.shape[1], picture.shape[0])
    across, down = _places(have, size, fit)
    scaled = _interpolate(picture, (down.length, across.length), resize)
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    shown = scaled[down.skip : down.skip + size[1], across.skip : across.skip + size[0]]
    canvas[down.pad : down.pad + shown.shape[0], across.pad : across.pad + shown.shape[1]] = shown
    return canvas


def _places(have: tuple[int, int], want: tuple[int, int], fit: str) -> tuple[Placed, Placed]:
    """Across and down."""
    if fit == "stretch":
        return Placed(want[0], 0, 0), Placed(want[1], 0, 0)
    ratios = [Fraction(w, h) for w, h in zip(want, have, strict=True)]
    if fit == "letterbox":
        lengths = [max(1, math.floor(h * min(ratios))) for h in have]
    else:
        lengths = [math.ceil(h * max(ratios)) for h in have]
    across, down = (_place(length, w) for length, w in zip(lengths, want, strict=True))
    return across, down


def _place(length: int, canvas: int) -> Placed:
    if length <= canvas:
        return Placed(length, 0, (canvas - length) // 2)
    return Placed(length, (length - canvas) // 2, 0)


def _interpolate(picture: NDArray[np.uint8], size: tuple[int, int], resize: str) -> NDArray[np.uint8]:
    """Scale to (height, width); a picture of that size is returned as it is."""
    import torch
    from torch.nn.functional import interpolate

    if picture.shape[:2] == size:
        return picture
    _, mode, *rest = resize.split("-")
    tensor = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float().contiguous()
    scaled = interpolate(tensor, size=size, mode=mode, align_corners=False, antialias=rest != ["plain"])
    levels = scaled[0].clamp(0, 255)  # bicubic weights overshoot
    whole = levels.floor() if rest == ["floor"] else levels.round()
    return whole.to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
