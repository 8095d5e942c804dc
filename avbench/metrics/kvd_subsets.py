"""Kernel video distance as mean over random subsets: KID's estimator on I3D-400 logits.

Kernel and rows are those of KVD. Subsets of 1000 clips are drawn from each side; where a side has fewer, a subset is
all of the smaller side. The details hold the standard deviation over subsets, which is not an error of the mean:
subsets overlap.
"""

from __future__ import annotations

import math

from numpy.typing import ArrayLike

from avbench.metrics._kernel import SubsetDistance, kernel_distance_subsets
from avbench.metrics._pairs import two_sides

KIND = "distance"
FEATURE = "i3d"
ESTIMATOR = "unbiased polynomial MMD, degree 3, gamma 1/d, coef 1, mean over 100 subsets of at most 1000 rows"
HIGHER_IS_BETTER = False
UNIT = "kernel units"
RANGE = (-math.inf, math.inf)
SOURCE = "Binkowski et al. 2018, arXiv 1801.01401; draws of toshas/torch-fidelity"
INTERVAL_DRAWS = 25


def compute(
    generated: ArrayLike, reference: ArrayLike, subsets: int = 100, subset_size: int = 1000, seed: int = 2020
) -> float:
    """Mean over subsets; see `avbench.metrics.kernel_distance_subsets`.

    Args:
        generated: Float array (n, 400).
        reference: Float array (m, 400).
        subsets: Number of subsets.
        subset_size: Most rows of either side in a subset.
        seed: Seed of the draws.
    """
    return _over_subsets(generated, reference, subsets, subset_size, seed)[0].mean


def details(
    generated: ArrayLike, reference: ArrayLike, subsets: int = 100, subset_size: int = 1000, seed: int = 2020
) -> dict[str, float]:
    """Standard deviation over subsets, and how many rows of either side a subset held; see `compute`."""
    found, rows = _over_subsets(generated, reference, subsets, subset_size, seed)
    return {"subset_sd": found.sd, "subset_rows": float(rows)}


def _over_subsets(
    generated: ArrayLike, reference: ArrayLike, subsets: int, subset_size: int, seed: int
) -> tuple[SubsetDistance, int]:
    """The distance, and the rows of either side in a subset."""
    names = ("generated", "reference")
    x, y = two_sides(generated, reference, names, 2, "a kernel distance")
    rows = min(subset_size, len(x), len(y))
    return kernel_distance_subsets(x, y, subsets=subsets, subset_size=rows, seed=seed, names=names), rows
