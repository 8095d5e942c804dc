"""AV-align: how many peaks of sound and of motion fall together, as TempoTokens published it.

Onsets of the sound and local maxima of optical flow are matched one to one; the score of a clip is intersection over
union of the two sets, and the score of a set is the mean over its clips. A clip with neither onset nor motion peak has
no score (NaN). The window is one frame to each side, so the chance level falls as the frame rate rises: scores compare
only at equal frame rate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from avbench.metrics._peaks import Matches, Peaks, events_of_file, evidence

if TYPE_CHECKING:
    from avbench.metrics._base import ClipSignals

KIND = "per_clip"
FEATURE = None
ESTIMATOR = "mean over clips of greedy one-to-one intersection over union"
HIGHER_IS_BETTER = True
UNIT = "intersection over union"
RANGE = (0.0, 1.0)
SOURCE = "Yariv et al. 2023, arXiv 2309.16429; guyyariv/TempoTokens:av_align.py at bf0b1e3"


def greedy_pairs(
    audio_times_s: Sequence[float], video_times_s: Sequence[float], fps: float
) -> list[tuple[float, float]]:
    """The published matching, pair by pair.

    Each audio peak, in order, takes the first video peak v that is still free and has
    ``v - 1/fps < audio peak < v + 1/fps``.

    Args:
        audio_times_s: Onset times, seconds, rising.
        video_times_s: Motion peak times, seconds, rising.
        fps: Frame rate of the picture.

    Returns:
        Pairs (audio, video), seconds, rising in audio.
    """
    free, pairs = list(video_times_s), []
    for audio_s in audio_times_s:
        match = next((i for i, video_s in enumerate(free) if video_s - 1 / fps < audio_s < video_s + 1 / fps), None)
        if match is not None:
            pairs.append((audio_s, free.pop(match)))
    return pairs


def av_align_score(audio_times_s: Sequence[float], video_times_s: Sequence[float], fps: float) -> float:
    """Intersection over union of two sets of peak times, matched as in `greedy_pairs`.

    Args:
        audio_times_s: Onset times, seconds, rising.
        video_times_s: Motion peak times, seconds, rising.
        fps: Frame rate of the picture.

    Returns:
        A number in [0, 1]; 0 when one side is empty; NaN when both are.
    """
    if not len(audio_times_s) and not len(video_times_s):
        return math.nan
    matched = len(greedy_pairs(audio_times_s, video_times_s, fps))
    return matched / (len(audio_times_s) + len(video_times_s) - matched)


def per_clip(clip: ClipSignals) -> float:
    """AV-align of one clip given as arrays.

    Args:
        clip: Picture and sound, both beginning at time 0.

    Returns:
        A number in [0, 1], or NaN when the clip has no peak in either stream.

    Raises:
        UserError: The sound holds NaN or infinity.
    """
    peaks = evidence(clip)
    return pair(peaks, peaks)


def pair(sound_of: Peaks, picture_of: Peaks) -> float:
    """AV-align of the sound of one clip with the picture of another; chance level, where the two differ."""
    return av_align_score(sound_of.audio_times_s, picture_of.video_times_s, picture_of.fps)


def matches(peaks: Peaks) -> Matches:
    """The onsets, peaks and pairs that the score of a clip counts."""
    pairs = greedy_pairs(peaks.audio_times_s, peaks.video_times_s, peaks.fps)
    return Matches(peaks.audio_times_s, peaks.video_times_s, pairs)


def av_align(clip_path: Path) -> float:
    """AV-align of one clip file, equal to what the published code gives for the file and its extracted wav.

    Like that code it takes every frame at its stored size and counts frames and samples from the first of each stream;
    time stamps are not read. Where a file's streams begin apart or have gaps, prefer `per_clip` on arrays in sync.

    Args:
        clip_path: A file with picture and sound; a few of its frames are held at a time.

    Returns:
        A number in [0, 1], or NaN when the clip has no peak in either stream.

    Raises:
        MediaError: Unreadable, without picture or without sound.
    """
    return av_align_score(*events_of_file(clip_path))
