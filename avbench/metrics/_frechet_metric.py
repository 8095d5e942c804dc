"""What the metrics that are a Frechet distance of one feature's rows share: their `compute` and `compute_subsets`."""

from __future__ import annotations

from numpy.typing import ArrayLike

from avbench.metrics._frechet import frechet_distance
from avbench.metrics._frechet_subsets import frechet_distance_of_subsets
from avbench.metrics._pairs import Picks


def compute(generated: ArrayLike, reference: ArrayLike, ddof: int = 1) -> float:
    """Distance of two sets of the metric's feature; see `avbench.metrics.frechet_distance`.

    Args:
        generated: Float array (n, d), one row per clip or window, as the feature gives them.
        reference: Float array (m, d).
        ddof: Covariances are divided by ``n - ddof``.
    """
    return frechet_distance(generated, reference, ddof, names=("generated", "reference"))


def compute_subsets(
    generated: ArrayLike, reference: ArrayLike, generated_picks: Picks, reference_picks: Picks, ddof: int = 1
) -> list[float]:
    """`compute` of many pairs of subsets, given by their row numbers."""
    return frechet_distance_of_subsets(generated, reference, generated_picks, reference_picks, ddof)
