"""How far a reconstruction is from what was encoded, per clip: pictures by pixel, sound by sample and by spectrum."""

from __future__ import annotations

import torch
from torch import Tensor

SPECTRUM_SAMPLES = (64, 256, 1024)
"""Windows of the spectra: 4 to 64 ms at 16 kHz, from the beginning of an impact to its pitch."""
WAVE_WEIGHT, SPECTRUM_WEIGHT = 10.0, 0.1
_FAINT = 1e-3
"""Amplitude below which differences of level stop to count: -60 dB."""


def picture_error(made: Tensor, true: Tensor) -> Tensor:
    """Mean absolute and mean squared difference, added: (B, T, 3, H, W) in [-1, 1] -> float32 (B,).

    The squared one cares for what is small and far off, such as a ball in front of a still scene.
    """
    difference = (made.float() - true.float()).flatten(1)
    return difference.abs().mean(1) + difference.square().mean(1)


def sound_error(made: Tensor, true: Tensor) -> Tensor:
    """Mean absolute difference of samples, and of levels in three spectra: (B, 1, L) in [-1, 1] -> float32 (B,)."""
    made, true = made.float()[:, 0], true.float()[:, 0]
    error = WAVE_WEIGHT * (made - true).abs().mean(1)
    for samples in SPECTRUM_SAMPLES:
        difference = _levels(made, samples) - _levels(true, samples)
        error = error + SPECTRUM_WEIGHT / len(SPECTRUM_SAMPLES) * difference.abs().flatten(1).mean(1)
    return error


def _levels(sound: Tensor, samples: int) -> Tensor:
    """Natural logarithm of the amplitudes of a spectrum: (B, L) -> (B, bins, columns)."""
    window = torch.hann_window(samples, device=sound.device)
    spectrum = torch.stft(sound, samples, samples // 4, window=window, center=True, return_complex=True)
    # the root of the squares and not abs(), whose gradient at zero is not a number
    power = (torch.view_as_real(spectrum) / window.sum()).square().sum(-1)
    return 0.5 * (power + _FAINT**2).log()
