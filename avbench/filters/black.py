"""Drops clips that are black for most of their length."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from avbench.filters._base import ClipFilter
from avbench.filters._signals import ClipSignals
from avbench.schema import Verdict


class Filter(ClipFilter):
    """Share of black frames, a black frame being what ffmpeg's blackdetect calls one.

    Attributes:
        pixel_level: A pixel this dark is black, share of the full range. Default 0.10: blackdetect's pix_th.
        frame_ratio: A frame is black when this share of its pixels is. Default 0.98: blackdetect's pic_th.
        max_ratio: Largest share of black frames kept, 0 to 1. Default 0.5: our choice; concerts go dark between songs.
    """

    pixel_level: Annotated[float, Field(ge=0, le=1)] = 0.10
    frame_ratio: Annotated[float, Field(gt=0, le=1)] = 0.98
    max_ratio: Annotated[float, Field(ge=0, le=1)] = 0.5

    def judge(self, clip: ClipSignals) -> Verdict:
        """See `ClipFilter.judge`; the value is a share of the clip's frames."""
        dark = (clip.luma <= self.pixel_level * 255).mean(axis=(1, 2))
        value = float((dark >= self.frame_ratio).mean())
        reason = f"black for {value:.1%} of the clip, over {self.max_ratio:.0%}" if value > self.max_ratio else ""
        return self.verdict(value, reason)
