"""How much each frame moves: mean optical flow, as AV-align defines it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice, pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

HELD_FRAMES = 16


def motion(frames: Iterable[NDArray[np.uint8]]) -> list[float]:
    """Mean optical-flow magnitude of each frame, pixels per frame.

    Value i belongs to the step from frame i-1 to i; frame 0, which has no step, takes the value of frame 1.

    Args:
        frames: uint8 (H, W, 3) RGB each: an array (T, H, W, 3), or an iterator, of which
            `HELD_FRAMES` are held in grey.

    Returns:
        One number per frame; for a single frame there is no motion and the list is empty.
    """
    steps = [_mean_length(farneback(before, after)) for before, after in pairwise(_grey(frames))]
    return steps[:1] + steps


def _grey(frames: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    """Grey frames, uint8 (H, W). They are decoded in runs: a frame decoded between two flows empties the caches."""
    grey = (np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), dtype=np.uint8) for frame in frames)
    while run := list(islice(grey, HELD_FRAMES)):
        yield from run


def farneback(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Farneback's optical flow at full size, with the parameters AV-align was published with.

    Args:
        before: uint8 (H, W), grey.
        after: uint8 (H, W), grey.

    Returns:
        float32 (H, W, 2): displacement of each pixel, x right and y down, in pixels.
    """
    flow = cv2.calcOpticalFlowFarneback(
        before,
        after,
        None,  # type: ignore[call-overload]
        pyr_scale=0.5,
        levels=3,
        winsize=15,
        iterations=3,
        poly_n=5,
        poly_sigma=1.2,
        flags=0,
    )
    return np.asarray(flow, dtype=np.float32)


def _mean_length(flow: NDArray[np.float32]) -> float:
    # not cv2.magnitude: its last bit depends on where the array happens to lie in memory, so that two equal steps could
    # differ, and a still stretch could have a peak in one run and none in the next
    squares = np.square(flow[..., 0])
    squares += np.square(flow[..., 1])
    return float(np.sqrt(squares, out=squares).mean(dtype=np.float64))
