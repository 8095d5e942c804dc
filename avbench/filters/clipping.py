"""Drops clips whose sound is cut off at full scale (overdriven recordings)."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from avbench.filters._base import ClipFilter
from avbench.filters._signals import ClipSignals


class Filter(ClipFilter):
    """Share of samples at or beyond ``level``, over all channels.

    A limiter lets single samples touch full scale, which is no fault; an overdriven recording stays there.

    Attributes:
        level: A sample of this size is at full scale, share of it. Default 0.999: our choice; lossy codecs and
            resampling move a clipped sample by about that much.
        max_ratio: Largest share kept, 0 to 1. Default 0.01: our choice; one sample in a hundred is heard as crackle,
            and loud but undamaged clips measured up to 0.00005.
    """

    level: Annotated[float, Field(gt=0, le=1)] = 0.999
    max_ratio: Annotated[float, Field(ge=0, le=1)] = 0.01

    unit: ClassVar[str] = "share of the samples"
    symbol: ClassVar[str] = "%"
    highest: ClassVar[str] = "max_ratio"

    def measure(self, clip: ClipSignals) -> float:
        """Share of the samples, 0 to 1; 0 without sound."""
        return float((np.abs(clip.audio) >= self.level).mean()) if clip.audio.size else 0.0

    def said(self, value: float) -> str:
        """See `ClipFilter.said`."""
        return f"{value:.2%} of the samples are at full scale"
