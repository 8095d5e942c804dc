"""Drops clips without a sound stream, or whose sound is digital silence."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from avbench.filters._base import ClipFilter
from avbench.filters._signals import ClipSignals

NO_SOUND_DBFS = -120.0
"""Value recorded where there is no sound at all; the logarithm of nothing is no number."""


class Filter(ClipFilter):
    """Highest sample of the clip, dB relative to full scale.

    Attributes:
        min_peak_dbfs: Lowest peak kept, dBFS. Default -90: the last bit of 16-bit sound (one step of it is -90.3).
    """

    min_peak_dbfs: Annotated[float, Field(gt=NO_SOUND_DBFS)] = -90.0

    unit: ClassVar[str] = "dBFS"
    symbol: ClassVar[str] = "dBFS"
    lowest: ClassVar[str] = "min_peak_dbfs"

    def measure(self, clip: ClipSignals) -> float:
        """Peak in dBFS, -120 where there is no sound at all."""
        peak = float(np.abs(clip.audio).max()) if clip.audio.size else 0.0
        return max(NO_SOUND_DBFS, 20 * float(np.log10(peak))) if peak > 0 else NO_SOUND_DBFS

    def said(self, value: float) -> str:
        """See `ClipFilter.said`."""
        return f"digital silence, peak {value:.1f} dBFS"
