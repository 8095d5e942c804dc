"""Frechet audio distance: Frechet distance between VGGish embeddings of generated and reference sound.

Rows are 0.96 s windows, not clips: 128-d VGGish embeddings without the PCA step. Only that network makes it FAD.
"""

from __future__ import annotations

import math

from avbench.metrics._frechet_metric import compute, compute_subsets

__all__ = ["compute", "compute_subsets"]

KIND = "distance"
FEATURE = "vggish"
ESTIMATOR = "frechet"
HIGHER_IS_BETTER = False
UNIT = "squared VGGish units"
RANGE = (0.0, math.inf)
SOURCE = "Kilgour et al. 2019, arXiv 1812.08466"
