"""Sounds and pictures with events at known times: clicks, and a square that jumps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def clicks(times_s: list[float], seconds: float, rate: int) -> NDArray[np.float32]:
    """Mono sound of one-sample clicks."""
    audio = np.zeros((1, round(seconds * rate)), np.float32)
    audio[0, [round(t * rate) for t in times_s]] = 1.0
    return audio


def jolts(frames: list[int], n_frames: int, jump_px: int = 3) -> NDArray[np.uint8]:
    """A textured square that stands still but for a jump at each of ``frames``."""
    texture = np.random.default_rng(0).integers(0, 256, (6, 6)).repeat(4, 0).repeat(4, 1).astype(np.uint8)
    video = np.zeros((n_frames, 48, 64, 3), np.uint8)
    x = 2
    for i in range(n_frames):
        x += jump_px * (i in frames)
        video[i, 10:34, x : x + 24] = texture[..., None]
    return video
