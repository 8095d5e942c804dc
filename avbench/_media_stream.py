"""Small pictures one after the other, however long the film (part of `avbench.media`)."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avbench._media_open import frames_from
from avbench._media_video import Painter, displayed_size


def small_pictures(path: Path, width: int) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """Every frame of a film, at most ``width`` pixels wide and of the film's own shape; one is in memory at a time.

    Args:
        path: The file.
        width: Pixels.

    Yields:
        Time in seconds from time zero of the file, and uint8 (H, W, 3) RGB.

    Raises:
        MediaError: No picture, or damaged.
    """
    painter: Painter | None = None
    for timed in frames_from(path, "video", Fraction(0)):
        if painter is None:
            shown = displayed_size(timed)
            scale = min(1.0, width / shown[0])
            size = max(2, round(shown[0] * scale)), max(2, round(shown[1] * scale))
            painter = Painter(size, "stretch", "area")
        yield float(timed.start), painter.paint(timed)
