"""A file's own frames and samples, one after the other, time stamps unread.

Published measurements rest on what OpenCV's ``VideoCapture`` and ``ffmpeg -i clip.mp4 clip.wav`` give: frames and
samples are counted, not timed, and colours go through swscale's fast conversion, a few grey levels off the exact one.
To get a published number, take a file apart in the same way; for everything else there are `decode_video` and
`decode_audio`.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avbench._media_audio import _as_channels
from avbench._media_open import frames_from
from avbench._media_video import quarter_turns


def native_frames(path: Path) -> Iterator[NDArray[np.uint8]]:
    """Every frame in order, one at a time: uint8 (H, W, 3) RGB, upright, at its stored size, as OpenCV reads it.

    Raises:
        MediaError: No picture, or damaged.
    """
    for timed in frames_from(path, "video", Fraction(0)):
        yield np.ascontiguousarray(np.rot90(timed.frame.to_ndarray(format="rgb24"), quarter_turns(timed)))


def native_samples(path: Path) -> NDArray[np.float32]:
    """Every sample in order, gaps in the time stamps closed: float32 (C, L) at the file's rate.

    Raises:
        MediaError: No sound, or damaged.
    """
    return np.concatenate(
        [_as_channels(timed.frame, None) for timed in frames_from(path, "audio", Fraction(0))], axis=1
    )
