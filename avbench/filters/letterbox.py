"""Drops clips whose picture fills too little of the frame (black bars)."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from avbench.filters._base import ClipFilter
from avbench.filters._signals import ClipSignals


class Filter(ClipFilter):
    """Share of the clip's frame that is black bars, as ffmpeg's cropdetect would cut them off.

    Clips are padded to the size of the recipe, and a recording may hold bars of its own. Inside the clip the two look
    alike and stand side by side or nested, so both are counted, each pixel once, against the frame of the clip. In a
    16:9 frame a 4:3 picture measures 0.25, cinema at 2.39:1 measures 0.26, 16:9 inside 4:3 bars 0.44 and an upright
    phone video 0.68. Measured on frames at most 160 pixels wide.

    Attributes:
        max_ratio: Largest share of bars kept, 0 to 1. Default 0.5: our choice; it keeps every film format and drops
            upright phone videos.
    """

    max_ratio: Annotated[float, Field(ge=0, le=1)] = 0.5

    unit: ClassVar[str] = "share of the frame"
    symbol: ClassVar[str] = "%"
    highest: ClassVar[str] = "max_ratio"

    def measure(self, clip: ClipSignals) -> float:
        """Share of the frame, 0 to 1; 1 for a clip that is black throughout."""
        rows, columns = clip.picture_box
        inside = (rows.stop - rows.start) * (columns.stop - columns.start)
        return 1 - inside / clip.luma[0].size

    def said(self, value: float) -> str:
        """See `ClipFilter.said`."""
        return f"black bars fill {value:.1%} of the frame"
