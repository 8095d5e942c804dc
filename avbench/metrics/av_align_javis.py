"""AV-align as JavisBench computes it: many-to-one, no floor under motion, sound at its own rate; can exceed 1.

For comparing with numbers published under that benchmark, nothing else: an onset within a frame of any peak of motion
counts, so one peak serves any number of onsets; the tiniest flicker of a still picture is a peak; and onsets are found
at the sound's own rate, which doubles many of them at 16 kHz. A clip with neither onset nor peak scores 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from avbench.metrics._peaks import Matches, Peaks, evidence, evidence_of_file, local_maxima_times

if TYPE_CHECKING:
    from avbench.metrics._base import ClipSignals

KIND = "per_clip"
FEATURE = None
ESTIMATOR = "mean over clips of many-to-one matches over union"
HIGHER_IS_BETTER = True
UNIT = "matches over union"
RANGE = (0.0, math.inf)
SOURCE = "JavisVerse/JavisDiT:eval/javisbench/src/av_align.py at b505b37"

_EPSILON = 1e-6


def av_align_javis_score(audio_times_s: Sequence[float], video_times_s: Sequence[float], fps: float) -> float:
    """Onsets within one frame of a motion peak, over what is left of both sets when each such onset is counted once.

    Args:
        audio_times_s: Onset times, seconds.
        video_times_s: Motion peak times, seconds.
        fps: Frame rate of the picture.

    Returns:
        At least 0; above 1 where several onsets share a peak; 0 when either side or both are empty.
    """
    matched = len(_first_in_reach(audio_times_s, video_times_s, fps))
    return matched / (len(audio_times_s) + len(video_times_s) - matched + _EPSILON)


def _first_in_reach(
    audio_times_s: Sequence[float], video_times_s: Sequence[float], fps: float
) -> list[tuple[float, float]]:
    """Each onset that has a motion peak within one frame, with the first such peak."""
    found = ((a, next((v for v in video_times_s if v - 1 / fps < a < v + 1 / fps), None)) for a in audio_times_s)
    return [(a, v) for a, v in found if v is not None]


def per_clip(clip: ClipSignals) -> float:
    """JavisBench's AV-align of one clip given as arrays.

    Args:
        clip: Picture and sound, both beginning at time 0; onsets are found at the rate of its sound.

    Raises:
        UserError: The sound holds NaN or infinity.
    """
    peaks = evidence(clip)
    return pair(peaks, peaks)


def pair(sound_of: Peaks, picture_of: Peaks) -> float:
    """The score of the sound of one clip with the picture of another; chance level, where the two differ."""
    video_times_s = local_maxima_times(picture_of.motion_px, picture_of.fps)
    return av_align_javis_score(sound_of.audio_native_times_s, video_times_s, picture_of.fps)


def matches(peaks: Peaks) -> Matches:
    """The onsets, peaks and pairs that the score of a clip counts."""
    video_times_s = local_maxima_times(peaks.motion_px, peaks.fps)
    pairs = _first_in_reach(peaks.audio_native_times_s, video_times_s, peaks.fps)
    return Matches(peaks.audio_native_times_s, video_times_s, pairs, floor_px=0.0)


def av_align_javis(clip_path: Path) -> float:
    """JavisBench's AV-align of one clip file, equal to what its code gives for the file and its extracted wav.

    Args:
        clip_path: A file with picture and sound, taken apart as `avbench.metrics.av_align` does.

    Raises:
        MediaError: Unreadable, without picture or without sound.
    """
    peaks = evidence_of_file(clip_path)
    return pair(peaks, peaks)
