"""Frechet audio distance: Frechet distance between VGGish embeddings of generated and reference sound.

Rows are 0.96 s windows, not clips: 128-d VGGish embeddings without the PCA step. Only that network makes it FAD.
"""

from __future__ import annotations

import math

from numpy.typing import ArrayLike

from avbench.metrics._frechet import frechet_distance
from avbench.metrics._frechet_subsets import frechet_distance_of_subsets
from avbench.metrics._pairs import Picks

KIND = "distance"
FEATURE = "vggish"
ESTIMATOR = "frechet"
HIGHER_IS_BETTER = False
UNIT = "squared VGGish units"
RANGE = (0.0, math.inf)
SOURCE = "Kilgour et al. 2019, arXiv 1812.08466"


def compute(generated: ArrayLike, reference: ArrayLike, ddof: int = 1) -> float:
    """FAD of two sets of VGGish embeddings; see `avbench.metrics.frechet_distance`.

    Args:
        generated: Float array (n, 128), one row per window.
        reference: Float array (m, 128).
        ddof: Covariances are divided by ``n - ddof``.
    """
    return frechet_distance(generated, reference, ddof, names=("generated", "reference"))


def compute_subsets(
    generated: ArrayLike, reference: ArrayLike, generated_picks: Picks, reference_picks: Picks, ddof: int = 1
) -> list[float]:
    """`compute` of many pairs of subsets, given by their row numbers."""
    return frechet_distance_of_subsets(generated, reference, generated_picks, reference_picks, ddof)
