"""Drops clips without a sound stream, or whose sound is digital silence."""

from __future__ import annotations

import numpy as np

from avbench.filters._base import ClipFilter
from avbench.filters._signals import ClipSignals
from avbench.schema import Verdict

NO_SOUND_DBFS = -120.0
"""Value recorded where there is no sound at all; the logarithm of nothing is no number."""


class Filter(ClipFilter):
    """Highest sample of the clip, dB relative to full scale.

    Attributes:
        min_peak_dbfs: Lowest peak kept, dBFS. Default -90: the last bit of 16-bit sound (one step of it is -90.3).
    """

    min_peak_dbfs: float = -90.0

    def judge(self, clip: ClipSignals) -> Verdict:
        """See `ClipFilter.judge`; the value is in dBFS, -120 where there is no sound at all."""
        if not clip.audio.size:
            return self.verdict(NO_SOUND_DBFS, f"no sound stream, so no peak over {self.min_peak_dbfs:g} dBFS")
        peak = float(np.abs(clip.audio).max())
        value = max(NO_SOUND_DBFS, 20 * float(np.log10(peak))) if peak > 0 else NO_SOUND_DBFS
        quiet = value < self.min_peak_dbfs
        reason = f"digital silence, peak {value:.1f} dBFS under {self.min_peak_dbfs:g} dBFS" if quiet else ""
        return self.verdict(value, reason)
