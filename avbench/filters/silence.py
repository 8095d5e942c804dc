"""Drops clips that are silent for most of their length."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field, PositiveFloat

from avbench.filters._base import ClipFilter
from avbench.filters._signals import ClipSignals


class Filter(ClipFilter):
    """Share of short stretches whose RMS level (all channels together) is below ``level_dbfs``.

    Some silence is part of the sound: games are silent for a third of the time and are fine.

    Attributes:
        level_dbfs: A stretch below this RMS level is silent, dBFS. Default -50: DeepSound-V1.
        max_ratio: Largest silent share kept, 0 to 1. Default 0.9: DeepSound-V1 drops above 90 %.
        frame_s: Length of a stretch, seconds. Default 0.05: our choice; one frame of a 20 fps video.
    """

    level_dbfs: Annotated[float, Field(le=0)] = -50.0
    max_ratio: Annotated[float, Field(ge=0, le=1)] = 0.9
    frame_s: PositiveFloat = 0.05

    unit: ClassVar[str] = "share of the clip"
    symbol: ClassVar[str] = "%"
    highest: ClassVar[str] = "max_ratio"

    def measure(self, clip: ClipSignals) -> float:
        """Share of the stretches, 0 to 1; 1 where there is no sound at all."""
        return float((self._power(clip) < 10 ** (self.level_dbfs / 10)).mean())

    def said(self, value: float) -> str:
        """See `ClipFilter.said`."""
        return f"silent for {value:.1%} of the clip"

    def _power(self, clip: ClipSignals) -> np.ndarray:
        """Mean square of each stretch; the rest that fills no stretch is left out."""
        length = max(1, round(self.frame_s * clip.sample_rate_hz))
        count = clip.audio.shape[1] // length if clip.audio.size else 0
        if not count:
            return np.zeros(1)
        parts = clip.audio[:, : count * length].reshape(-1, count, length)
        return np.square(parts, dtype=np.float64).mean(axis=(0, 2))
