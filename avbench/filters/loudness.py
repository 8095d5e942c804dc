"""Drops clips that are too quiet to hear, by integrated loudness (EBU R128)."""

from __future__ import annotations

from avbench.features._lufs import integrated_lufs
from avbench.filters._base import ClipFilter
from avbench.filters._signals import ClipSignals
from avbench.schema import Verdict


class Filter(ClipFilter):
    """Integrated loudness of the clip, LUFS.

    Attributes:
        min_lufs: Quietest clip kept, LUFS. Default -50: quiet but real game sound measured -37, broadcast is -23.
    """

    min_lufs: float = -50.0

    def judge(self, clip: ClipSignals) -> Verdict:
        """See `ClipFilter.judge`; the value is in LUFS, -70 where nothing is above the absolute gate."""
        value = integrated_lufs(clip.audio, clip.sample_rate_hz)
        reason = f"loudness {value:.1f} LUFS, under {self.min_lufs:g} LUFS" if value < self.min_lufs else ""
        return self.verdict(value, reason)
