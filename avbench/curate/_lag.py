"""How much later the sound of a clip comes than the same sound in its source, finer than one sample.

Cross-correlation in the frequency domain, block by block: two seconds of the clip against three of the source, which
allows half a second either way without wrapping round, normalised by the energy of what it is laid against, so that a
louder sound nearby does not win over the true one. Blocks last a whole number of seconds, so that both sides have
the same frequencies whatever their sample rates, and nothing has to be resampled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

SEARCH_S = 0.5
"""Lags up to this are seen, either way."""

_BLOCK_S = 2
_WINDOW_S = 3
_GRID_HZ = 48_000
_LOWEST_HZ = 40
_HIGHEST_SHARE = 0.45
"""Of the lower sample rate: beyond it resampling filters differ."""

_SILENT_RMS = 10 ** (-70 / 20)
_SOUNDING_RMS = 10 ** (-60 / 20)
_DOUBT = 0.002
"""A second peak that comes as near to the first leaves open which lag is true (a steady tone, a loop)."""

_NEAR_S = 0.001
_SMOOTH_BINS = 151
_WHITENED_RANGE = 1e-4


@dataclass(frozen=True)
class Lag:
    """What the comparison of two sounds found.

    Attributes:
        lag_s: By how much the clip's sound is late, seconds; None where it cannot be told.
        match: Normalised correlation of the two at their best, at most 1; 0 where one of them is silent.
        clip_rms: Loudest block of the clip, between 40 Hz and the highest frequency both have.
        source_rms: The same of the source, at the same place.
    """

    lag_s: float | None
    match: float
    clip_rms: float
    source_rms: float

    @property
    def silent(self) -> bool:
        """Neither side has sound."""
        return max(self.clip_rms, self.source_rms) < _SOUNDING_RMS and min(self.clip_rms, self.source_rms) < _SILENT_RMS

    @property
    def one_sided(self) -> bool:
        """One side has sound and the other has none."""
        return not self.silent and min(self.clip_rms, self.source_rms) < _SILENT_RMS


def measure(
    clip: NDArray[np.float32],
    clip_rate_hz: int,
    source: NDArray[np.float32],
    source_rate_hz: int,
    source_start_s: float,
) -> Lag:
    """Compare one channel of a clip with the source.

    Args:
        clip: (L,), beginning at time 0.
        clip_rate_hz: Its rate.
        source: (M,), of any other rate; what is not there counts as silence.
        source_rate_hz: Its rate.
        source_start_s: Time of the source's first sample on the clip's clock, seconds; around ``-SEARCH_S``.

    Returns:
        Lag and loudness.
    """
    low = _LOWEST_HZ * _WINDOW_S
    high = math.floor(_HIGHEST_SHARE * min(clip_rate_hz, source_rate_hz) * _WINDOW_S)
    hertz = np.arange(low, high) / _WINDOW_S
    parts = []
    for number in range(math.ceil(len(clip) / (_BLOCK_S * clip_rate_hz))):
        begin_s = number * _BLOCK_S
        part = clip[begin_s * clip_rate_hz : (begin_s + _BLOCK_S) * clip_rate_hz]
        seconds = len(part) / clip_rate_hz
        first = round((begin_s - SEARCH_S - source_start_s) * source_rate_hz)
        late_s = first / source_rate_hz + source_start_s - (begin_s - SEARCH_S)
        window = _span(source, first, _WINDOW_S * source_rate_hz)
        middle = window[round(SEARCH_S * source_rate_hz) :][: round(seconds * source_rate_hz)]
        theirs = _spectrum(window, source_rate_hz, low, high) * np.exp(-2j * np.pi * hertz * late_s)
        beside = _energy(_spectrum(middle, source_rate_hz, low, high))
        parts.append((_spectrum(part, clip_rate_hz, low, high), theirs, beside, seconds))
    clip_rms = max(math.sqrt(_energy(ours) / seconds) for ours, _, _, seconds in parts)
    source_rms = max(math.sqrt(beside / seconds) for _, _, beside, seconds in parts)
    found = Lag(None, 0.0, clip_rms, source_rms)
    if found.silent or found.one_sided:
        return found
    curve = _normalised([(ours, theirs, seconds) for ours, theirs, _, seconds in parts], low)
    peak = int(np.argmax(curve))
    at, height = _refined(curve, peak)
    lag_s = SEARCH_S - at / _GRID_HZ if _is_only_peak(curve, peak, height) else None
    return Lag(lag_s, min(1.0, height), clip_rms, source_rms)


def _normalised(parts: list[tuple[NDArray[Any], NDArray[Any], float]], low: int) -> NDArray[np.float64]:
    """Correlation of all blocks at each shift of 0 to two times the search, divided by both energies."""
    # a gentle whitening narrows the peak of bass-heavy sound; a full one would raise the noise of codecs
    power = uniform_filter1d(sum(ours.real**2 + ours.imag**2 for ours, _, _ in parts), _SMOOTH_BINS)
    gain = (power + _WHITENED_RANGE * power.max()) ** -0.25
    cross = np.zeros(len(gain), np.complex128)
    ours_energy = 0.0
    theirs_energy = np.zeros(round(2 * SEARCH_S * _GRID_HZ) + 1)
    for ours, theirs, seconds in parts:
        ours, theirs = ours * gain, theirs * gain
        cross += np.conj(ours) * theirs
        ours_energy += _energy(ours)
        heard = _in_time(theirs, low)
        summed = np.concatenate([[0.0], np.cumsum(heard * heard, dtype=np.float64)]) / _GRID_HZ
        span = round(seconds * _GRID_HZ)
        theirs_energy += summed[span : span + len(theirs_energy)] - summed[: len(theirs_energy)]
    floor = 1e-9 * float(theirs_energy.max())
    overlap = _in_time(cross, low)[: len(theirs_energy)]
    return np.asarray(overlap / np.sqrt(ours_energy * np.maximum(theirs_energy, floor)))


def _span(sound: NDArray[np.float32], first: int, length: int) -> NDArray[np.float32]:
    """``length`` samples from ``first`` on, with silence where there are none."""
    out = np.zeros(length, np.float32)
    low, high = max(0, first), min(len(sound), first + length)
    if low < high:
        out[low - first : high - first] = sound[low:high]
    return out


def _spectrum(sound: NDArray[np.float32], rate_hz: int, low: int, high: int) -> NDArray[np.complex64]:
    """Fourier integral of a sound padded to the window, in the common band."""
    return np.asarray(scipy.fft.rfft(sound, _WINDOW_S * rate_hz)[low:high] / np.float32(rate_hz))


def _energy(spectrum: NDArray[np.complex64]) -> float:
    """Sum of squares over time, seconds (Parseval)."""
    return float(np.sum(spectrum.real**2 + spectrum.imag**2, dtype=np.float64)) * 2 / _WINDOW_S


def _in_time(spectrum: NDArray[Any], low: int) -> NDArray[Any]:
    """Back from a Fourier integral of the band to values on the grid."""
    n = _WINDOW_S * _GRID_HZ
    band = np.zeros(n // 2 + 1, spectrum.dtype)
    used = min(len(spectrum), len(band) - low)
    band[low : low + used] = spectrum[:used]
    return np.asarray(scipy.fft.irfft(band, n) * _GRID_HZ)


def _refined(curve: NDArray[np.float64], peak: int) -> tuple[float, float]:
    """Place and height of a peak between samples, by a parabola."""
    if not 0 < peak < len(curve) - 1:
        return float(peak), float(curve[peak])
    before, at, after = (float(value) for value in curve[peak - 1 : peak + 2])
    bend = before - 2 * at + after
    shift = 0.5 * (before - after) / bend if bend else 0.0
    return peak + shift, at - 0.25 * (before - after) * shift


def _is_only_peak(curve: NDArray[np.float64], peak: int, height: float) -> bool:
    """No other local maximum, beyond a millisecond, comes near the height of the peak."""
    inner = curve[1:-1]
    tops = np.flatnonzero((inner >= curve[:-2]) & (inner >= curve[2:]) & (inner > 0.9 * height)) + 1
    others = tops[np.abs(tops - peak) > _NEAR_S * _GRID_HZ]
    return all(_refined(curve, int(top))[1] < height - _DOUBT for top in others)
