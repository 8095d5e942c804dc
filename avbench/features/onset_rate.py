"""1 number for how much happens in the sound of a clip, without any weights: onsets per second.

Onsets are those of AV-align: librosa's, with its defaults, at 22,050 Hz.
"""

from __future__ import annotations

import torch
from torch import Tensor

from avbench.features._base import AudioFeature
from avbench.features._onsets import ONSET_RATE_HZ, SHORTEST_SAMPLES, onset_times

WEIGHT = None


class Feature(AudioFeature):
    """Onsets per second: one row of 1 per clip, 0 for silence.

    A clip needs 2048 samples (0.093 s), one spectrum.
    """

    name = "onset_rate"
    dim = 1
    sample_rate_hz = ONSET_RATE_HZ
    min_samples = SHORTEST_SAMPLES
    weight = WEIGHT

    def _embed(self, clips: Tensor) -> Tensor:
        length_s = clips.shape[1] / ONSET_RATE_HZ
        sounds = clips.to("cpu", torch.float32).numpy()
        return torch.tensor([[len(onset_times(sound[None], ONSET_RATE_HZ)) / length_s] for sound in sounds])
