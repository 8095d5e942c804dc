"""What the metrics that are a Frechet distance at infinite N share: their `compute` and `details`."""

from __future__ import annotations

from numpy.typing import ArrayLike

from avbench.metrics._infinity import frechet_infinity


def compute(generated: ArrayLike, reference: ArrayLike, ddof: int = 1, seed: int = 0) -> float:
    """The extrapolated distance; see `avbench.metrics.frechet_infinity`.

    Args:
        generated: Float array (n, d), one row per clip or window, as the metric's feature gives them.
        reference: Float array (m, d).
        ddof: Covariances are divided by ``n - ddof``.
        seed: Seed of the draws.
    """
    return frechet_infinity(generated, reference, ddof=ddof, seed=seed, names=("generated", "reference")).value


def details(generated: ArrayLike, reference: ArrayLike, ddof: int = 1, seed: int = 0) -> dict[str, float]:
    """Slope, R2 and smallest size of the line; see `compute`."""
    line = frechet_infinity(generated, reference, ddof=ddof, seed=seed, names=("generated", "reference"))
    return {"slope": line.slope, "r2": line.r2, "smallest_n": float(line.smallest)}
