"""FVD extrapolated to infinitely many clips: what is left of it once the bias of a finite N is gone.

Rows are clips, as in FVD. At least 802 of each side are needed, twice the dimension of the logits. The details
hold the slope over ``1/n`` and the R2 of the line.
"""

from __future__ import annotations

import math

from avbench.metrics._infinity_metric import compute, details

__all__ = ["compute", "details"]

KIND = "distance"
FEATURE = "i3d"
ESTIMATOR = "frechet over 1/n at 15 sizes from a quarter to all rows, both sides drawn without replacement, value at 0"
HIGHER_IS_BETTER = False
UNIT = "squared I3D logits"
RANGE = (-math.inf, math.inf)
SOURCE = "Chong and Forsyth 2020, arXiv 1911.07023; FVD of Unterthiner et al. 2018, arXiv 1812.01717"
INTERVAL_DRAWS = 25
