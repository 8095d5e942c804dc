"""Measures whether motion and sound begin together; drops nothing unless told to."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field, NonNegativeFloat

from avbench.filters._base import ClipFilter
from avbench.filters._signals import ClipSignals

PART_S = 0.01
"""Loudness is taken in parts this long, seconds: short beside a frame, long beside a period of the sound."""

FLOOR_DB = -60.0
"""What lies below does not count as a rise, dBFS."""

DRIFT_S = 1.0
"""Slower change of motion (the camera, the scene) is taken out, seconds."""


class Filter(ClipFilter):
    """Highest correlation of motion with the onset of sound, between frames, within a small lag, -1 to 1.

    Motion is the mean change of brightness from frame to frame, less its own mean over a second; the onset of sound is
    the sum of the rises of its level in the same tenth of a second. Without weights it sees only that something moves
    fast when something starts to sound: strong for impacts, weak for a singer's face. Chance is above 0, because the
    best of several lags is taken. By default it is only recorded.

    Attributes:
        max_lag_s: Largest lag tried to both sides, seconds. Default 0.1: our choice; one frame, and about what viewers
            tolerate (ITU-R BT.1359 calls 0.125 s of late sound noticeable).
        min_correlation: Lowest correlation kept, -1 to 1. Default -1: keeps everything.
    """

    max_lag_s: NonNegativeFloat = 0.1
    min_correlation: Annotated[float, Field(ge=-1, le=1)] = -1.0

    unit: ClassVar[str] = "correlation of motion and onsets"
    lowest: ClassVar[str] = "min_correlation"

    def measure(self, clip: ClipSignals) -> float:
        """Correlation; 0 where nothing moves, nothing sounds or the clip has less than a second."""
        moves, sounds = _motion(clip), _onsets(clip)
        count = min(len(moves), len(sounds))
        if count < clip.fps * DRIFT_S:
            return 0.0
        reach = min(round(self.max_lag_s * clip.fps), count // 2)
        lags = range(-reach, reach + 1)
        return max(_correlation(moves[:count], sounds[:count], lag) for lag in lags)

    def said(self, value: float) -> str:
        """See `ClipFilter.said`."""
        return f"motion and sound do not begin together, correlation {value:.2f}"


def _motion(clip: ClipSignals) -> np.ndarray:
    """Change of brightness from each frame to the next, slow drift taken out."""
    steps = [np.abs(after.astype(np.int16) - before).mean() for before, after in pairwise(clip.luma)]
    # the logarithm keeps a hard cut from outweighing all motion
    change = np.log1p(np.array(steps))
    width = min(len(change), max(1, round(DRIFT_S * clip.fps)))
    if not width:
        return change
    kernel = np.ones(width)
    return change - np.convolve(change, kernel, "same") / np.convolve(np.ones(len(change)), kernel, "same")


def _onsets(clip: ClipSignals) -> np.ndarray:
    """Rise of the sound's level between each frame and the next, dB."""
    length = round(PART_S * clip.sample_rate_hz)
    count = clip.audio.shape[1] // length if clip.audio.size else 0
    if not count:
        return np.zeros(0)
    parts = clip.audio[:, : count * length].reshape(-1, count, length)
    level = 10 * np.log10(np.square(parts, dtype=np.float64).mean(axis=(0, 2)) + 10 ** (FLOOR_DB / 10))
    rises = np.maximum(0, np.diff(level, prepend=level[0]))
    frame = ((np.arange(count) + 0.5) * length / clip.sample_rate_hz * clip.fps).astype(int)
    return np.bincount(frame, weights=rises)


def _correlation(moves: np.ndarray, sounds: np.ndarray, lag: int) -> float:
    """Pearson's correlation with the sound ``lag`` frames later; 0 where one of the two does not vary."""
    moves = moves[max(0, -lag) : len(moves) - max(0, lag)]
    sounds = sounds[max(0, lag) : len(sounds) - max(0, -lag)]
    if moves.std() < 1e-9 or sounds.std() < 1e-9:
        return 0.0
    return float(np.clip(np.corrcoef(moves, sounds)[0, 1], -1, 1))
