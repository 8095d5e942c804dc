"""Drops clips that are shorter or longer than wanted (picture and sound both counted)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import PositiveFloat

from avbench.filters._base import ClipFilter
from avbench.filters._signals import ClipSignals


class Filter(ClipFilter):
    """Length of the clip that both picture and sound cover, seconds.

    Attributes:
        min_s: Shortest clip kept, seconds. Default 2: the shortest clip of NeMo Curator and Open-Sora.
        max_s: Longest clip kept, seconds. Default 1200: the longest clip of Panda-70M.
    """

    min_s: PositiveFloat = 2.0
    max_s: PositiveFloat = 1200.0

    unit: ClassVar[str] = "seconds"
    symbol: ClassVar[str] = "s"
    lowest: ClassVar[str] = "min_s"
    highest: ClassVar[str] = "max_s"

    def measure(self, clip: ClipSignals) -> float:
        """Seconds that both picture and sound cover."""
        return clip.duration_s

    def said(self, value: float) -> str:
        """See `ClipFilter.said`."""
        return f"{value:.3f} s long"
