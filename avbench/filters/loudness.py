"""Drops clips that are too quiet to hear, by integrated loudness (EBU R128)."""

from __future__ import annotations

from typing import ClassVar

from avbench.features._lufs import integrated_lufs
from avbench.filters._base import ClipFilter
from avbench.filters._signals import ClipSignals


class Filter(ClipFilter):
    """Integrated loudness of the clip, LUFS.

    Attributes:
        min_lufs: Quietest clip kept, LUFS. Default -50: quiet but real game sound measured -37, broadcast is -23.
    """

    min_lufs: float = -50.0

    unit: ClassVar[str] = "LUFS"
    symbol: ClassVar[str] = "LUFS"
    lowest: ClassVar[str] = "min_lufs"

    def measure(self, clip: ClipSignals) -> float:
        """Integrated loudness in LUFS, -70 where nothing is above the absolute gate."""
        return integrated_lufs(clip.audio, clip.sample_rate_hz)

    def said(self, value: float) -> str:
        """See `ClipFilter.said`."""
        return f"loudness {value:.1f} LUFS"
