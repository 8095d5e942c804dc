"""Frechet video distance: Frechet distance between I3D-400 logits of generated and reference clips.

Rows are clips: the 400 logits of I3D trained on Kinetics-400, averaged over time. Only that network makes it FVD; the
frames, rate, resize and N are the protocol's.
"""

from __future__ import annotations

import math

from numpy.typing import ArrayLike

from avbench.metrics._frechet import frechet_distance
from avbench.metrics._frechet_subsets import frechet_distance_of_subsets
from avbench.metrics._pairs import Picks

KIND = "distance"
FEATURE = "i3d"
ESTIMATOR = "frechet"
HIGHER_IS_BETTER = False
UNIT = "squared I3D logits"
RANGE = (0.0, math.inf)
SOURCE = "Unterthiner et al. 2018, arXiv 1812.01717"


def compute(generated: ArrayLike, reference: ArrayLike, ddof: int = 1) -> float:
    """FVD of two sets of I3D-400 logits; see `avbench.metrics.frechet_distance`.

    Args:
        generated: Float array (n, 400).
        reference: Float array (m, 400).
        ddof: Covariances are divided by ``n - ddof``.
    """
    return frechet_distance(generated, reference, ddof, names=("generated", "reference"))


def compute_subsets(
    generated: ArrayLike, reference: ArrayLike, generated_picks: Picks, reference_picks: Picks, ddof: int = 1
) -> list[float]:
    """`compute` of many pairs of subsets, given by their row numbers."""
    return frechet_distance_of_subsets(generated, reference, generated_picks, reference_picks, ddof)
