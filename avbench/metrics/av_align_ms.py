"""Alignment with a tolerance in milliseconds: onsets and motion peaks matched one to one, as many as can be.

AV-align asks for a match within one frame, so the same clip scores lower at a higher frame rate, and it matches
greedily, so the order of the peaks counts. Here the tolerance is a time, 100 ms unless the protocol says otherwise, and
the matching is a largest one: the score is symmetric in sound and picture, never falls when the tolerance grows, and
clips of different frame rates compare. Two limits remain: a frame step longer than the tolerance cannot place a peak
that well (use 10 fps or more for 100 ms), and peaks everywhere match by chance (read it beside its chance level).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from avbench.errors import UserError
from avbench.metrics._peaks import Matches, Peaks, events_of_file, evidence

if TYPE_CHECKING:
    from avbench.metrics._base import ClipSignals

KIND = "per_clip"
FEATURE = None
ESTIMATOR = "mean over clips of largest one-to-one intersection over union, 100 ms"
HIGHER_IS_BETTER = True
UNIT = "intersection over union"
RANGE = (0.0, 1.0)
SOURCE = "avbench; peaks as in Yariv et al. 2023, arXiv 2309.16429"

TOLERANCE_MS = 100.0
_ROUNDING_S = 1e-9


def matched_pairs(
    audio_times_s: Sequence[float], video_times_s: Sequence[float], tolerance_ms: float = TOLERANCE_MS
) -> list[tuple[float, float]]:
    """A largest one-to-one matching of two sets of times.

    Both lists are walked together: whichever event comes first and has no partner in reach never finds one, because all
    that follows lies further off; two in reach of each other can be paired at no loss.

    Args:
        audio_times_s: Onset times, seconds, rising.
        video_times_s: Motion peak times, seconds, rising.
        tolerance_ms: Largest distance of a pair, milliseconds, itself allowed.

    Returns:
        Pairs (audio, video), seconds, rising in both.

    Raises:
        UserError: The tolerance is negative or not finite.
    """
    if not (math.isfinite(tolerance_ms) and tolerance_ms >= 0):
        raise UserError(f"av_align_ms takes a tolerance of 0 ms or more, not {tolerance_ms:g}")
    reach_s = tolerance_ms / 1000 + _ROUNDING_S
    pairs, a, v = [], 0, 0
    while a < len(audio_times_s) and v < len(video_times_s):
        lag_s = audio_times_s[a] - video_times_s[v]
        if abs(lag_s) <= reach_s:
            pairs.append((audio_times_s[a], video_times_s[v]))
        a += lag_s <= reach_s
        v += lag_s >= -reach_s
    return pairs


def av_align_ms_score(
    audio_times_s: Sequence[float], video_times_s: Sequence[float], tolerance_ms: float = TOLERANCE_MS
) -> float:
    """Intersection over union of two sets of peak times under a largest matching.

    Args:
        audio_times_s: Onset times, seconds, rising.
        video_times_s: Motion peak times, seconds, rising.
        tolerance_ms: Largest distance of a pair, milliseconds.

    Returns:
        A number in [0, 1]; 0 when one side is empty; NaN when both are.

    Raises:
        UserError: The tolerance is negative or not finite.
    """
    matched = len(matched_pairs(audio_times_s, video_times_s, tolerance_ms))
    union = len(audio_times_s) + len(video_times_s) - matched
    return matched / union if union else math.nan


def per_clip(clip: ClipSignals, tolerance_ms: float = TOLERANCE_MS) -> float:
    """Alignment of one clip given as arrays.

    Args:
        clip: Picture and sound, both beginning at time 0.
        tolerance_ms: Largest distance of a pair, milliseconds.

    Returns:
        A number in [0, 1], or NaN when the clip has no peak in either stream.

    Raises:
        UserError: The sound holds NaN or infinity, or the tolerance is no length of time.
    """
    peaks = evidence(clip)
    return pair(peaks, peaks, tolerance_ms)


def pair(sound_of: Peaks, picture_of: Peaks, tolerance_ms: float = TOLERANCE_MS) -> float:
    """The score of the sound of one clip with the picture of another; chance level, where the two differ."""
    return av_align_ms_score(sound_of.audio_times_s, picture_of.video_times_s, tolerance_ms)


def matches(peaks: Peaks, tolerance_ms: float = TOLERANCE_MS) -> Matches:
    """The onsets, peaks and pairs that the score of a clip counts."""
    pairs = matched_pairs(peaks.audio_times_s, peaks.video_times_s, tolerance_ms)
    return Matches(peaks.audio_times_s, peaks.video_times_s, pairs)


def av_align_ms(clip_path: Path, tolerance_ms: float = TOLERANCE_MS) -> float:
    """Alignment of one clip file.

    Args:
        clip_path: A file with picture and sound, taken apart as `avbench.metrics.av_align` does.
        tolerance_ms: Largest distance of a pair, milliseconds.

    Raises:
        MediaError: Unreadable, without picture or without sound.
        UserError: The tolerance is no length of time.
    """
    audio_times_s, video_times_s, _ = events_of_file(clip_path)
    return av_align_ms_score(audio_times_s, video_times_s, tolerance_ms)
