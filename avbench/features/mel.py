"""32 numbers for the sound of a clip, without any weights: the embedding of mel-fd.

The log-mel spectrogram of VGGish (64 bands, 125 to 7500 Hz, a spectrum every 10 ms), neighbouring bands averaged in
fours. Row: the mean over time of the 16 bands, then their standard deviation over time (divided by n), in natural-log
units. It hears level, timbre and how much they vary; not order, pitch or meaning. Few dimensions on purpose: a
distance between Gaussians needs more clips than dimensions.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from avbench.features._base import AudioFeature
from avbench.features._logmel import FRAME, HOP, SAMPLE_RATE_HZ, log_mel

WEIGHT = None
GROUPS = 16
FEWEST_SPECTRA = 10


class Feature(AudioFeature):
    """Mean and spread over time of 16 log-mel bands: one row of 32 per clip."""

    name = "mel"
    dim = 2 * GROUPS
    sample_rate_hz = SAMPLE_RATE_HZ
    min_samples = FRAME + (FEWEST_SPECTRA - 1) * HOP
    weight = WEIGHT

    def _embed(self, clips: Tensor) -> Tensor:
        spectra = log_mel(clips.cpu().numpy())
        bands = spectra.reshape(*spectra.shape[:-1], GROUPS, -1).mean(axis=-1)
        rows = np.concatenate([bands.mean(axis=1), bands.std(axis=1)], axis=1)
        return torch.from_numpy(rows)
