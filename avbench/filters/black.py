"""Drops clips that are black for most of their length."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from avbench.filters._base import ClipFilter
from avbench.filters._signals import ClipSignals


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

    unit: ClassVar[str] = "share of the clip"
    symbol: ClassVar[str] = "%"
    highest: ClassVar[str] = "max_ratio"

    def measure(self, clip: ClipSignals) -> float:
        """Share of the clip's frames that are black, 0 to 1."""
        dark = (clip.luma <= self.pixel_level * 255).mean(axis=(1, 2))
        return float((dark >= self.frame_ratio).mean())

    def said(self, value: float) -> str:
        """See `ClipFilter.said`."""
        return f"black for {value:.1%} of the clip"
