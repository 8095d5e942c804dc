"""Weight-free Frechet distance between optical-flow statistics of generated and reference picture.

It needs no downloaded network, so it runs anywhere; it is not FVD and its numbers compare only with other ``flow-fd``.
"""

from __future__ import annotations

import math

from avbench.metrics._frechet_metric import compute, compute_subsets

__all__ = ["compute", "compute_subsets"]

KIND = "distance"
FEATURE = "flow"
ESTIMATOR = "frechet"
HIGHER_IS_BETTER = False
UNIT = "squared flow units"
RANGE = (0.0, math.inf)
SOURCE = "avbench; distance of Heusel et al. 2017, arXiv 1706.08500"
