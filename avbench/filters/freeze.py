"""Drops clips whose picture stands still for most of their length (slides, a cover image, a stalled stream)."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field, PositiveFloat

from avbench.filters._base import ClipFilter
from avbench.filters._signals import ClipSignals


class Filter(ClipFilter):
    """Share of the clip in stretches of ``min_still_s`` or more without a change, as ffmpeg's freezedetect finds them.

    Attributes:
        noise: Mean difference of a frame from the first of its stretch that still counts as none, share of the full
            range. Default 0.001: freezedetect's -60 dB.
        min_still_s: Shorter stretches do not count, seconds. Default 2: freezedetect.
        max_ratio: Largest still share kept, 0 to 1. Default 0.5: our choice; real films and games measured up to
            0.2, slides and a static test card above 0.9.
    """

    noise: Annotated[float, Field(ge=0, le=1)] = 0.001
    min_still_s: PositiveFloat = 2.0
    max_ratio: Annotated[float, Field(ge=0, le=1)] = 0.5

    unit: ClassVar[str] = "share of the clip"
    symbol: ClassVar[str] = "%"
    highest: ClassVar[str] = "max_ratio"

    def measure(self, clip: ClipSignals) -> float:
        """Share of the clip's frames, 0 to 1."""
        lengths = np.array(self._stretches(clip.luma))
        return float(lengths[lengths >= self.min_still_s * clip.fps - 1e-6].sum() / lengths.sum())

    def said(self, value: float) -> str:
        """See `ClipFilter.said`."""
        return f"picture stands still for {value:.1%} of the clip"

    def _stretches(self, luma: np.ndarray) -> list[int]:
        """Lengths, in frames, of the stretches that stay within ``noise`` of their first frame; they fill the clip."""
        lengths, first = [0], luma[0].astype(np.int16)
        for frame in luma:
            if np.abs(frame - first).mean() > self.noise * 255:
                lengths.append(0)
                first = frame.astype(np.int16)
            lengths[-1] += 1
        return lengths
