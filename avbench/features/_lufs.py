"""Integrated loudness after ITU-R BS.1770-4: shared by the feature and the filter of that name."""

from __future__ import annotations

import math

import numpy as np
from scipy import signal

RATE_HZ = 48000
"""The rate BS.1770 states its coefficients for; other rates are resampled to it."""

K_WEIGHTING = np.array(
    [
        [1.53512485958697, -2.69169618940638, 1.19839281085285, 1.0, -1.69065929318241, 0.73248077421585],
        [1.0, -2.0, 1.0, 1.0, -1.99004745483398, 0.99007225036621],
    ]
)
"""ITU-R BS.1770-4, tables 1 and 2: the head's high shelf, then the high-pass (b0 b1 b2 a0 a1 a2)."""

GATE_LUFS = -70.0
"""Absolute gate of BS.1770: blocks below it do not count. Also the value of a clip with nothing above it."""


def integrated_lufs(audio: np.ndarray, sample_rate_hz: int) -> float:
    """Integrated loudness of mono or stereo sound after ITU-R BS.1770-4 (blocks of 0.4 s, 75 % overlap, both gates).

    torchaudio has this too, but its filters clip to full scale on the way, which is 1 LU wrong on loud music, and it
    gives NaN for silence.

    Args:
        audio: float (C, L); mono counts as one channel.
        sample_rate_hz: Its rate.

    Returns:
        LUFS, at least `GATE_LUFS`; a clip shorter than a block has no loudness and gives `GATE_LUFS`.
    """
    if not audio.size:
        return GATE_LUFS
    if sample_rate_hz != RATE_HZ:
        common = math.gcd(RATE_HZ, sample_rate_hz)
        audio = signal.resample_poly(audio, RATE_HZ // common, sample_rate_hz // common, axis=1)
    # the step of 0.1 s: each block is four of them, so their powers are summed once
    step = RATE_HZ // 10
    steps = audio.shape[1] // step
    if steps < 4:
        return GATE_LUFS
    power = np.zeros(steps)
    for channel in audio:
        weighted = signal.sosfilt(K_WEIGHTING, channel.astype(np.float64))
        power += np.square(weighted[: steps * step]).reshape(steps, step).mean(axis=1)
    blocks = np.convolve(power, np.full(4, 0.25), mode="valid")
    loud = blocks[blocks > _power(GATE_LUFS)]
    if not loud.size:
        return GATE_LUFS
    loud = loud[loud > _power(_lufs(loud.mean()) - 10)]
    return max(GATE_LUFS, _lufs(loud.mean()))


def _lufs(power: float) -> float:
    return -0.691 + 10 * math.log10(power)


def _power(lufs: float) -> float:
    return 10 ** ((lufs + 0.691) / 10)
