"""Peak times of sound (onsets) and of picture (local maxima of motion), as AV-align defines them.

Source: guyyariv/TempoTokens, av_align.py at bf0b1e3, and Yariv et al. 2023, arXiv 2309.16429, section 4.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import cv2
import librosa
import numpy as np
from numpy.typing import ArrayLike, NDArray

from avbench.errors import UserError

ONSET_RATE_HZ = 22_050
"""Rate at which onsets are found. librosa's peak picking counts in frames of 512 samples, so another rate finds others
(16 kHz doubles most of them)."""

MIN_FLOW_PX = 0.1
"""Mean flow below this, in pixels per frame, is a still scene and no peak."""

SHORTEST_SAMPLES = 2048
"""Samples at `ONSET_RATE_HZ` in one spectrum; shorter sound has no onset."""


def audio_peak_times(audio: NDArray[np.float32], sample_rate_hz: int) -> list[float]:
    """Onset times of a sound.

    Channels are averaged and the sound is resampled to 22,050 Hz, as ``librosa.load`` does by default; onsets are
    librosa's, with its defaults, on the grid of 512 samples (23.2 ms).

    Args:
        audio: float32 (C, L) in [-1, 1].
        sample_rate_hz: Its rate.

    Returns:
        Times in seconds, rising; empty for silence and for less than 0.093 s of sound.

    Raises:
        UserError: Samples are NaN or infinite.
    """
    n_bad = int((~np.isfinite(audio)).sum())
    if n_bad:
        raise UserError(f"the sound holds NaN or infinity in {n_bad} of {audio.size} samples")
    mono = librosa.to_mono(np.asarray(audio, dtype=np.float32))
    if sample_rate_hz != ONSET_RATE_HZ and mono.size:
        mono = librosa.resample(mono, orig_sr=sample_rate_hz, target_sr=ONSET_RATE_HZ)
    if mono.size < SHORTEST_SAMPLES:
        return []
    envelope = librosa.onset.onset_strength(y=mono, sr=ONSET_RATE_HZ)
    onsets = librosa.onset.onset_detect(onset_envelope=envelope, sr=ONSET_RATE_HZ)
    return [float(time_s) for time_s in librosa.frames_to_time(onsets, sr=ONSET_RATE_HZ)]


def video_peak_times(frames: Iterable[NDArray[np.uint8]], fps: float) -> list[float]:
    """Times of the peaks of motion.

    Args:
        frames: uint8 (H, W, 3) RGB each: an array (T, H, W, 3), or an iterator, of which two frames are held.
        fps: Frames per second; frame i stands at ``i / fps``.

    Returns:
        Times in seconds, rising; empty for fewer than three frames.
    """
    return local_maxima_times(motion(frames), fps)


def motion(frames: Iterable[NDArray[np.uint8]]) -> list[float]:
    """Mean optical-flow magnitude of each frame, pixels per frame.

    Farneback flow on grey frames at full size, with the parameters of the published code. Value i belongs to the step
    from frame i-1 to i; frame 0, which has no step, takes the value of frame 1.

    Args:
        frames: uint8 (H, W, 3) RGB each.

    Returns:
        One number per frame; for a single frame there is no motion and the list is empty.
    """
    grey = (np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), dtype=np.uint8) for frame in frames)
    steps = [_flow_magnitude(before, after) for before, after in pairwise(grey)]
    return steps[:1] + steps


def _flow_magnitude(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> float:
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
    return float(cv2.mean(cv2.magnitude(flow[..., 0], flow[..., 1]))[0])


def local_maxima_times(values: ArrayLike, fps: float) -> list[float]:
    """Times of strict local maxima of at least `MIN_FLOW_PX`; neither ends nor plateaus are peaks.

    Args:
        values: One number per frame.
        fps: Frames per second.
    """
    curve = np.asarray(values, dtype=np.float64)
    if curve.size < 3:
        return []
    inner = curve[1:-1]
    peak = (curve[:-2] < inner) & (inner > curve[2:]) & (inner >= MIN_FLOW_PX)
    return [int(i) / fps for i in np.flatnonzero(peak) + 1]
