"""Coverage: which share of real clips has a generated clip among its neighbours, by I3D-400 logits.

A real clip is covered when a generated clip lies nearer to it than its 5th nearest real clip. About 0.97 for a perfect
generator at equal N; a collapsed one covers little, however good its clips. The details hold the recall, which asks
whether the real clip lies in the neighbourhood of a generated one.
"""

from __future__ import annotations

from numpy.typing import ArrayLike

from avbench.metrics._manifold import NEAREST, density_coverage, precision_recall

KIND = "distance"
FEATURE = "i3d"
ESTIMATOR = "coverage, 5 nearest neighbours"
HIGHER_IS_BETTER = True
UNIT = "share of real clips"
RANGE = (0.0, 1.0)
SOURCE = "Naeem et al. 2020, arXiv 2002.09797; recall of Kynkaanniemi et al. 2019, arXiv 1904.06991"
INTERVAL_DRAWS = 50


def compute(generated: ArrayLike, reference: ArrayLike, k: int = NEAREST) -> float:
    """Coverage of reference clips by generated ones; see `avbench.metrics.density_coverage`.

    Args:
        generated: Float array (n, 400).
        reference: Float array (m, 400), m above k.
        k: Neighbours that fix the radius of a neighbourhood.
    """
    return density_coverage(generated, reference, k=k).coverage


def details(generated: ArrayLike, reference: ArrayLike, k: int = NEAREST) -> dict[str, float]:
    """Recall, where both sides have more than k clips; see `avbench.metrics.precision_recall`."""
    if len(generated) <= k:  # type: ignore[arg-type]
        return {}
    return {"recall": precision_recall(generated, reference, k=k).recall}
