"""Frechet video distance: Frechet distance between I3D-400 logits of generated and reference clips.

Rows are clips: the 400 logits of I3D trained on Kinetics-400, averaged over time. Only that network makes it FVD; the
frames, rate, resize and N are the protocol's.
"""

from __future__ import annotations

import math

from avbench.metrics._frechet_metric import compute, compute_subsets

__all__ = ["compute", "compute_subsets"]

KIND = "distance"
FEATURE = "i3d"
ESTIMATOR = "frechet"
HIGHER_IS_BETTER = False
UNIT = "squared I3D logits"
RANGE = (0.0, math.inf)
SOURCE = "Unterthiner et al. 2018, arXiv 1812.01717"
