"""FVD extrapolated to infinitely many clips: what is left of it once the bias of a finite N is gone.

Rows are clips, as in FVD. At least 802 of each side are needed, twice the dimension of the logits. The details
hold the slope over ``1/n`` and the R2 of the line.
"""

from __future__ import annotations

import math

from numpy.typing import ArrayLike

from avbench.metrics._infinity import frechet_infinity

KIND = "distance"
FEATURE = "i3d"
ESTIMATOR = "frechet over 1/n at 15 sizes from a quarter to all rows, both sides drawn without replacement, value at 0"
HIGHER_IS_BETTER = False
UNIT = "squared I3D logits"
RANGE = (-math.inf, math.inf)
SOURCE = "Chong and Forsyth 2020, arXiv 1911.07023; FVD of Unterthiner et al. 2018, arXiv 1812.01717"
INTERVAL_DRAWS = 25


def compute(generated: ArrayLike, reference: ArrayLike, ddof: int = 1, seed: int = 0) -> float:
    """The extrapolated distance; see `avbench.metrics.frechet_infinity`.

    Args:
        generated: Float array (n, 400).
        reference: Float array (m, 400).
        ddof: Covariances are divided by ``n - ddof``.
        seed: Seed of the draws.
    """
    return frechet_infinity(generated, reference, ddof=ddof, seed=seed, names=("generated", "reference")).value


def details(generated: ArrayLike, reference: ArrayLike, ddof: int = 1, seed: int = 0) -> dict[str, float]:
    """Slope, R2 and smallest size of the line; see `compute`."""
    line = frechet_infinity(generated, reference, ddof=ddof, seed=seed, names=("generated", "reference"))
    return {"slope": line.slope, "r2": line.r2, "smallest_n": float(line.smallest)}
