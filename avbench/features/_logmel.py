"""The log-mel front end of VGGish, shared by the features vggish and mel.

Constants as in tensorflow/models ``research/audioset/vggish/vggish_params.py``. Computed in float64.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SAMPLE_RATE_HZ = 16_000
FRAME = 400
"""Samples of one spectrum: 25 ms."""
HOP = 160
"""Samples from one spectrum to the next: 10 ms."""
FFT = 512
BANDS = 64
LOWEST_HZ, HIGHEST_HZ = 125.0, 7500.0
LOG_OFFSET = 0.01


def log_mel(sound: NDArray[np.floating]) -> Array:
    """Log-mel spectrogram: (..., samples) in [-1, 1] at 16 kHz -> (..., frames, 64).

    Magnitude spectra (not power) of periodic Hann windows, without padding: ``1 + (samples - 400) // 160`` frames, and
    samples that fill no frame are left out. Then ``log(mel + 0.01)``.
    """
    frames = np.lib.stride_tricks.sliding_window_view(np.asarray(sound, dtype=np.float64), FRAME, axis=-1)
    spectra = np.abs(np.fft.rfft(frames[..., ::HOP, :] * _window(), FFT))
    return np.log(spectra @ mel_matrix() + LOG_OFFSET)


@functools.cache
def _window() -> Array:
    """Periodic Hann window."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / FRAME)


@functools.cache
def mel_matrix() -> Array:
    """(257, 64): triangles that are linear in mel, peak 1, without area normalisation; the DC bin has no weight."""
    bins = hertz_to_mel(np.arange(FFT // 2 + 1) * SAMPLE_RATE_HZ / FFT)[:, None]
    edges = np.linspace(hertz_to_mel(LOWEST_HZ), hertz_to_mel(HIGHEST_HZ), BANDS + 2)
    low, peak, high = edges[:-2], edges[1:-1], edges[2:]
    return np.maximum(0.0, np.minimum((bins - low) / (peak - low), (high - bins) / (high - peak)))


def hertz_to_mel(hertz: Array | float) -> Array:
    """HTK mel scale: 1127 ln(1 + f / 700)."""
    return 1127.0 * np.log1p(np.asarray(hertz) / 700.0)
