"""24 numbers for the motion in a clip, without any weights: the embedding of flow-fd.

Frames become grey and 64 x 64 pixels (area average when shrinking, bilinear when growing; the aspect is not kept).
Between neighbouring frames OpenCV's Farneback flow, with the parameters of AV-align (pyramid 0.5 x 3, window 15,
3 iterations, polynomial 5 / 1.2), gives a displacement per pixel, in pixels of the 64 x 64 picture per frame step; it
is zero where the two frames are the same. So the numbers depend on the frame rate: compare clips of one rate. Row,
every entry as ``log(1 + x)``:

    0-5    quantiles 0.10 0.25 0.50 0.75 0.90 0.99 of the displacement's length over all pixels and steps
    6-13   mean length of the displacements that point right, up-right, up, ... (8 sectors of 45 degrees, others as 0)
    14-17  mean length in the four quarters of the picture: upper left, upper right, lower left, lower right
    18-23  over the mean length of each step: mean, standard deviation, least, most, mean change from step to step; and
           the mean length of the change of the flow field from step to step

A still clip is all zeros. It sees how much moves, where, which way and how evenly; not what moves.
"""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avbench.features._base import VideoFeature
from avbench.features._flow_motion import farneback

WEIGHT = None
SIDE = 64
QUANTILES = (0.10, 0.25, 0.50, 0.75, 0.90, 0.99)
SECTORS = 8

Array = NDArray[np.float64]


class Feature(VideoFeature):
    """Amount, direction, place and steadiness of motion: one row of 24 per clip."""

    name = "flow"
    dim = 24
    min_frames = 3
    weight = WEIGHT

    def _embed(self, clips: Tensor) -> Tensor:
        return torch.from_numpy(np.stack([describe(flow_fields(clip)) for clip in clips.cpu().numpy()]))


def flow_fields(clip: NDArray[np.uint8]) -> Array:
    """Displacement between neighbouring frames: uint8 (T, H, W, 3) -> (T - 1, 64, 64, 2), x right and y down."""
    grey = [_small_grey(frame) for frame in clip]
    return np.stack([_displacement(before, after) for before, after in itertools.pairwise(grey)])


def _displacement(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> Array:
    # for equal frames Farneback answers up to 0.04 pixels near the border
    if np.array_equal(before, after):
        return np.zeros((SIDE, SIDE, 2))
    return farneback(before, after).astype(np.float64)


def describe(fields: Array) -> Array:
    """The 24 numbers of the module's docstring, from (steps, 64, 64, 2)."""
    length = np.hypot(fields[..., 0], fields[..., 1])
    sector = np.round(np.arctan2(-fields[..., 1], fields[..., 0]) / (2 * np.pi / SECTORS)).astype(int) % SECTORS
    half = SIDE // 2
    quarters = length.reshape(-1, 2, half, 2, half).mean(axis=(0, 2, 4))
    step = length.mean(axis=(1, 2))
    change = np.diff(fields, axis=0)
    numbers = [
        *np.quantile(length, QUANTILES),
        *(np.where(sector == k, length, 0).mean() for k in range(SECTORS)),
        *quarters.ravel(),
        *(step.mean(), step.std(), step.min(), step.max(), np.abs(np.diff(step)).mean()),
        np.hypot(change[..., 0], change[..., 1]).mean(),
    ]
    return np.log1p(np.asarray(numbers))


def _small_grey(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    shrinks = min(frame.shape[:2]) > SIDE
    small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return small.astype(np.uint8, copy=False)
