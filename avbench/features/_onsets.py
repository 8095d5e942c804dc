"""Onset times of a sound, as AV-align defines them: librosa's, with its defaults."""

from __future__ import annotations

import librosa
import numpy as np
from numpy.typing import NDArray

from avbench.errors import UserError

ONSET_RATE_HZ = 22_050
"""Rate at which onsets are found. librosa's peak picking counts in frames of 512 samples, so another rate finds others
(16 kHz doubles most of them)."""

SHORTEST_SAMPLES = 2048
"""Samples in one spectrum; shorter sound has no onset."""


def onset_times(audio: NDArray[np.float32], sample_rate_hz: int, at_hz: int | None = ONSET_RATE_HZ) -> list[float]:
    """Onset times of a sound.

    Channels are averaged and the sound is resampled to ``at_hz``, as ``librosa.load`` does; onsets lie on the grid of
    512 samples (23.2 ms at 22,050 Hz).

    Args:
        audio: float32 (C, L) in [-1, 1].
        sample_rate_hz: Its rate.
        at_hz: Rate at which onsets are found; None takes the sound at its own rate.

    Returns:
        Times in seconds, rising; empty for silence and for less than 2048 samples (0.093 s at 22,050 Hz).

    Raises:
        UserError: Samples are NaN or infinite.
    """
    n_bad = int((~np.isfinite(audio)).sum())
    if n_bad:
        raise UserError(f"the sound holds NaN or infinity in {n_bad} of {audio.size} samples")
    rate = at_hz or sample_rate_hz
    mono = librosa.to_mono(np.asarray(audio, dtype=np.float32))
    if sample_rate_hz != rate and mono.size:
        mono = librosa.resample(mono, orig_sr=sample_rate_hz, target_sr=rate)
    if mono.size < SHORTEST_SAMPLES:
        return []
    envelope = librosa.onset.onset_strength(y=mono, sr=rate)
    onsets = librosa.onset.onset_detect(onset_envelope=envelope, sr=rate)
    return [float(time_s) for time_s in librosa.frames_to_time(onsets, sr=rate)]
