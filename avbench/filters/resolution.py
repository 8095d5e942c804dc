"""Drops clips whose picture, black bars taken off, is too small."""

from __future__ import annotations

import numpy as np
from pydantic import PositiveFloat

from avbench.filters._base import ClipFilter
from avbench.filters._signals import ClipSignals
from avbench.schema import Verdict

BAR_LUMA = 24
"""A row or column that never gets brighter than this is a bar (ffmpeg's cropdetect uses 24 of 255)."""


class Filter(ClipFilter):
    """Shorter side of the picture inside its black bars, pixels of the clip.

    Clips are padded to the size of the recipe, so the size of the file says nothing: a phone video keeps a third of
    its width. Measured on frames at most 160 pixels wide, so to within ``width / 160`` pixels.

    Attributes:
        min_px: Smallest shorter side kept, pixels. Default 128: twice the 64-pixel view that MM-Diffusion trains on.
    """

    min_px: PositiveFloat = 128.0

    def judge(self, clip: ClipSignals) -> Verdict:
        """See `ClipFilter.judge`; the value is in pixels, 0 for a clip that is black throughout."""
        brightest = clip.luma.max(axis=0) > BAR_LUMA
        rows, columns = np.flatnonzero(brightest.any(axis=1)), np.flatnonzero(brightest.any(axis=0))
        value = 0.0
        if rows.size:
            high = (rows[-1] - rows[0] + 1) * clip.height / brightest.shape[0]
            wide = (columns[-1] - columns[0] + 1) * clip.width / brightest.shape[1]
            value = min(high, wide)
        reason = (
            f"picture is {value:.0f} px on its shorter side, under {self.min_px:g} px" if value < self.min_px else ""
        )
        return self.verdict(value, reason)
