"""Small pictures to learn super-resolution from: made from large ones, with the defects that generated ones have.

As MM-Diffusion trains its super-resolution (arXiv 2212.09478; researchmm/MM-Diffusion at 7250222): cubic interpolation
without a filter before it, then with probability 1/2 normal noise of standard deviation U(0, 20) grey levels, then with
probability 1/2 JPEG of a quality from 20 to 80. One difference: the published code hands JPEG red as blue, which weighs
the two the wrong way round in the brightness that it stores finest; here red is red.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

PROBABILITY = 0.5
MAX_SIGMA = 20.0
"""Largest standard deviation of the noise, grey levels of 255."""
QUALITY = (20, 80)


def degrade(pictures: torch.Tensor, size: int, generators: Sequence[torch.Generator]) -> torch.Tensor:
    """Small pictures with defects; each a pure function of the picture and the state of its generator.

    Args:
        pictures: uint8 (N, 3, H, W).
        size: Width and height of the small pictures, pixels.
        generators: One per picture; one number is drawn from each.

    Returns:
        float32 (N, 3, size, size), grey levels mapped to [-1, 1]. Noise is not clipped: it may go beyond.
    """
    seeds = [int(torch.randint(2**62, (), generator=generator)) for generator in generators]
    frames = pictures.permute(0, 2, 3, 1).cpu().numpy()
    small = [_degraded(frame, size, np.random.default_rng(seed)) for frame, seed in zip(frames, seeds, strict=True)]
    return torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).contiguous() / 127.5 - 1


def shrink(frame: NDArray[Any], size: int) -> NDArray[Any]:
    """Bring a frame (H, W, 3) to (size, size, 3) by cubic interpolation, without a filter before it."""
    return cv2.resize(np.ascontiguousarray(frame), (size, size), interpolation=cv2.INTER_CUBIC)


def _degraded(frame: NDArray[np.uint8], size: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """One small picture, grey levels as float32 (size, size, 3)."""
    # every number is drawn whether it is used or not, so that one choice does not move the next ones
    is_noisy, is_compressed = rng.random(2) < PROBABILITY
    sigma, quality = rng.uniform(0, MAX_SIGMA), int(rng.uniform(*QUALITY))
    small = shrink(frame, size).astype(np.float32)
    if is_noisy:
        small += (sigma * rng.standard_normal(small.shape)).astype(np.float32)
    if is_compressed:
        small = _compressed(small, quality).astype(np.float32)
    return small


def _compressed(frame: NDArray[np.float32], quality: int) -> NDArray[np.uint8]:
    """A frame after JPEG, which stores whole grey levels of 0 to 255."""
    levels = np.rint(frame).clip(0, 255).astype(np.uint8)
    written, data = cv2.imencode(".jpg", levels[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, quality))
    assert written
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))[..., ::-1]
