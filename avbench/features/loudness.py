"""1 number for how loud a clip is, without any weights: its integrated loudness, LUFS.

Measured after ITU-R BS.1770-4: blocks of 0.4 s, K-weighted, both gates.
-23 is broadcast, -14 a streamed song. Silence, and whatever stays below the absolute gate of the standard, is -70; so
no clip is lost and none is minus infinity.
"""

from __future__ import annotations

import torch
from torch import Tensor

from avbench.features._base import AudioFeature
from avbench.features._lufs import RATE_HZ, integrated_lufs

WEIGHT = None


class Feature(AudioFeature):
    """Integrated loudness, LUFS: one row of 1 per clip, -70 for silence.

    A clip needs 0.4 s, the block over which the standard measures.
    """

    name = "loudness"
    dim = 1
    sample_rate_hz = RATE_HZ
    min_samples = RATE_HZ * 4 // 10
    weight = WEIGHT

    def _embed(self, clips: Tensor) -> Tensor:
        return torch.tensor([[integrated_lufs(clip[None], RATE_HZ)] for clip in clips.cpu().numpy()])
