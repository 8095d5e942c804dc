"""How far apart two samples of one number are: the Kolmogorov-Smirnov statistic, with both medians."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from avbench.errors import UserError
from avbench.metrics._pairs import two_sides


class TwoSamples(NamedTuple):
    """Two samples of one number, compared.

    Attributes:
        statistic: Largest difference of the two distribution functions, in [0, 1]; 0 where they agree.
        generated_median: Median of the generated sample, in its own unit.
        reference_median: Median of the reference sample.
    """

    statistic: float
    generated_median: float
    reference_median: float


def ks_distance(
    generated: ArrayLike, reference: ArrayLike, *, names: tuple[str, str] = ("generated", "reference")
) -> TwoSamples:
    """Two-sample Kolmogorov-Smirnov statistic of a feature of dimension 1.

    It knows no unit and no shape of distribution, and any change that keeps the order of the numbers leaves it alone.
    Two samples of one distribution are about ``0.87 sqrt((n + m) / (n m))`` apart.

    Args:
        generated: Float array (n, 1), n at least 2.
        reference: Float array (m, 1), m at least 2.
        names: What the two sets are called in an error.

    Raises:
        UserError: NaN or infinity in a row, fewer than two rows, or more than one number per row.
    """
    from scipy import stats

    x, y = two_sides(generated, reference, names, 2, "a comparison of distributions")
    if x.shape[1] != 1:
        raise UserError(f"the features have {x.shape[1]} dimensions; distributions are compared of one number per clip")
    statistic = float(stats.ks_2samp(x[:, 0], y[:, 0], method="asymp").statistic)
    return TwoSamples(statistic, float(np.median(x)), float(np.median(y)))
