"""Drops clips that are silent for most of their length."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field, PositiveFloat

from avbench.filters._base import ClipFilter
from avbench.filters._signals import ClipSignals
from avbench.schema import Verdict


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

    def judge(self, clip: ClipSignals) -> Verdict:
        """See `ClipFilter.judge`; the value is a share, 1 where there is no sound at all."""
        value = float((self._power(clip) < 10 ** (self.level_dbfs / 10)).mean())
        limit = f"over {self.max_ratio:.0%}"
        reason = f"silent for {value:.1%} of the clip, {limit}" if value > self.max_ratio else ""
        return self.verdict(value, reason)

    def _power(self, clip: ClipSignals) -> np.ndarray:
        """Mean square of each stretch; the rest that fills no stretch is left out."""
        length = max(1, round(self.frame_s * clip.sample_rate_hz))
        count = clip.audio.shape[1] // length if clip.audio.size else 0
        if not count:
            return np.zeros(1)
        parts = clip.audio[:, : count * length].reshape(-1, count, length)
        return np.square(parts, dtype=np.float64).mean(axis=(0, 2))
