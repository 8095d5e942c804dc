"""1 number for how much a clip moves, without any weights: mean optical flow, pixels per frame.

The flow is that of AV-align, at full size. It depends on the size and the rate of the pictures: compare clips of one
protocol. A still clip is 0.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avbench.features._base import VideoFeature
from avbench.features._flow_motion import motion

WEIGHT = None


class Feature(VideoFeature):
    """Mean length of the flow between neighbouring frames, pixels: one row of 1 per clip."""

    name = "motion"
    dim = 1
    min_frames = 2
    weight = WEIGHT

    def _embed(self, clips: Tensor) -> Tensor:
        return torch.tensor([[mean_flow(clip)] for clip in clips.cpu().numpy()])


def mean_flow(clip: NDArray[np.uint8]) -> float:
    """Mean length of the flow over all pixels and steps: uint8 (T, H, W, 3) -> pixels per frame."""
    # between equal frames Farneback finds up to 0.04 pixels near the border
    moved = [not np.array_equal(before, after) for before, after in pairwise(clip)]
    return float(np.mean(np.where(moved, motion(clip)[1:], 0.0)))
