"""Density: how often generated clips lie among real ones, by I3D-400 logits.

Mean number of real clips' neighbourhoods (to the 5th nearest real clip) that hold a generated clip, over 5. About 1 for
a perfect generator, above 1 where it keeps to the common cases. The details hold the precision, which asks whether
there is any such neighbourhood.
"""

from __future__ import annotations

import math

from numpy.typing import ArrayLike

from avbench.metrics._manifold import NEAREST, density_coverage, precision_recall

KIND = "distance"
FEATURE = "i3d"
ESTIMATOR = "density, 5 nearest neighbours"
HIGHER_IS_BETTER = True
UNIT = "neighbourhoods per clip over k"
RANGE = (0.0, math.inf)
SOURCE = "Naeem et al. 2020, arXiv 2002.09797; precision of Kynkaanniemi et al. 2019, arXiv 1904.06991"
INTERVAL_DRAWS = 50


def compute(generated: ArrayLike, reference: ArrayLike, k: int = NEAREST) -> float:
    """Density of generated among reference clips; see `avbench.metrics.density_coverage`.

    Args:
        generated: Float array (n, 400).
        reference: Float array (m, 400), m above k.
        k: Neighbours that fix the radius of a neighbourhood.
    """
    return density_coverage(generated, reference, k=k).density


def details(generated: ArrayLike, reference: ArrayLike, k: int = NEAREST) -> dict[str, float]:
    """Precision, where both sides have more than k clips; see `avbench.metrics.precision_recall`."""
    if len(generated) <= k:  # type: ignore[arg-type]
        return {}
    return {"precision": precision_recall(generated, reference, k=k).precision}
