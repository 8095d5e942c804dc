"""FAD extrapolated to infinitely many windows: what is left of it once the bias of a finite N is gone.

Rows are 0.96 s windows, as in FAD. At least 258 of each side are needed, twice the dimension of the embedding. Unlike
the FAD-inf of fadtk and kadtk it draws both sides, and no window twice. The details hold the slope
over ``1/n`` and the R2 of the line.
"""

from __future__ import annotations

import math

from numpy.typing import ArrayLike

from avbench.metrics._infinity import frechet_infinity

KIND = "distance"
FEATURE = "vggish"
ESTIMATOR = "frechet over 1/n at 15 sizes from a quarter to all rows, both sides drawn without replacement, value at 0"
HIGHER_IS_BETTER = False
UNIT = "squared VGGish units"
RANGE = (-math.inf, math.inf)
SOURCE = "Gui et al. 2024, arXiv 2311.01616, after Chong and Forsyth 2020, arXiv 1911.07023"
INTERVAL_DRAWS = 25


def compute(generated: ArrayLike, reference: ArrayLike, ddof: int = 1, seed: int = 0) -> float:
    """The extrapolated distance; see `avbench.metrics.frechet_infinity`.

    Args:
        generated: Float array (n, 128).
        reference: Float array (m, 128).
        ddof: Covariances are divided by ``n - ddof``.
        seed: Seed of the draws.
    """
    return frechet_infinity(generated, reference, ddof=ddof, seed=seed, names=("generated", "reference")).value


def details(generated: ArrayLike, reference: ArrayLike, ddof: int = 1, seed: int = 0) -> dict[str, float]:
    """Slope, R2 and smallest size of the line; see `compute`."""
    line = frechet_infinity(generated, reference, ddof=ddof, seed=seed, names=("generated", "reference"))
    return {"slope": line.slope, "r2": line.r2, "smallest_n": float(line.smallest)}
