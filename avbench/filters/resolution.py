"""Drops clips whose picture, black bars taken off, is too small."""

from __future__ import annotations

from typing import ClassVar

from pydantic import PositiveFloat

from avbench.filters._base import ClipFilter
from avbench.filters._signals import ClipSignals


class Filter(ClipFilter):
    """Shorter side of the picture inside its black bars, pixels of the clip.

    Clips are padded to the size of the recipe, so the size of the file says nothing: a phone video keeps a third of
    its width. Measured on frames at most 160 pixels wide, so to within ``width / 160`` pixels.

    Attributes:
        min_px: Smallest shorter side kept, pixels. Default 128: twice the 64-pixel view that MM-Diffusion trains on.
    """

    min_px: PositiveFloat = 128.0

    unit: ClassVar[str] = "pixels on the shorter side"
    symbol: ClassVar[str] = "px"
    lowest: ClassVar[str] = "min_px"

    def measure(self, clip: ClipSignals) -> float:
        """Pixels of the clip, 0 for a clip that is black throughout."""
        rows, columns = clip.picture_box
        high = (rows.stop - rows.start) * clip.height / clip.luma.shape[1]
        wide = (columns.stop - columns.start) * clip.width / clip.luma.shape[2]
        return min(high, wide)

    def said(self, value: float) -> str:
        """See `ClipFilter.said`."""
        return f"picture is {value:.0f} px on its shorter side"
