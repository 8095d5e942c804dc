"""Motion: do generated clips move as much as real ones?

One number per clip (pixels of flow per frame), and the largest difference of its distribution functions on the two
sides: 0 where they agree, 1 where they do not overlap. Two fresh samples of one distribution are about
``0.87 sqrt((n + m) / (n m))`` apart. The details hold both medians.
"""

from __future__ import annotations

from numpy.typing import ArrayLike

from avbench.metrics._two_samples import ks_distance

KIND = "distance"
FEATURE = "motion"
ESTIMATOR = "two-sample Kolmogorov-Smirnov statistic"
HIGHER_IS_BETTER = False
UNIT = "difference of distribution functions"
RANGE = (0.0, 1.0)
SOURCE = "avbench; statistic of Kolmogorov 1933 and Smirnov 1939"


def compute(generated: ArrayLike, reference: ArrayLike) -> float:
    """The statistic; see `avbench.metrics.ks_distance`.

    Args:
        generated: Float array (n, 1).
        reference: Float array (m, 1).
    """
    return ks_distance(generated, reference).statistic


def details(generated: ArrayLike, reference: ArrayLike) -> dict[str, float]:
    """Medians of both sides, in the unit of the feature."""
    found = ks_distance(generated, reference)
    return {"generated_median": found.generated_median, "reference_median": found.reference_median}
