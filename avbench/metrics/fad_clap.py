"""Frechet audio distance on CLAP embeddings, a network trained on sound and words instead of VGGish.

Rows are those of the feature ``clap``. It is not FAD, whose network is VGGish; its numbers compare only with itself.
"""

from __future__ import annotations

import math

from avbench.metrics._frechet_metric import compute, compute_subsets

__all__ = ["compute", "compute_subsets"]

KIND = "distance"
FEATURE = "clap"
ESTIMATOR = "frechet"
HIGHER_IS_BETTER = False
UNIT = "squared CLAP units"
RANGE = (0.0, math.inf)
SOURCE = "Gui et al. 2024, arXiv 2311.01616; distance of Kilgour et al. 2019, arXiv 1812.08466"
