"""What the metrics that compare the distribution of one number share: their `compute` and `details`."""

from __future__ import annotations

from numpy.typing import ArrayLike

from avbench.metrics._two_samples import ks_distance


def compute(generated: ArrayLike, reference: ArrayLike) -> float:
    """The Kolmogorov-Smirnov statistic; see `avbench.metrics.ks_distance`.

    Args:
        generated: Float array (n, 1), one row per clip, as the metric's feature gives them.
        reference: Float array (m, 1).
    """
    return ks_distance(generated, reference).statistic


def details(generated: ArrayLike, reference: ArrayLike) -> dict[str, float]:
    """Medians of both sides, in the unit of the feature."""
    found = ks_distance(generated, reference)
    return {"generated_median": found.generated_median, "reference_median": found.reference_median}
