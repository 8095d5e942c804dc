"""Drops clips in which next to nothing moves."""

from __future__ import annotations

from typing import ClassVar

import cv2
import numpy as np
from pydantic import NonNegativeFloat, PositiveFloat

from avbench.filters._base import ClipFilter
from avbench.filters._signals import ClipSignals

GRID = (64, 36)
"""Width and height the picture is averaged down to: noise of the codec cancels, motion of a hand stays."""


class Filter(ClipFilter):
    """Mean change of brightness between pictures a fifth of a second apart, grey levels of 0 to 255.

    The picture inside its black bars is averaged down to 64 x 36 first, so neither bars nor size count. Unlike
    `freeze`, which finds stretches without any change, this finds clips that hardly change all the way through.

    Attributes:
        step_s: Time between the pictures compared, seconds. Default 0.2: our choice; 5 pictures per second.
        min_levels: Smallest change kept, grey levels. Default 0.1: our choice; a piano filmed from a fixed place
            measured 1.5, a talk with slides 0.2, a still card with a running clock 0.05.
    """

    step_s: PositiveFloat = 0.2
    min_levels: NonNegativeFloat = 0.1

    unit: ClassVar[str] = "grey levels per step"
    symbol: ClassVar[str] = "grey levels"
    lowest: ClassVar[str] = "min_levels"

    def measure(self, clip: ClipSignals) -> float:
        """Grey levels, 0 for a clip of one picture or a black one."""
        step = max(1, round(self.step_s * clip.fps))
        rows, columns = clip.picture_box
        pictures = [np.ascontiguousarray(picture[rows, columns]) for picture in clip.luma[::step]]
        if len(pictures) < 2 or not pictures[0].size:
            return 0.0
        small = np.stack([cv2.resize(picture, GRID, interpolation=cv2.INTER_AREA) for picture in pictures])
        return float(np.abs(np.diff(small.astype(np.int16), axis=0)).mean())

    def said(self, value: float) -> str:
        """See `ClipFilter.said`."""
        return f"picture changes by {value:.3f} grey levels"
