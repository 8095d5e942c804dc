"""Kernel video distance: unbiased polynomial MMD between I3D-400 logits of generated and reference clips.

Rows are clips, as in FVD. Kernel ``(x.y / 400 + 1)^3`` over the full sets, no subsets and no factor, as MM-Diffusion
and TATS report it. It is unbiased at any N, and may be slightly negative where the two sets agree.
"""

from __future__ import annotations

import math

from numpy.typing import ArrayLike

from avbench.metrics._kernel import polynomial_mmd, polynomial_mmd_of_subsets
from avbench.metrics._pairs import Picks

KIND = "distance"
FEATURE = "i3d"
ESTIMATOR = "unbiased polynomial MMD, degree 3, gamma 1/d, coef 1, full set"
HIGHER_IS_BETTER = False
UNIT = "kernel units"
RANGE = (-math.inf, math.inf)
SOURCE = "Unterthiner et al. 2018, arXiv 1812.01717; kernel as in Binkowski et al. 2018, arXiv 1801.01401"


def compute(generated: ArrayLike, reference: ArrayLike) -> float:
    """KVD of two sets of I3D-400 logits; see `avbench.metrics.polynomial_mmd`.

    Args:
        generated: Float array (n, 400).
        reference: Float array (m, 400).
    """
    return polynomial_mmd(generated, reference, names=("generated", "reference"))


def compute_subsets(
    generated: ArrayLike, reference: ArrayLike, generated_picks: Picks, reference_picks: Picks
) -> list[float]:
    """`compute` of many pairs of subsets, given by their row numbers."""
    return polynomial_mmd_of_subsets(generated, reference, generated_picks, reference_picks)
