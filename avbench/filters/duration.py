"""Drops clips that are shorter or longer than wanted (picture and sound both counted)."""

from __future__ import annotations

from pydantic import PositiveFloat

from avbench.filters._base import ClipFilter
from avbench.filters._signals import ClipSignals
from avbench.schema import Verdict


class Filter(ClipFilter):
    """Length of the clip that both picture and sound cover, seconds.

    Attributes:
        min_s: Shortest clip kept, seconds. Default 2: the shortest clip of NeMo Curator and Open-Sora.
        max_s: Longest clip kept, seconds. Default 1200: the longest clip of Panda-70M.
    """

    min_s: PositiveFloat = 2.0
    max_s: PositiveFloat = 1200.0

    def judge(self, clip: ClipSignals) -> Verdict:
        """See `ClipFilter.judge`; the value is in seconds."""
        value, reason = clip.duration_s, ""
        if value < self.min_s:
            reason = f"{value:.3f} s long, under {self.min_s:g} s"
        elif value > self.max_s:
            reason = f"{value:.3f} s long, over {self.max_s:g} s"
        return self.verdict(value, reason)
