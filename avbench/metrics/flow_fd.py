"""Weight-free Frechet distance between optical-flow statistics of generated and reference picture.

It needs no downloaded network, so it runs anywhere; it is not FVD and its numbers compare only with other ``flow-fd``.
"""

from __future__ import annotations

import math

from numpy.typing import ArrayLike

from avbench.metrics._frechet import frechet_distance
from avbench.metrics._frechet_subsets import frechet_distance_of_subsets
from avbench.metrics._pairs import Picks

KIND = "distance"
FEATURE = "flow"
ESTIMATOR = "frechet"
HIGHER_IS_BETTER = False
UNIT = "squared flow units"
RANGE = (0.0, math.inf)
SOURCE = "avbench; distance of Heusel et al. 2017, arXiv 1706.08500"


def compute(generated: ArrayLike, reference: ArrayLike, ddof: int = 1) -> float:
    """Distance of two sets of optical-flow features; see `avbench.metrics.frechet_distance`.

    Args:
        generated: Float array (n, d).
        reference: Float array (m, d).
        ddof: Covariances are divided by ``n - ddof``.
    """
    return frechet_distance(generated, reference, ddof, names=("generated", "reference"))


def compute_subsets(
    generated: ArrayLike, reference: ArrayLike, generated_picks: Picks, reference_picks: Picks, ddof: int = 1
) -> list[float]:
    """`compute` of many pairs of subsets, given by their row numbers."""
    return frechet_distance_of_subsets(generated, reference, generated_picks, reference_picks, ddof)
