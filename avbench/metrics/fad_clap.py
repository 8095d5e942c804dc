"""Frechet audio distance on CLAP embeddings, a network trained on sound and words instead of VGGish.

Rows are those of the feature ``clap``. It is not FAD, whose network is VGGish; its numbers compare only with itself.
"""

from __future__ import annotations

import math

from numpy.typing import ArrayLike

from avbench.metrics._frechet import frechet_distance
from avbench.metrics._frechet_subsets import frechet_distance_of_subsets
from avbench.metrics._pairs import Picks

KIND = "distance"
FEATURE = "clap"
ESTIMATOR = "frechet"
HIGHER_IS_BETTER = False
UNIT = "squared CLAP units"
RANGE = (0.0, math.inf)
SOURCE = "Gui et al. 2024, arXiv 2311.01616; distance of Kilgour et al. 2019, arXiv 1812.08466"


def compute(generated: ArrayLike, reference: ArrayLike, ddof: int = 1) -> float:
    """Frechet distance of two sets of CLAP embeddings; see `avbench.metrics.frechet_distance`.

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
