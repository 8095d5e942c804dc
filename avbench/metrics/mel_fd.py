"""Weight-free Frechet distance between log-mel statistics of generated and reference sound.

It needs no downloaded network, so it runs anywhere; it is not FAD and its numbers compare only with other ``mel-fd``.
"""

from __future__ import annotations

import math

from avbench.metrics._frechet_metric import compute, compute_subsets

__all__ = ["compute", "compute_subsets"]

KIND = "distance"
FEATURE = "mel"
ESTIMATOR = "frechet"
HIGHER_IS_BETTER = False
UNIT = "squared log-mel units"
RANGE = (0.0, math.inf)
SOURCE = "avbench; distance of Heusel et al. 2017, arXiv 1706.08500"
