"""What the alignment metrics rest on, found once per clip: onsets of the sound, motion of the picture and its peaks.

Source: guyyariv/TempoTokens, av_align.py at bf0b1e3, and Yariv et al. 2023, arXiv 2309.16429, section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from avbench.metrics._base import ClipSignals

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# The package imports the metrics that import this module, and listing metrics stays light: OpenCV, librosa and PyAV are
# imported where they are used.

MIN_FLOW_PX = 0.1
"""Mean flow below this, in pixels per frame, is a still scene and no peak."""


class Peaks(NamedTuple):
    """Sound and picture of a clip as times of events.

    Attributes:
        audio_times_s: Onsets of the sound at 22,050 Hz, seconds, rising.
        video_times_s: Peaks of motion of at least `MIN_FLOW_PX`, seconds, rising.
        fps: Frame rate of the picture.
        audio_native_times_s: Onsets of the sound at its own rate, seconds, rising.
        motion_px: Mean flow of each frame, pixels per frame.
    """

    audio_times_s: list[float]
    video_times_s: list[float]
    fps: float
    audio_native_times_s: list[float]
    motion_px: list[float]


class Matches(NamedTuple):
    """What a metric makes of the events of a clip, for a drawing.

    Attributes:
        onsets_s: Onsets it counts, seconds.
        motion_peaks_s: Peaks of motion it counts, seconds.
        pairs: Those that belong together: (onset, peak), seconds.
        floor_px: Least motion of a peak, pixels per frame; 0 where any counts.
    """

    onsets_s: list[float]
    motion_peaks_s: list[float]
    pairs: list[tuple[float, float]]
    floor_px: float = MIN_FLOW_PX


def evidence(clip: ClipSignals) -> Peaks:
    """What the alignment metrics take of a clip given as arrays.

    Args:
        clip: Picture and sound, both beginning at time 0.

    Raises:
        UserError: The sound holds NaN or infinity.
    """
    from avbench.features._flow_motion import motion

    return _peaks(clip.audio, clip.sample_rate_hz, motion(clip.video), clip.fps)


def evidence_of_file(clip_path: Path) -> Peaks:
    """The same of a clip file, taken apart as the published code does.

    Every frame is taken at its stored size, and frames and samples are counted from the first of each stream; time
    stamps are not read. A few frames are held at a time.

    Raises:
        MediaError: Unreadable, without picture or without sound.
    """
    return _peaks(*_signals_of_file(clip_path))


def events_of_file(clip_path: Path) -> tuple[list[float], list[float], float]:
    """Of that only ``audio_times_s``, ``video_times_s`` and ``fps``.

    Raises:
        MediaError: Unreadable, without picture or without sound.
    """
    from avbench.features._onsets import onset_times

    audio, sample_rate_hz, motion_px, fps = _signals_of_file(clip_path)
    return onset_times(audio, sample_rate_hz), local_maxima_times(motion_px, fps, MIN_FLOW_PX), fps


def _signals_of_file(clip_path: Path) -> tuple[NDArray[np.float32], int, list[float], float]:
    from avbench import media_native
    from avbench.features._flow_motion import motion

    audio, sample_rate_hz = media_native.native_samples(clip_path)
    with media_native.native_picture(clip_path) as (frames, fps):
        return audio, sample_rate_hz, motion(frames), fps


def _peaks(audio: NDArray[np.float32], sample_rate_hz: int, motion_px: list[float], fps: float) -> Peaks:
    from avbench.features._onsets import ONSET_RATE_HZ, onset_times

    audio_times_s = onset_times(audio, sample_rate_hz)
    own = audio_times_s if sample_rate_hz == ONSET_RATE_HZ else onset_times(audio, sample_rate_hz, None)
    return Peaks(audio_times_s, local_maxima_times(motion_px, fps, MIN_FLOW_PX), fps, own, motion_px)


def local_maxima_times(values: Sequence[float], fps: float, floor: float = -float("inf")) -> list[float]:
    """Times of strict local maxima; neither ends nor plateaus are peaks.

    Args:
        values: One number per frame; frame i stands at ``i / fps``.
        fps: Frames per second.
        floor: Maxima below it are none.

    Returns:
        Times in seconds, rising; empty for fewer than three frames.
    """
    inner = range(1, len(values) - 1)
    return [i / fps for i in inner if values[i - 1] < values[i] > values[i + 1] and values[i] >= floor]
