"""Drops clips whose two channels cancel each other when they are mixed to one (inverted stereo)."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from avbench.filters._base import ClipFilter
from avbench.filters._signals import ClipSignals


class Filter(ClipFilter):
    """Correlation of the left with the right channel, -1 to 1.

    The same sound in both is 1, unrelated sounds and a silent channel are 0, one channel turned over is -1: its mono
    mix, which baselines train on, is silence.

    Attributes:
        min_correlation: Lowest correlation kept, -1 to 1. Default -0.5: our choice; wide stereo goes a little below 0,
            and at -0.5 mixing to one channel costs 6 dB beside unrelated channels.
    """

    min_correlation: Annotated[float, Field(ge=-1, le=1)] = -0.5

    unit: ClassVar[str] = "correlation of the channels"
    lowest: ClassVar[str] = "min_correlation"

    def measure(self, clip: ClipSignals) -> float:
        """Correlation, 1 where there is only one channel or no sound at all: nothing can cancel."""
        if len(clip.audio) < 2 or not clip.audio.any():
            return 1.0
        left, right = clip.audio[:2].astype(np.float64)
        power = math.sqrt(float(left @ left) * float(right @ right))
        return max(-1.0, min(1.0, float(left @ right) / power)) if power else 0.0

    def said(self, value: float) -> str:
        """See `ClipFilter.said`."""
        return f"the channels cancel each other, correlation {value:.2f}"
